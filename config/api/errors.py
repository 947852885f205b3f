"""What every refusal looks like: WordPress's and FluentCRM's error bodies, in JSON.

People, who are in the admin, get a page.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from psycopg.errors import ReadOnlySqlTransaction
from rest_framework import exceptions
from rest_framework.response import Response

logger = logging.getLogger(__name__)

# field -> rule -> text, as FluentCRM's validator answers.
FieldErrors = dict[str, dict[str, str]]

RETRY_AFTER_SECONDS = "1"


class ApiError(Exception):
    """A refusal with FluentCRM's body: `status` and a JSON object."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("message", body)))
        self.status = status
        self.body = dict(body)


class InvalidFields(ApiError):
    """422: the fields that are wrong, all at once."""

    def __init__(self, errors: FieldErrors) -> None:
        super().__init__(422, errors)


class Unprocessable(ApiError):
    """422 with one message, as FluentCRM answers where no field is to blame."""

    def __init__(self, message: str) -> None:
        super().__init__(422, {"message": message})


class ObjectNotFound(ApiError):
    """404: the path is right, the thing it names is not there."""

    def __init__(self, what: str) -> None:
        super().__init__(404, {"message": f"{what} not found"})


def rest_error(code: str, message: str, status: int, **data: Any) -> dict[str, Any]:
    """The body of a WordPress REST error."""
    return {"code": code, "message": message, "data": {"status": status, **data}}


FORBIDDEN = "Sorry, you are not allowed to do that."
ERRORS: dict[int, tuple[str, str]] = {
    400: ("rest_bad_request", "The request could not be understood."),
    401: ("rest_forbidden", FORBIDDEN),
    403: ("rest_forbidden", FORBIDDEN),
    404: ("rest_no_route", "No route was found matching the URL and request method."),
    405: ("rest_method_not_allowed", "The method is not allowed for this URL."),
    411: ("rest_length_required", "Send the body's length: only JSON and gzip may come in chunks."),
    413: ("rest_body_too_large", "The request body is too large."),
    415: ("rest_unsupported_media_type", "The request's content type is not supported."),
    500: ("internal_server_error", "Something went wrong here. It has been logged."),
    503: ("service_unavailable", "The database cannot answer right now. Try again."),
}


def status_error(status: int) -> dict[str, Any]:
    """The body for a status that says it all."""
    code, message = ERRORS[status]
    return rest_error(code, message, status)


class BadRequest(ApiError):
    """400: the request cannot be read."""

    def __init__(self) -> None:
        super().__init__(400, status_error(400))


class InvalidJSON(ApiError):
    """400 as WordPress answers it; 4 is PHP's JSON_ERROR_SYNTAX."""

    def __init__(self, reason: str) -> None:
        body = rest_error(
            "rest_invalid_json",
            "Invalid JSON body passed.",
            400,
            json_error_code=4,
            json_error_message=reason,
        )
        super().__init__(400, body)


def is_unavailable(error: BaseException | None) -> bool:
    """Whether the database is away, locked, busy, full or read-only: worth trying again."""
    return isinstance(error, OperationalError | InterfaceError) or (
        isinstance(error, DatabaseError) and isinstance(error.__cause__, ReadOnlySqlTransaction)
    )


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER: every exception of an API view as its JSON answer."""
    if isinstance(error, ApiError):
        return Response(error.body, status=error.status)
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
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(context["view"].allowed_methods)
    return Response(status_error(error.status_code), status=error.status_code, headers=headers)


# Where people are, and what it says at the top.
ADMIN_PATH, SITE_NAME = "/admin/", "Tallybook"
# What a page says: a heading, and a sentence.
ERROR_PAGES: dict[int, tuple[str, str]] = {
    400: ("Not understood", "The request could not be understood."),
    403: ("Not allowed", "You are not allowed to do that."),
    404: ("Not found", "There is no such page."),
    500: ("An error", "Something went wrong here. It has been logged."),
    503: ("Not right now", "The database cannot answer right now. Try again in a moment."),
}
CSRF_ERROR_PAGE = (
    "Not accepted",
    "The form is too old, or your browser keeps no cookies from here. "
    "Go back, load the page again, and send it once more.",
)


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's answer to a hostile Host header or too many form fields."""
    return error_page_or_json(request, 400)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's answer outside the API views."""
    return error_page_or_json(request, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """A form of the admin without its token."""
    return error_page_or_json(request, 403, CSRF_ERROR_PAGE)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """An address that nothing answers to."""
    return error_page_or_json(request, 404)


def handler500(request: HttpRequest) -> HttpResponse:
    """What nobody expected; a database that is away is no accident of ours and answers 503."""
    return error_page_or_json(request, 503 if is_unavailable(sys.exc_info()[1]) else 500)


def error_page_or_json(
    request: HttpRequest, status: int, said: tuple[str, str] | None = None
) -> HttpResponse:
    """A refusal outside DRF: a page in the admin, JSON elsewhere."""
    if not request.path_info.startswith(ADMIN_PATH):
        return json_error(status)
    title, sentence = said or ERROR_PAGES[status]
    # Without the request there is no user to be looked up: the database may be away.
    shown = {
        "title": title,
        "sentence": sentence,
        "site_header": SITE_NAME,
        "site_title": SITE_NAME,
    }
    page = render_to_string("admin/error.html", shown)
    return HttpResponse(page, status=status, headers=_retry_after(status))


def json_error(status: int, **more_headers: str) -> HttpResponse:
    """A refusal outside DRF, in JSON."""
    body = orjson.dumps(status_error(status))
    headers = {"Content-Length": str(len(body)), **more_headers, **_retry_after(status)}
    return HttpResponse(body, "application/json", status, headers=headers)


def _retry_after(status: int) -> dict[str, str]:
    return {"Retry-After": RETRY_AFTER_SECONDS} if status == 503 else {}
