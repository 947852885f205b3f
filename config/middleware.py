"""Run Django's session middleware for admin users only; API clients have no sessions.

The API is every URL that is not one of ADMIN_PATHS. Without the three middlewares a tracked event
takes a tenth to a fifth less time.
"""

from collections.abc import Awaitable

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.deprecation import MiddlewareMixin
from typing_extensions import override

from config.api.errors import rest_error
from config.database import drop_closed_connection
from config.error_pages import ADMIN_PATH, AUTHORIZE_PATH, error_page_or_json
from config.metrics import metrics
from config.proxy import PROTO_HEADER, log_fault, protocol_fault
from config.views import healthz, readyz

DOCS_PATH = "/api/docs/"
ADMIN_PATHS = (ADMIN_PATH, AUTHORIZE_PATH, DOCS_PATH, "/api/schema/")

PLAIN_HTTP = "Use https. Over http, the password has been sent readable: revoke it."
# Nothing from other hosts, nothing inline, and no page in a frame of another site.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Swagger's page has a style element of its own.
DOCS_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'"
# The form leads to the site of the program that asked, and that site maybe to another.
AUTHORIZE_POLICY = POLICY.replace("form-action 'self'", "form-action 'self' http: https:")
POLICIES = {DOCS_PATH: DOCS_POLICY, AUTHORIZE_PATH: AUTHORIZE_POLICY}


class HealthMiddleware(MiddlewareMixin):
    """Answer health checks and metrics whatever their Host, because programs ask by address.

    Every other URL goes on to CommonMiddleware, which checks the Host.
    """

    VIEWS = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}  # noqa: RUF012

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


class ForwardedProtocolMiddleware(MiddlewareMixin):
    """Report a proxy that does not say whether the browser uses https.

    It comes before SecurityMiddleware, which would redirect without an end.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Return the response that names the fault, or None."""
        if not settings.SECURE_SSL_REDIRECT:
            return None
        if fault := protocol_fault(request):
            log_fault("protocol", fault)
            return error_page_or_json(request.path_info, 400, fault)
        # Some proxies write it in capitals, and Django compares exactly.
        request.META[PROTO_HEADER] = request.META[PROTO_HEADER].lower()
        return None


class PlainHttpMiddleware(MiddlewareMixin):
    """Reject API calls over http, which a redirect would answer too late: the password was sent.

    Pages are redirected by SecurityMiddleware, which comes next.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Return 403 for an API call over http, or None."""
        path = request.path_info
        is_page = path in ("/", "/admin") or path.startswith((*ADMIN_PATHS, settings.STATIC_URL))
        if is_page or request.is_secure():
            return None
        return JsonResponse(rest_error("rest_forbidden", PLAIN_HTTP, 403), status=403)


class ContentSecurityPolicyMiddleware(AdminPathsMixin):
    """Set the Content-Security-Policy header, on error responses too."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Set the header: the policy of the page, or of all others."""
        policy = POLICIES.get(request.path_info, POLICY)
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
