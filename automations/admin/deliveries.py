"""Admin pages of the deliveries of webhooks: filters, attempts, send again, release, cancel."""

import json
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timezone import is_naive, localtime, make_aware
from django.views.decorators.http import require_POST
from typing_extensions import override

from automations.admin.endpoints import MAX_SHOWN_URL
from automations.models import Attempt, Delivery, DeliveryStatus, Endpoint
from automations.rights import SEE_DELIVERIES
from automations.webhooks import deliveries
from config.api.validation import MAX_ITEMS
from config.audit import of_ids, record
from crm.admin.base import MAX_ROWS, ContactFilter, NewestRowsAdmin, ValueFilter
from crm.admin.history import log_entry
from events.admin.events import json_lines

CHANGE_DELIVERY = "automations.change_delivery"


class StatusFilter(ValueFilter):
    """Deliveries of one status."""

    title = parameter_name = "status"

    @override
    def options(self) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in DeliveryStatus.choices]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(status=DeliveryStatus(value))


class EndpointFilter(ValueFilter):
    """Deliveries to one endpoint."""

    title = parameter_name = "endpoint"

    @override
    def options(self) -> list[tuple[str, str]]:
        rows = Endpoint.objects.order_by("url").values_list("pk", "url")[:MAX_ITEMS]
        return [(str(pk), url) for pk, url in rows]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(endpoint_id=int(value))


class SinceFilter(ValueFilter):
    """Deliveries that were created at a datetime or later."""

    title = parameter_name = "since"
    typed = True
    placeholder = "2026-12-31 or 2026-12-31 18:00"

    @override
    def options(self) -> list[tuple[str, str]]:
        return []

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        since = datetime.fromisoformat(value)
        return rows.filter(created_at__gte=make_aware(since) if is_naive(since) else since)


class MessageFilter(ValueFilter):
    """The delivery of one message, which receivers know by the header webhook-id."""

    title = "webhook-id"
    parameter_name = "message"
    typed = True
    placeholder = "msg_…"

    @override
    def options(self) -> list[tuple[str, str]]:
        return []

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(message_id=value)


