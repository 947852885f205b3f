"""Raise and render the API's errors: the JSON bodies of FluentCRM and of WordPress's REST API."""

import errno
import logging
from collections.abc import Mapping
from typing import Any, TypedDict

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404
from psycopg.errors import InternalError_, ReadOnlySqlTransaction
from rest_framework import exceptions

from config.api.responses import Response

logger = logging.getLogger(__name__)

# field -> rule -> message, as FluentCRM's validator answers.
FieldErrors = dict[str, dict[str, str]]

RETRY_AFTER_SECONDS = "1"


class RestErrorBody(TypedDict):
    """The body of a WordPress REST error; `data` holds the status and what else there is to say.

    See tests/conformance/track-event.json: "malformed JSON".
    """

    code: str
    message: str
    data: dict[str, Any]


class ApiError(exceptions.APIException):
    """An error with a JSON body of its own, which `detail` holds."""

    detail: dict[str, Any]

    # DRF's __init__ would turn each text of the body into an ErrorDetail.
    def __init__(self, body: Mapping[str, Any], status_code: int | None = None) -> None:
        self.detail = dict(body)
        if status_code is not None:
            self.status_code = status_code

    def __str__(self) -> str:
        return str(self.detail.get("message", self.detail))


class InvalidFields(ApiError):
    """422: every invalid field, with the rule it breaks and a message."""

    status_code = 422
    detail: FieldErrors

    def __init__(self, errors: FieldErrors) -> None:
        super().__init__(errors)

    def __str__(self) -> str:
        return " ".join(text for rules in self.detail.values() for text in rules.values())


class Unprocessable(ApiError):
    """422 with one message, as FluentCRM answers where no field is to blame."""

    status_code = 422

    def __init__(self, message: str, error_code: str = "") -> None:
        code = {"error_code": error_code} if error_code else {}
        super().__init__({"message": message, **code})


class ObjectNotFound(ApiError):
    """404 for an object that a URL names by its id or name."""

    status_code = 404

    def __init__(self, noun: str) -> None:
        super().__init__({"message": f"{noun} not found"})


def rest_error(code: str, message: str, status: int, **data: Any) -> RestErrorBody:
    """Return the body of a WordPress REST error."""
    return {"code": code, "message": message, "data": {"status": status, **data}}


FORBIDDEN = "Sorry, you are not allowed to do that."
ERRORS: dict[int, tuple[str, str]] = {
    400: ("rest_bad_request", "The request could not be understood."),
    401: ("rest_forbidden", FORBIDDEN),
    403: ("rest_forbidden", FORBIDDEN),
    404: ("rest_no_route", "No route was found matching the URL and request method."),
    405: ("rest_method_not_allowed", "The method is not allowed for this URL."),
    408: ("rest_request_timeout", "The request's body arrived too slowly."),
    411: ("rest_length_required", "Send the body's length: only JSON and gzip may come in chunks."),
    413: ("rest_body_too_large", "The request body is too large."),
    415: (
        "rest_unsupported_media_type",
        "The body must be UTF-8, and only track-events reads Content-Encoding: gzip.",
    ),
    429: ("rest_too_many_requests", "Too many wrong passwords or keys from your address."),
    500: ("internal_server_error", "Something went wrong here. It has been logged."),
    503: ("service_unavailable", "The database cannot answer right now. Try again."),
}


def status_error(status: int) -> RestErrorBody:
    """Return the body for a status of `ERRORS`, which needs no further explanation."""
    code, message = ERRORS[status]
    return rest_error(code, message, status)


class Forbidden(ApiError, DjangoPermissionDenied):
    """403 that says what is forbidden. Outside the API, Django answers with its own 403."""

    status_code = 403

    def __init__(self, message: str) -> None:
        super().__init__(rest_error(ERRORS[403][0], message, 403))


class BadRequest(ApiError):
    """400: the body or the query string cannot be read."""

    status_code = 400

    def __init__(self) -> None:
        super().__init__(status_error(400))


class JSONAsForm(ApiError):
    """400: the body is JSON, but its Content-Type says that it is a form, as curl -d sends it."""

    status_code = 400

    def __init__(self) -> None:
        message = "The body is JSON: send it with the header Content-Type: application/json."
        super().__init__(rest_error("rest_invalid_json", message, 400))


class InvalidJSON(ApiError):
    """400 as WordPress answers a body that is not JSON; 4 is PHP's JSON_ERROR_SYNTAX.

    See tests/conformance/track-event.json: "malformed JSON".
    """

    status_code = 400

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            rest_error(
                "rest_invalid_json",
                "Invalid JSON body passed.",
                400,
                json_error_code=4,
                json_error_message=reason,
            )
        )


# A full disk of temporary files, and file descriptors that are used up.
EXHAUSTED = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)

# XX000 is how a node of a distributed database reports that another node went away.
TEMPORARY = (ReadOnlySqlTransaction, InternalError_)


def is_unavailable(error: BaseException | None) -> bool:
    """Return whether a retry is worth it.

    The database is away, locked, busy, full or read-only, or the machine is out of room.
    """
    if isinstance(error, OSError):
        return error.errno in EXHAUSTED
    return isinstance(error, OperationalError | InterfaceError) or (
        isinstance(error, DatabaseError) and isinstance(error.__cause__, TEMPORARY)
    )


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Return the JSON response for an exception of an API view (DRF's EXCEPTION_HANDLER).

    Returns None for an exception that is a bug, which Django logs and answers with 500.
    """
    if isinstance(error, ApiError):
        return Response(error.detail, status=error.status_code)
    if is_unavailable(error):
        logger.warning("503: %s", str(error).strip().split("\n")[0])
        return Response(status_error(503), status=503, headers={"Retry-After": RETRY_AFTER_SECONDS})
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    headers: dict[str, str] = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    body = status_error(error.status_code)
    if isinstance(error, exceptions.UnsupportedMediaType):
        parsers = getattr(context["view"], "parser_classes", ())
        media_types = " or ".join(parser.media_type for parser in parsers)
        body["message"] = f"The content type is not supported. Send {media_types}, in UTF-8."
    if wait := getattr(error, "wait", None):  # of Throttled
        headers["Retry-After"] = str(wait)
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response(body, status=error.status_code, headers=headers)
