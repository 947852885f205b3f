"""Authenticate API clients: application passwords by HTTP Basic, Bearer token or Api-Token."""

import base64
import binascii
import hmac
import re
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.utils import InternalError
from django.utils import timezone
from psycopg.errors import ReadOnlySqlTransaction
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import Forbidden
from config.database import FirstStatement, Row, fetch_rows, fetch_rows_reconnecting
from config.refusals import limit_refusals
from config.server.target import SENT_METHOD
from crm.models import ApplicationPassword
from crm.passwords import PREFIX_LENGTH, secret_hash

LAST_USED_EVERY = timedelta(minutes=1)
FOREIGN_FORM = (
    "A form of another site may not use the login that a browser remembers. A script sends JSON, "
    "or the password as a Bearer token, or CORS_ALLOWED_ORIGINS names its site."
)
# The content types that a browser sends to other sites without asking them.
FORM_TYPES = ("", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain")

# The columns of the two models, in the order of their fields, as Model.from_db takes them.
PASSWORD_COLUMNS = ("id", "user_id", "scope", "secret_hash", "new_contacts", "user_source")
USER_COLUMNS = ("id", "is_superuser", "username", "email", "is_active")
# A row by each unique prefix, with its user. A superuser needs no permissions.
LOOKUP = """
SELECT p.prefix, p.id, p.user_id, p.scope, p.secret_hash, p.new_contacts, p.user_source,
       u.id, u.is_superuser, u.username, u.email, u.is_active,
       p.revoked_at IS NOT NULL OR COALESCE(p.expires_at <= %(now)s, false) AS ended,
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
WHERE p.prefix {of_prefix}
"""
# The same statement writes last_used_at, at most once a minute and without waiting for a lock.
# Only the right secret changes it.
TOUCH = """
WITH touched AS (
    UPDATE crm_applicationpassword SET last_used_at = %(now)s
    WHERE id = ANY (ARRAY(
        SELECT id FROM crm_applicationpassword
        WHERE {has_secret}
          AND COALESCE(last_used_at, '-infinity') < %(stale)s
        FOR UPDATE SKIP LOCKED))
)
"""
# How the statement names one secret, which costs less, and several.
ONE = {
    "of_prefix": "= %(prefix)s",
    "has_secret": "prefix = %(prefix)s AND secret_hash = %(secret_hash)s",
}
SEVERAL = {
    "of_prefix": "= ANY (%(prefixes)s)",
    "has_secret": "(prefix, secret_hash) IN "
    "(SELECT * FROM unnest(%(prefixes)s::text[], %(hashes)s::text[]))",
}


Credentials = tuple[User, ApplicationPassword]


class ApplicationPasswordAuthentication(BaseAuthentication):
    """Set `request.user` to the password's User and `request.auth` to the ApplicationPassword.

    HTTP Basic with the user's name or e-mail, or the secret alone as a Bearer token. Both objects
    come from one statement and have only the columns that a request needs; other columns are
    deferred. `request.user.has_perm` needs no statement.
    """

    @override
    @limit_refusals
    def authenticate(self, request: Request) -> Credentials | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        if is_form_of_another_site(request):
            raise Forbidden(FOREIGN_FORM)
        return authenticate(*parse_header(header))

    @override
    def authenticate_header(self, request: Request) -> str:
        # A browser that is asked for Basic remembers the login, and sends it for any site's form.
        is_browser = "HTTP_SEC_FETCH_MODE" in request.META
        return f'{"Bearer" if is_browser else "Basic"} realm="Tallybook"'


class ApiTokenAuthentication(BaseAuthentication):
    """Authenticate as ActiveCampaign does: the secret in the header Api-Token."""

    @override
    @limit_refusals
    def authenticate(self, request: Request) -> Credentials | None:
        token = request.META.get("HTTP_API_TOKEN", "")
        return authenticate(None, token) if token else None

    @override
    def authenticate_header(self, request: Request) -> str:
        return 'Api-Token realm="Tallybook"'


class ApiKeyAuthentication(BaseAuthentication):
    """Authenticate as ActiveCampaign's older API does: the secret in the parameter api_key."""

    @override
    @limit_refusals
    def authenticate(self, request: Request) -> Credentials | None:
        key = request.parser_context["view"].params.get("api_key")
        return authenticate(None, str(key)) if key else None


def is_form_of_another_site(request: Request) -> bool:
    """Return whether a page of another site made a browser send a request that changes something.

    Browsers ask before a script sends JSON, a password of its own, or another method than POST
    (CORS), but not before a form. A form that a script sends with Basic looks as one with a login
    that the browser remembers, so that CORS_ALLOWED_ORIGINS has to name its site. No browser
    remembers a Bearer token.
    """
    meta = request.META
    is_bearer = meta.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "
    if is_bearer or request.method in SAFE_METHODS:
        return False
    origin = meta.get("HTTP_ORIGIN", "")
    content_type = meta.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    method = meta.get(SENT_METHOD, request.method)
    is_simple = method == "POST" and content_type in FORM_TYPES
    was_asked = not is_simple or origin in settings.CORS_ALLOWED_ORIGINS
    if mode := meta.get("HTTP_SEC_FETCH_MODE"):
        is_own = meta.get("HTTP_SEC_FETCH_SITE") in ("same-origin", "none")
        return not is_own and not (mode == "cors" and was_asked)
    # Browsers send Sec-Fetch headers to https and to their own machine only.
    return bool(origin) and not was_asked and origin.partition("://")[2] != request.get_host()


def parse_header(header: str) -> tuple[str | None, str]:
    """Return user name and secret of an Authorization header; a Bearer token has no user name.

    Raises:
        AuthenticationFailed: 401, neither Basic nor Bearer.
    """
    scheme, _, rest = header.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return None, rest
    if scheme.lower() == "basic":
        try:
            name, colon, secret = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise AuthenticationFailed from None
        if colon:
            return name, secret
    raise AuthenticationFailed


def authenticate(username: str | None, secret: str) -> Credentials:
    """Return the user and the application password with this secret, by one statement.

    Args:
        username: the user's name or e-mail without regard to case, None if it is not sent.
        secret: the secret; whitespace in it is ignored, because it is shown in groups of four.

    Raises:
        AuthenticationFailed: 401. The password is unknown, revoked or expired, or its user is
            inactive or has another name.
    """
    secret = re.sub(r"\s", "", secret)
    if not (secret.isascii() and secret.isalnum()):
        raise AuthenticationFailed
    sent_hash = secret_hash(secret)
    row = _lookups.run((secret[:PREFIX_LENGTH], sent_hash))
    if row is None:
        raise AuthenticationFailed
    password = ApplicationPassword.from_db("default", PASSWORD_COLUMNS, row[:6])
    user = User.from_db("default", USER_COLUMNS, row[6:11])
    ended, permissions = row[11:]
    names = {user.username.lower(), user.email.lower()} - {""}
    if (
        not hmac.compare_digest(password.secret_hash, sent_hash)
        or ended
        or not user.is_active
        or (username is not None and username.lower() not in names)
    ):
        raise AuthenticationFailed
    # Where Django's ModelBackend caches the user's permissions, so that has_perm reads them.
    user._perm_cache = set(permissions or ())  # type: ignore[attr-defined]
    return user, password


def _look_up_together(secrets: list[tuple[str, str]]) -> list[Row | None]:
    """Look up the passwords of several threads' requests by one statement.

    Args:
        secrets: prefix and hash of each.

    Returns:
        For each the columns of LOOKUP behind the prefix, or None.
    """
    now = timezone.now()
    prefixes, hashes = map(list, zip(*dict.fromkeys(secrets), strict=True))
    parameters: dict[str, Any] = {"now": now, "stale": now - LAST_USED_EVERY}
    if len(prefixes) == 1:
        names = ONE
        parameters |= {"prefix": prefixes[0], "secret_hash": hashes[0]}
    else:
        names = SEVERAL
        parameters |= {"prefixes": prefixes, "hashes": hashes}
    try:
        rows = fetch_rows_reconnecting((TOUCH + LOOKUP).format(**names), parameters)
    except InternalError as error:
        if not isinstance(error.__cause__, ReadOnlySqlTransaction):
            raise
        # A read-only database can still tell who is calling.
        rows = fetch_rows(LOOKUP.format(**names), parameters)
    found = {prefix: tuple(columns) for prefix, *columns in rows}
    return [found.get(prefix) for prefix, _ in secrets]


_lookups = FirstStatement(_look_up_together)
