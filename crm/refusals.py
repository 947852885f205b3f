"""Record refused credentials of API clients."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from config.api import errors
from config.api.responses import Response
from config.audit import record_refusal
from crm.authentication import parse_header
from crm.passwords import PREFIX_LENGTH, SECRET_LENGTH


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Return what `config.api.errors.exception_handler` does (DRF's EXCEPTION_HANDLER)."""
    response = errors.exception_handler(error, context)
    if response is not None and response.status_code in (401, 403):
        request: Request = context["request"]
        secret = sent_secret(request)
        if secret is not None:
            record_refusal(request, response.status_code, shown_part(secret))
    return response


def sent_secret(request: Request) -> str | None:
    """Return the secret of a request, "" for a header that cannot be read, or None without one."""
    if header := request.META.get("HTTP_AUTHORIZATION"):
        try:
            return parse_header(header)[1]
        except AuthenticationFailed:
            return ""
    return request.META.get("HTTP_API_TOKEN")


def shown_part(secret: str) -> str | None:
    """Return the prefix of what may be an application password, by which the admin lists them.

    Nothing is shown of other secrets, because some send the password of their login.
    """
    secret = "".join(secret.split())
    is_ours = len(secret) == SECRET_LENGTH and secret.isascii() and secret.isalnum()
    return secret[:PREFIX_LENGTH] if is_ours else None
