"""The admin's pages of contacts, put together: list, form, actions, the page of a contact."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Model, OuterRef, QuerySet, Subquery, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from typing_extensions import override

from config.api.validation import MAX_ID
from crm.admin.base import PageByIds, ValueFilter
from crm.admin.contacts import SubscriberAdmin, contact_sections
from crm.admin.deletion import DeleteContactsMixin
from crm.admin.label_actions import LabelActionsMixin
from crm.admin.notes import notes_context
from crm.custom_fields import declared_fields, text_of_value, values_of
from crm.filters import ContactSet
from crm.models import Erasure, Identity, Subscriber
from events.admin.events import KeyFilter
from events.admin.exports import ExportActionsMixin
from events.admin.merging import MergeMixin
from events.admin.personal_data import PersonalDataMixin
from events.admin.timeline import group_by_day
from events.history import Cursor, Timeline
from events.models import VIEW_EVENTS, TrackedEvent
from events.stats.contact import contact_stats
from events.templatetags.events import time_ago

ENTRIES_PER_PAGE = 50
# Characters of a custom value. The contact's form has all of it.
MAX_SHOWN = 1000


class HasEventFilter(KeyFilter):
    """Contacts with an event of a key."""

    title = "did event"
    parameter_name = "did"
    permissions = VIEW_EVENTS

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(ContactSet(TrackedEvent.objects.filter(event_key=value)).q())


class ContactChangeList(PageByIds):
    """Contacts with links to their pages instead of their forms."""

    @override
    def url_for_result(self, result: Model) -> str:
        return reverse("admin:crm_subscriber_contact", args=[result.pk])


@admin.register(Subscriber)
class ContactAdmin(
    LabelActionsMixin,
    ExportActionsMixin,
    DeleteContactsMixin,
    MergeMixin,
    PersonalDataMixin,
    SubscriberAdmin,
):
    """Contacts and their events."""

    change_list_template = "admin/crm/subscriber/change_list.html"
    # A list, because automations/admin adds to it.
    actions = [  # noqa: RUF012
        *("add_tags", "remove_tags", "add_lists", "remove_lists"),
        *("delete_selected", "export_ndjson", "export_csv"),
    ]
    list_display: tuple[str, ...] = (
        *("email", "name", "status", "event_count", "last_seen", "tag_titles"),
    )
    list_filter: ClassVar[tuple[type[ValueFilter], ...]] = (
        *SubscriberAdmin.list_filter,
        HasEventFilter,
    )

    @override
    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        may_see_events = request.user.has_perms(VIEW_EVENTS)
        return self.list_display if may_see_events else SubscriberAdmin.list_display

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ContactChangeList

    @override
    def page_rows(self, rows: QuerySet[Any]) -> list[Any]:
        events = TrackedEvent.objects.filter(subscriber=OuterRef("pk")).values("subscriber")
        return super().page_rows(
            rows.annotate(
                event_count=Subquery(events.annotate(sum=Sum("counter")).values("sum")),
                last_seen=Subquery(events.annotate(last=Max("updated_at")).values("last")),
            )
        )

    @admin.display(description="events")
    def event_count(self, contact: Any) -> int:
        """Return the sum of the contact's counters."""
        return contact.event_count or 0

    @admin.display(description="last seen")
    def last_seen(self, contact: Any) -> str:
        """Return the time since the contact's last event."""
        last: datetime | None = contact.last_seen
        return time_ago(last) or "-"

    @override
    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.contact_view)
        return [path("<int:contact_id>/", page, name="crm_subscriber_contact"), *super().get_urls()]

    def contact_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """Show a contact: figures, notes, a chart and the timeline.

        With the parameter `piece` it returns a page of the timeline only. The URL of an erased
        contact leads to its receipt.
        """
        aliases = Identity.objects.filter(subscriber=OuterRef("pk"), **Identity.EMAIL)
        in_order = ArraySubquery(aliases.order_by("id").values("value"))
        contacts = Subscriber.objects.annotate(aliases=in_order)
        contact = contacts.filter(pk=min(contact_id, MAX_ID)).first()
        if not self.has_view_permission(request, contact):
            raise PermissionDenied
        if contact is None:
            if survivor := self.survivor_page(contact_id):
                return survivor
            if self.has_delete_permission(request) and Erasure.latest(contact_id):
                receipt = reverse("admin:crm_subscriber_erased", args=[contact_id])
                return HttpResponseRedirect(receipt)
            raise Http404
        context = {"contact": contact, **self._timeline_context(request, contact.pk)}
        if "piece" in request.GET:
            return TemplateResponse(request, "events/timeline.html", context)
        if context["sees_events"]:
            context["stats"] = contact_stats(contact.pk)
            providers = {*context["stats"].providers, *context["providers"]}
            context["providers"] = sorted(providers - {""})
        fields = declared_fields()
        values = values_of(contact.pk, fields)
        context |= {
            "custom_values": [
                (field.label, text_of_value(values[slug])[:MAX_SHOWN])
                for slug, field in fields.items()
                if values.get(slug) not in (None, "", [])
            ],
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": contact.full_name or contact.email,
            "may_change": self.has_change_permission(request, contact),
            "may_delete": self.has_delete_permission(request, contact),
            "may_merge": self.may_merge(request),
            "history": reverse("admin:crm_subscriber_history", args=[contact.pk]),
            "sections": contact_sections(request, contact),
            **notes_context(contact.pk),
        }
        return TemplateResponse(request, "admin/crm/subscriber/contact.html", context)

    def _timeline_context(self, request: HttpRequest, contact_id: int) -> dict[str, Any]:
        """Return the context of the timeline's page that the URL names.

        Raises:
            Http404: an invalid cursor, or a NUL in a parameter.
        """
        if not request.user.has_perms(VIEW_EVENTS):
            return {"sees_events": False}
        filters = {name: request.GET.get(name, "") for name in ("event_key", "provider")}
        if any("\0" in value for value in filters.values()):
            raise Http404
        try:
            before = request.GET.get("before")
            cursor = Cursor.parse(before) if before else None
        except (ValueError, OverflowError):
            raise Http404 from None
        timeline = Timeline(contact_id, filters["event_key"], filters["provider"], cursor=cursor)
        occurrences, next_cursor = timeline.page(ENTRIES_PER_PAGE)
        active_filters = {name: value for name, value in filters.items() if value}
        older = next_cursor and urlencode({**active_filters, "before": str(next_cursor)})
        return {
            "sees_events": True,
            "filters": filters,
            "active_filters": active_filters,
            "from_the_start": cursor is None,
            "days": list(group_by_day(occurrences)),
            "providers": [filters["provider"], *(row.provider for row in occurrences)],
            "older": older,
        }

    @override
    def response_post_save_change(
        self, request: HttpRequest, obj: Subscriber
    ) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("admin:crm_subscriber_contact", args=[obj.pk]))

    response_post_save_add = response_post_save_change
