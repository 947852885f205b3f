"""Who is calling: application passwords by HTTP Basic, or their secret as a Bearer token."""

import base64
import binascii
import hmac
import re
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from django.db.utils import InternalError
from django.utils import timezone
from psycopg.errors import ReadOnlySqlTransaction
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from config.database import Row, fetch_row, fetch_row_reconnecting
from crm.models import Scope
from crm.passwords import PREFIX_LENGTH, secret_hash

LAST_USED_EVERY = timedelta(minutes=1)

# One row by its unique prefix, with its user. Permissions are listed only for users who need any.
LOOKUP = """
SELECT p.id, p.secret_hash, p.scope,
       p.revoked_at IS NOT NULL OR COALESCE(p.expires_at <= %(now)s, false),
       u.id, u.username, u.email, u.is_active, u.is_superuser,
       CASE WHEN NOT u.is_superuser THEN ARRAY(
           SELECT c.app_label || '.' || a.codename
           FROM auth_permission a JOIN django_content_type c ON c.id = a.content_type_id
           WHERE a.id IN (SELECT permission_id FROM auth_user_user_permissions
                          WHERE user_id = u.id
                          UNION ALL
                          SELECT g.permission_id
                          FROM auth_user_groups m
                          JOIN auth_group_permissions g ON g.group_id = m.group_id
                          WHERE m.user_id = u.id)
       ) END
FROM crm_applicationpassword p JOIN auth_user u ON u.id = p.user_id
WHERE p.prefix = %(prefix)s
"""
# Put before it, in the same statement: last_used_at, at most once a minute and never waiting for a
# lock. Only the right secret changes it.
TOUCH = """
WITH touched AS (
    UPDATE crm_applicationpassword SET last_used_at = %(now)s
    WHERE id = (SELECT id FROM crm_applicationpassword
                WHERE prefix = %(prefix)s AND secret_hash = %(secret_hash)s
                  AND COALESCE(last_used_at, '-infinity') < %(stale)s
                FOR UPDATE SKIP LOCKED)
)
"""
TOUCH_AND_LOOKUP = TOUCH + LOOKUP


class Caller(NamedTuple):
    """A user as an application password lets them act."""

    user_id: int
    username: str
    is_superuser: bool
    permissions: frozenset[str]
    scope: Scope
    credential_id: int
    is_authenticated: bool = True

    def has_perm(self, permission: str) -> bool:
        """Whether the user behind the password may do it, by Django's name of the permission."""
        return self.is_superuser or permission in self.permissions


def caller_of(request: Request) -> Caller:
    """The caller of a request that was let through."""
    return cast(Caller, request.user)


class ApplicationPasswordAuthentication(BaseAuthentication):
    """`request.user` becomes a Caller."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """The caller, or None without credentials. Raises AuthenticationFailed (401)."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        username, secret = credentials(header)
        return find_caller(username, secret), None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """What a 401 asks for."""
        return 'Basic realm="Tallybook"'


class ApiTokenAuthentication(BaseAuthentication):
    """ActiveCampaign's way: the secret of an application password in the header Api-Token."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """The caller, or None without the header. Raises AuthenticationFailed (401)."""
        token = request.META.get("HTTP_API_TOKEN", "")
        return (find_caller(None, token), None) if token else None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """What a 401 asks for."""
        return 'Api-Token realm="Tallybook"'


def credentials(header: str) -> tuple[str | None, str]:
    """Name and secret of an Authorization header; a Bearer token has no name.

    Raises AuthenticationFailed for anything else.
    """
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return None, rest.strip()
    if scheme.lower() == "basic":
        try:
            name, colon, secret = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise AuthenticationFailed from None
        if colon:
            return name, secret
    raise AuthenticationFailed


def find_caller(username: str | None, secret: str) -> Caller:
    """The caller with this secret, and by Basic with this user name or e-mail.

    One statement. Raises AuthenticationFailed.
    """
    secret = re.sub(r"\s", "", secret)
    if not (secret.isascii() and secret.isalnum()):
        raise AuthenticationFailed
    given_hash = secret_hash(secret)
    now = timezone.now()
    row = _lookup(
        {
            "prefix": secret[:PREFIX_LENGTH],
            "secret_hash": given_hash,
            "now": now,
            "stale": now - LAST_USED_EVERY,
        }
    )
    if row is None:
        raise AuthenticationFailed
    password_id, stored_hash, scope, ended, *user = row
    user_id, name, email, is_active, is_superuser, permissions = user
    if (
        not hmac.compare_digest(stored_hash, given_hash)
        or ended
        or not is_active
        or (username is not None and username.lower() not in {name.lower(), email.lower()} - {""})
    ):
        raise AuthenticationFailed
    return Caller(
        user_id=user_id,
        username=name,
        is_superuser=is_superuser,
        permissions=frozenset(permissions or ()),
        scope=Scope(scope),
        credential_id=password_id,
    )


def _lookup(parameters: dict[str, str | datetime]) -> Row | None:
    try:
        return fetch_row_reconnecting(TOUCH_AND_LOOKUP, parameters)
    except InternalError as error:
        if not isinstance(error.__cause__, ReadOnlySqlTransaction):
            raise
        # A read-only database can still say who is calling.
        return fetch_row(LOOKUP, parameters)
