"""Run Django's session middleware for admin users only; API clients have no sessions.

The API is every URL that is not one of ADMIN_PATHS. Without the three middlewares a tracked event
takes a tenth to a fifth less time.
"""

from collections.abc import Awaitable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from typing_extensions import override

from config.database import drop_closed_connection
from config.error_pages import ADMIN_PATH
from config.views import healthz, readyz

DOCS_PATH = "/api/docs/"
ADMIN_PATHS = (ADMIN_PATH, DOCS_PATH, "/api/schema/")

# Nothing from other hosts, nothing inline, and no page in a frame of another site.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Swagger's page has a style element of its own.
DOCS_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'"


class HealthMiddleware(MiddlewareMixin):
    """Answer health checks whatever their Host, because load balancers ask by address.

    Every other URL goes on to CommonMiddleware, which checks the Host.
    """

    VIEWS = {"/healthz": healthz, "/readyz": readyz}  # noqa: RUF012

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Return the response to a health check, or None."""
        view = self.VIEWS.get(request.path_info)
        return view(request) if view else None


class AdminPathsMixin(MiddlewareMixin):
    """Apply a middleware to the URLs of ADMIN_PATHS only."""

    @override
    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if request.path_info.startswith(ADMIN_PATHS):
            return super().__call__(request)
        return self.get_response(request)


class ContentSecurityPolicyMiddleware(AdminPathsMixin):
    """Set the Content-Security-Policy header, on error responses too."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Set the header: the policy of Swagger's page, or of all others."""
        policy = DOCS_POLICY if request.path_info.startswith(DOCS_PATH) else POLICY
        response.headers["Content-Security-Policy"] = policy
        return response


class AdminSessionMiddleware(AdminPathsMixin, SessionMiddleware):
    """Open the session, and first drop a connection that a database restart left dead.

    The API's first statement reconnects by itself (crm/authentication.py).
    """

    @override
    def process_request(self, request: HttpRequest) -> None:
        drop_closed_connection()
        super().process_request(request)


class AdminAuthenticationMiddleware(AdminPathsMixin, AuthenticationMiddleware):
    """Set `request.user` from the session."""


class AdminMessageMiddleware(AdminPathsMixin, MessageMiddleware):
    """Store messages for the next page."""
