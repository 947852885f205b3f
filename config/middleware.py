"""Django's middleware for people, who have sessions; programs have none.

Programs call the API at every address that is not one of these. Taking them past the three saved
a tenth to a fifth of the time of a tracked event (docs/architecture.md).
"""

from collections.abc import Awaitable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from config.error_pages import ADMIN_PATH

DOCS_PATH = "/api/docs/"
ADMIN_PATHS = (ADMIN_PATH, DOCS_PATH, "/api/schema/")

# Nothing from elsewhere, nothing inline, and no page of ours in somebody else's frame.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Swagger's page has a style element of its own.
DOCS_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'"


class AdminPathsMixin(MiddlewareMixin):
    """Mixed into a middleware: applies it at the addresses of people alone."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer, with or without the middleware."""
        if request.path_info.startswith(ADMIN_PATHS):
            return super().__call__(request)
        return self.get_response(request)


class ContentSecurityPolicyMiddleware(AdminPathsMixin):
    """Content-Security-Policy: what a browser may load and run in a page of ours."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Say it, of errors as well."""
        policy = DOCS_POLICY if request.path_info.startswith(DOCS_PATH) else POLICY
        response.headers["Content-Security-Policy"] = policy
        return response


class AdminSessionMiddleware(AdminPathsMixin, SessionMiddleware):
    """Sessions, and a connection to the database that is not one from before its restart.

    Programs' first statement makes a new one by itself (crm/authentication.py).
    """

    def process_request(self, request: HttpRequest) -> None:
        """Begin with the session."""
        if connection.connection is not None and not connection.is_usable():
            connection.close()
        super().process_request(request)


class AdminAuthenticationMiddleware(AdminPathsMixin, AuthenticationMiddleware):
    """The user of a session."""


class AdminMessageMiddleware(AdminPathsMixin, MessageMiddleware):
    """Notes to the next page."""
