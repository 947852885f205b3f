"""Answer errors outside DRF: HTML pages in the admin, JSON everywhere else."""

import sys
from functools import lru_cache

import orjson
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from config.api.errors import RETRY_AFTER_SECONDS, is_unavailable, status_error
from config.proxy import form_address_fault, host_fault, log_fault

ADMIN_PATH, AUTHORIZE_PATH = "/admin/", "/wp-admin/authorize-application.php"
SITE_NAME = "Tallybook"
# status -> heading, sentence
ERROR_PAGES: dict[int, tuple[str, str]] = {
    400: ("Not understood", "The request could not be understood."),
    403: ("Not allowed", "You are not allowed to do that."),
    404: ("Not found", "There is no such page."),
    413: ("Too large", "What was sent is larger than the server accepts. Go back, and send less."),
    429: ("Too many wrong passwords", "From where you are, try again in ten minutes."),
    500: ("An error", "Something went wrong here. It has been logged."),
    503: ("Not right now", "The database cannot answer right now. Try again in a moment."),
}
BUSY = "Too many requests of this kind are waiting. Try again in a moment."
FORM_ERROR = (
    "The form is too old, or your browser keeps no cookies from here. "
    "Go back, load the page again, and send it once more."
)


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a Host that ALLOWED_HOSTS does not have, or too many form fields."""
    if isinstance(exception, DisallowedHost):
        # A page that names the Host would show a stranger's text.
        log_fault("host", host_fault(request))
    return error_page_or_json(request.path_info, 400)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Answer a missing permission outside the API views."""
    return error_page_or_json(request.path_info, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Answer a form of the admin from another site, or one that has no valid CSRF token."""
    fault = form_address_fault(request)
    if fault:
        log_fault("form", fault)
    return error_page_or_json(request.path_info, 403, fault or FORM_ERROR)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Answer a URL that no pattern matches."""
    return error_page_or_json(request.path_info, 404)


def handler500(request: HttpRequest) -> HttpResponse:
    """Answer an uncaught exception: 503 if the database is unavailable, else 500."""
    return error_page_or_json(request.path_info, 503 if is_unavailable(sys.exc_info()[1]) else 500)


def error_page_or_json(path: str, status: int, explanation: str | None = None) -> HttpResponse:
    """Return an HTML page for people who use the admin, and JSON elsewhere.

    Args:
        path: of the URL.
        status: a status of ERRORS (config/api/errors.py). One without a page is JSON everywhere.
        explanation: sentences in place of the status's own.
    """
    if not path.startswith((ADMIN_PATH, AUTHORIZE_PATH)) or status not in ERROR_PAGES:
        return json_error(status, explanation)
    title, sentence = ERROR_PAGES[status]
    html = _render_page(title, explanation or sentence)
    return HttpResponse(html, status=status, headers=_retry_after(status))


@lru_cache(maxsize=16)
def _render_page(title: str, sentence: str) -> str:
    # Rendered without the request, because its user would be looked up in a database that may be
    # the very thing that is unavailable.
    context = {
        "title": title,
        "sentence": sentence,
        "site_header": SITE_NAME,
        "site_title": SITE_NAME,
    }
    return render_to_string("admin/error.html", context)


def json_error(status: int, explanation: str | None = None, **headers: str) -> HttpResponse:
    """Return the JSON body of a status outside DRF, with further response headers."""
    error = status_error(status)
    if explanation:
        error["message"] = explanation
    body = orjson.dumps(error)
    all_headers = {"Content-Length": str(len(body)), **headers, **_retry_after(status)}
    return HttpResponse(body, "application/json", status, headers=all_headers)


def _retry_after(status: int) -> dict[str, str]:
    return {"Retry-After": RETRY_AFTER_SECONDS} if status == 503 else {}
