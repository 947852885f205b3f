"""Create and revoke application passwords. No other module handles a new secret."""

import hashlib
import secrets
import string
from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.utils import timezone

from crm.identities import to_user_source
from crm.models import ApplicationPassword, NewContacts, Scope

ALPHABET = string.ascii_letters + string.digits
# 24 of 62 characters are 142 random bits, so a fast hash is enough: it cannot be guessed through.
SECRET_LENGTH = 24
PREFIX_LENGTH = 8


def create_application_password(
    user: User,
    name: str,
    scope: Scope | str,
    expires_at: datetime | None = None,
    new_contacts: NewContacts | str = "",
    user_source: str = "",
) -> tuple[ApplicationPassword, str]:
    """Create an application password.

    Args:
        user: the user whose permissions bound those of the password.
        name: the program that will use it.
        scope: track, read or manage.
        expires_at: when it expires; None means never.
        new_contacts: what its events of unknown e-mails do; "" means as the setting says.
        user_source: the source of the user_ids of its calls, as `to_user_source` reads it.

    Returns:
        The password, and its secret in groups of four characters, which is not stored.

    Raises:
        ValueError: the scope or new_contacts is not one of its choices.
        ValidationError: user_source is no name of a source.
    """
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    password = ApplicationPassword.objects.create(
        user=user,
        name=name,
        scope=Scope(scope),
        prefix=secret[:PREFIX_LENGTH],
        secret_hash=secret_hash(secret),
        expires_at=expires_at,
        new_contacts=NewContacts(new_contacts) if new_contacts else "",
        user_source=to_user_source(user_source),
    )
    groups = [secret[start : start + 4] for start in range(0, SECRET_LENGTH, 4)]
    return password, " ".join(groups)


def secret_hash(secret: str) -> str:
    """Return what is stored of a secret without whitespace: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def revoke(password_ids: Iterable[int]) -> int:
    """Revoke application passwords from the next request on. Returns the number of new ones."""
    return ApplicationPassword.objects.filter(id__in=list(password_ids), revoked_at=None).update(
        revoked_at=timezone.now()
    )
