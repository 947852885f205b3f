"""Making and revoking application passwords: the only place that knows a secret."""

import hashlib
import secrets
import string
from datetime import datetime

from django.contrib.auth.models import User
from django.utils import timezone

from crm.models import ApplicationPassword, Scope

ALPHABET = string.ascii_letters + string.digits
# 24 of 62 characters are 142 random bits: a fast hash is enough, nobody can guess through it.
SECRET_LENGTH = 24
PREFIX_LENGTH = 8


def create_application_password(
    user: User, name: str, scope: Scope | str, expires_at: datetime | None = None
) -> tuple[ApplicationPassword, str]:
    """Make an application password. The secret, in groups of four, is told here and never again."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    password = ApplicationPassword.objects.create(
        user=user,
        name=name,
        scope=Scope(scope),
        prefix=secret[:PREFIX_LENGTH],
        secret_hash=secret_hash(secret),
        expires_at=expires_at,
    )
    groups = [secret[start : start + 4] for start in range(0, SECRET_LENGTH, 4)]
    return password, " ".join(groups)


def secret_hash(secret: str) -> str:
    """What is stored of a secret (without blanks): its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def revoke(passwords: "list[int]") -> int:
    """Revoke application passwords by id, from the next request on. Returns how many were not."""
    return ApplicationPassword.objects.filter(id__in=passwords, revoked_at=None).update(
        revoked_at=timezone.now()
    )