@admin.register(Delivery)
class DeliveryAdmin(NewestRowsAdmin):
    """Deliveries of webhooks, the newest first."""

    list_display = (
        *("message_id", "status", "receiver", "attempts", "contact"),
        *("created", "delivered_or_due"),
    )
    list_filter = (StatusFilter, EndpointFilter, ContactFilter, SinceFilter, MessageFilter)
    change_list_template = "admin/automations/delivery/change_list.html"
    actions = ("send_again_selected", "cancel_selected")

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("release/", require_POST(self.release_view), "release"),
            ("<int:delivery_id>/progress/", self.progress_view, "progress"),
            ("<int:delivery_id>/send-again/", require_POST(self.send_again_view), "send_again"),
        )
        return [
            path(route, self.admin_site.admin_view(view), name=f"automations_delivery_{name}")
            for route, view, name in pages
        ] + super().get_urls()

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perms(SEE_DELIVERIES)

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Return whether the admin user may send, and cancel, deliveries."""
        return request.user.has_perm(CHANGE_DELIVERY)

    @override
    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.select_related("endpoint").defer("body")

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        held = Delivery.objects.filter(status=DeliveryStatus.HELD).values("pk")
        context = {
            "held": held[:MAX_ROWS].count(),
            "max_held": MAX_ROWS,
            "may_send": self.has_send_permission(request),
            "switched_off": Endpoint.objects.filter(enabled=False).count(),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description="endpoint")
    def receiver(self, delivery: Delivery) -> str:
        """Return the beginning of the endpoint's URL."""
        return Truncator(delivery.endpoint.url).chars(MAX_SHOWN_URL)

    @admin.display(description="contact")
    def contact(self, delivery: Delivery) -> SafeString | str:
        """Return a link to the contact's page. A test has none."""
        if delivery.subscriber_id is None:
            return "-"
        url = reverse("admin:crm_subscriber_contact", args=[delivery.subscriber_id])
        return format_html('<a href="{}">{}</a>', url, str(delivery.subscriber_id))

    @admin.display(description="created")
    def created(self, delivery: Delivery) -> str:
        """Return when the delivery was created."""
        return _short(delivery.created_at)

    @admin.display(description="delivered, or due")
    def delivered_or_due(self, delivery: Delivery) -> str:
        """Return when the webhook was delivered, or when the next attempt is due."""
        if delivery.status == DeliveryStatus.PENDING:
            return _short(delivery.next_at)
        return _short(delivery.delivered_at) if delivery.delivered_at else "-"

    @admin.action(description="Send the selected webhooks again", permissions=["send"])
    def send_again_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Send the newest MAX_ROWS of the selected deliveries again, with their ids."""
        ids = list(queryset.values_list("pk", flat=True)[:MAX_ROWS])
        number = deliveries.send_again(ids)
        self._log(request, ids, f"Sent {number:,} again.")
        messages.success(request, f"{number:,} are sent again.")
        if number < len(ids):
            messages.warning(
                request,
                f"{len(ids) - number:,} are not sent again: an attempt goes on, or the body was "
                f"deleted after {deliveries.KEEP_BODIES.days} days.",
            )

    @admin.action(description="Cancel the selected webhooks", permissions=["send"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Cancel those of the selected deliveries that are pending or held."""
        ids = list(queryset.values_list("pk", flat=True)[:MAX_ROWS])
        number = deliveries.cancel(ids)
        self._log(request, ids, f"Cancelled {number:,}.")
        messages.success(request, f"{number:,} are cancelled.")

    def release_view(self, request: HttpRequest) -> HttpResponse:
        """Send the deliveries that are held since a restore."""
        if not self.has_send_permission(request):
            raise PermissionDenied
        number = deliveries.release_deliveries()
        self._log(request, [], f"Released {number:,}.")
        messages.success(request, f"{number:,} are released.")
        return HttpResponseRedirect(reverse("admin:automations_delivery_changelist"))

    @override
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the message, and each attempt to deliver it."""
        delivery = self._delivery(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **_progress(delivery),
            "opts": self.opts,
            "title": str(delivery),
            "contact": self.contact(delivery),
            "message": json_lines(json.loads(delivery.body)) if delivery.body else "",
            "keep_days": deliveries.KEEP_BODIES.days,
            "may_send": self.has_send_permission(request) and delivery.body,
        }
        return TemplateResponse(request, "admin/automations/delivery/page.html", context)

    def progress_view(self, request: HttpRequest, delivery_id: int) -> HttpResponse:
        """Return the part of the page that is refreshed until the delivery has ended."""
        delivery = self._delivery(request, delivery_id)
        return render(request, "admin/automations/delivery/progress.html", _progress(delivery))

    def send_again_view(self, request: HttpRequest, delivery_id: int) -> HttpResponse:
        """Send one delivery again."""
        if not self.has_send_permission(request):
            raise PermissionDenied
        delivery = self._delivery(request, delivery_id)
        if deliveries.send_again([delivery.pk]):
            self._log(request, [delivery.pk], "Sent again.")
            messages.success(request, "It is sent again.")
        else:
            messages.warning(
                request, "It is not sent again: an attempt goes on, or the body was deleted."
            )
        return HttpResponseRedirect(
            reverse("admin:automations_delivery_change", args=[delivery.pk])
        )

    def _delivery(self, request: HttpRequest, delivery_id: int | str) -> Delivery:
        if not self.has_view_permission(request):
            raise PermissionDenied
        delivery: Model | None = self.get_object(request, str(delivery_id))
        if not isinstance(delivery, Delivery):
            raise Http404
        return delivery

    def _log(self, request: HttpRequest, ids: list[int], message: str) -> None:
        object_id = str(ids[0]) if len(ids) == 1 else None
        log_entry(request, object_id, "webhook deliveries", CHANGE, message, model=Delivery)
        record(request, "changed", what="webhook delivery", change=message, **of_ids(ids))


def _short(at: datetime) -> str:
    """Return a datetime to the minute, so that the list's columns fit beside each other."""
    return date_format(localtime(at), "Y-m-d H:i")


def _progress(delivery: Delivery) -> dict[str, Any]:
    """Return what becomes of a delivery, with its attempts, the newest first."""
    results = {row.number: row for row in Attempt.objects.filter(delivery=delivery)}
    numbers = range(delivery.attempts, 0, -1)
    return {
        "delivery": delivery,
        # The process of an attempt without a result has died, or goes on.
        "attempts": [(number, results.get(number)) for number in numbers],
        "has_ended": delivery.status != DeliveryStatus.PENDING,
    }
