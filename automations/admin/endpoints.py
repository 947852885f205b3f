"""Admin pages of the endpoints of webhooks: state, secret, test, on and off."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import Truncator
from django.views.decorators.http import require_POST
from typing_extensions import override

from automations.models import Delivery, DeliveryStatus, Endpoint
from automations.rights import SEE_DELIVERIES
from automations.webhooks import endpoints
from automations.webhooks.deliveries import send_test
from automations.webhooks.endpoints import BREAKER_FAILURES, DISABLE_AFTER_DAYS
from config.audit import record
from crm.admin.base import MAX_ROWS, ReadOnlyAdmin
from crm.admin.history import log_entry

# Characters of a URL in a list.
MAX_SHOWN_URL = 60
CHANGE_ENDPOINT = "automations.change_endpoint"


@admin.register(Endpoint)
class EndpointAdmin(ReadOnlyAdmin):
    """Endpoints, which automations create by their URLs."""

    list_display = ("shown_url", "state", "failures", "failing_since", "created_at")
    search_fields = ("url",)
    search_help_text = "URL"
    sortable_by = ()
    ordering = ("-id",)

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("secret/", self.secret_view, "secret"),
            ("rotate/", self.rotate_view, "rotate"),
            ("test/", self.test_view, "test"),
            ("switch/", self.switch_view, "switch"),
        )
        deletion = path(
            "<int:endpoint_id>/remove/",
            self.admin_site.admin_view(self.remove_view),
            name="automations_endpoint_remove",
        )
        return (
            [
                path(
                    f"<int:endpoint_id>/{suffix}",
                    self.admin_site.admin_view(require_POST(view)),
                    name=f"automations_endpoint_{name}",
                )
                for suffix, view, name in pages
            ]
            + [deletion]
            + super().get_urls()
        )

    @admin.display(description="URL")
    def shown_url(self, endpoint: Endpoint) -> str:
        """Return the beginning of the URL."""
        return Truncator(endpoint.url).chars(MAX_SHOWN_URL)

    @admin.display(description="state")
    def state(self, endpoint: Endpoint) -> str:
        """Return whether the endpoint is sent to."""
        if not endpoint.enabled:
            return "switched off"
        if endpoint.failures >= BREAKER_FAILURES:
            return "failing, tried now and then"
        return "failing" if endpoint.failures else "on"

    @override
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the state of the endpoint, and what can be done."""
        endpoint = self._endpoint(request, object_id, "automations.view_endpoint")
        return self._page(request, endpoint)

    def secret_view(self, request: HttpRequest, endpoint_id: int) -> HttpResponse:
        """Show the page with the secret."""
        endpoint = self._endpoint(request, endpoint_id)
        record(request, "read the secret", what="webhook endpoint", id=endpoint.pk)
        return self._page(request, endpoint, secret=endpoint.secret)

    def rotate_view(self, request: HttpRequest, endpoint_id: int) -> HttpResponse:
        """Replace the secret, and show the page with the new one."""
        endpoint = self._endpoint(request, endpoint_id)
        endpoints.rotate_secret(endpoint)
        self._log(request, endpoint, "Rotated the secret.")
        endpoint.refresh_from_db()
        return self._page(request, endpoint, secret=endpoint.secret)

    def test_view(self, request: HttpRequest, endpoint_id: int) -> HttpResponse:
        """Create a test, and lead to its delivery, where the response appears."""
        endpoint = self._endpoint(request, endpoint_id)
        delivery = send_test(endpoint)
        self._log(request, endpoint, "Sent a test.")
        return HttpResponseRedirect(
            reverse("admin:automations_delivery_change", args=[delivery.pk])
        )

    def switch_view(self, request: HttpRequest, endpoint_id: int) -> HttpResponse:
        """Switch the endpoint on, or off, as the form names it."""
        endpoint = self._endpoint(request, endpoint_id)
        if request.POST.get("to") == "off":
            endpoints.switch_off(endpoint, f"{request.user} has switched it off.")
            message = "Switched off."
        else:
            endpoints.switch_on(endpoint)
            message = "Switched on."
        self._log(request, endpoint, message)
        messages.success(request, message)
        return HttpResponseRedirect(
            reverse("admin:automations_endpoint_change", args=[endpoint.pk])
        )

    def remove_view(self, request: HttpRequest, endpoint_id: int) -> HttpResponse:
        """Ask with the number of deliveries, and delete the endpoint."""
        endpoint = self._endpoint(request, endpoint_id)
        if request.method == "POST":
            endpoints.delete_endpoint(endpoint)
            self._log(request, endpoint, "Deleted.")
            messages.success(request, "The endpoint was deleted.")
            return HttpResponseRedirect(reverse("admin:automations_endpoint_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Delete the endpoint?",
            "endpoint": endpoint,
            "number": Delivery.objects.filter(endpoint=endpoint).count(),
        }
        return TemplateResponse(request, "admin/automations/endpoint/remove.html", context)

    def _endpoint(
        self, request: HttpRequest, endpoint_id: int | str, permission: str = CHANGE_ENDPOINT
    ) -> Endpoint:
        """Return an endpoint.

        Raises:
            PermissionDenied: the admin user may not do this.
            Http404: there is none.
        """
        if not request.user.has_perm(permission):
            raise PermissionDenied
        endpoint: Model | None = self.get_object(request, str(endpoint_id))
        if not isinstance(endpoint, Endpoint):
            raise Http404
        return endpoint

    def _log(self, request: HttpRequest, endpoint: Endpoint, message: str) -> None:
        log_entry(request, str(endpoint.pk), str(endpoint), CHANGE, message, model=Endpoint)
        fields = {"id": endpoint.pk, "change": message}
        record(request, "changed", what="webhook endpoint", **fields)

    def _page(self, request: HttpRequest, endpoint: Endpoint, secret: str = "") -> HttpResponse:
        waiting = Delivery.objects.filter(endpoint=endpoint, status=DeliveryStatus.PENDING)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": str(endpoint),
            "endpoint": endpoint,
            "state": self.state(endpoint),
            "waiting": waiting.values("pk")[:MAX_ROWS].count(),
            "max_waiting": MAX_ROWS,
            "secret": secret,
            "may_change": request.user.has_perm(CHANGE_ENDPOINT),
            "sees_deliveries": request.user.has_perms(SEE_DELIVERIES),
            "disable_days": DISABLE_AFTER_DAYS,
        }
        return TemplateResponse(request, "admin/automations/endpoint/page.html", context)
