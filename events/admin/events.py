"""Admin pages of the log, which is read-only, but for occurrences that are taken back."""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Model, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.api.validation import MAX_ID
from config.audit import of_ids, record
from config.database import in_transaction
from crm.admin.base import ContactFilter, NewestRowsAdmin, NoAddOrChangeAdmin, ValueFilter
from crm.admin.history import log_contacts
from events.admin.take_back import take_back_view
from events.filters.options import known_keys, known_providers, missing_key_hints
from events.history import TITLE
from events.models import VIEW_EVENTS, EventName, EventOccurrence, TrackedEvent
from events.templatetags.events import time_ago
from events.tracking.corrections import take_back
from events.tracking.take_back_jobs import PERMISSIONS

# Characters of a value in a list.
MAX_VALUE_LENGTH = 80


class KeyFilter(ValueFilter):
    """Rows of an event key, of which the catalogue's are suggested."""

    title = "event key"
    parameter_name = "key"
    typed = True
    placeholder = "checkout"

    @override
    def options(self) -> list[tuple[str, str]]:
        return known_keys()

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(event_key=value)

    @override
    def hints(self, value: str) -> list[str]:
        return missing_key_hints([value])


class ProviderFilter(ValueFilter):
    """Rows that a program sent, of which those of the newest events are suggested."""

    title = parameter_name = "provider"
    typed = True
    placeholder = "woocommerce"

    @override
    def options(self) -> list[tuple[str, str]]:
        return known_providers()

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(provider=value)


class EventLogAdmin(NewestRowsAdmin):
    """The newest rows that match the filters."""

    list_filter = (KeyFilter, ProviderFilter, ContactFilter)

    @override
    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Every page names events, occurrences and contacts.
        return request.user.has_perms((*VIEW_EVENTS, "crm.view_subscriber"))

    @override
    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        value_start = Left(F("value"), MAX_VALUE_LENGTH + 1)
        page: QuerySet[Any] = rows.annotate(value_start=value_start)
        return page.select_related("subscriber").defer("value", "subscriber__custom_values")

    @admin.display(description="contact")
    def contact(self, row: Any) -> SafeString:
        """Return a link to the contact's page."""
        url = reverse("admin:crm_subscriber_contact", args=[row.subscriber_id])
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, row.subscriber)

    @admin.display(description="value")
    def value_line(self, row: Any) -> str:
        """Return the start of the value."""
        text: str = row.value_start
        return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


def json_lines(value: Any) -> SafeString:
    """Return indented JSON, with each line isolated from direction marks in the others."""
    lines = json.dumps(value, ensure_ascii=False, indent=2).splitlines()
    isolated = format_html_join("\n", "<bdi>{}</bdi>", ((line,) for line in lines))
    return format_html("<pre>{}</pre>", isolated)


@admin.register(TrackedEvent)
class TrackedEventAdmin(EventLogAdmin):
    """Tracked events with their counters."""

    list_display = (
        *("event_key", "title", "contact", "counter", "value_line"),
        *("last_seen", "first_seen", "provider"),
    )

    @admin.display(description="first seen")
    def first_seen(self, event: TrackedEvent) -> str:
        """Return the time since the first occurrence."""
        return time_ago(event.created_at)

    @admin.display(description="last seen")
    def last_seen(self, event: TrackedEvent) -> str:
        """Return the time since the last occurrence."""
        return time_ago(event.updated_at)


@admin.register(EventOccurrence)
class EventOccurrenceAdmin(EventLogAdmin):
    """Every occurrence of an event."""

    list_display = (
        *("event_key", "event_title", "contact", "counter", "value_line"),
        *("happened", "provider"),
    )

    change_list_template = "admin/events/eventoccurrence/change_list.html"
    fields = (
        *("event", "subscriber", "event_key", "provider", "counter", "value"),
        *("properties_json", "context_json", "occurred_at", "received_at"),
    )
    readonly_fields = ("properties_json", "context_json")

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("<int:occurrence_id>/take-back/", self.take_back_view, "take_back"),
            ("take-back/", self.take_back_many_view, "take_back_many"),
        )
        return [
            path(url, self.admin_site.admin_view(view), name=f"events_eventoccurrence_{name}")
            for url, view, name in pages
        ] + super().get_urls()

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_take_back = request.user.has_perms(PERMISSIONS)
        context = {**(extra_context or {}), "may_take_back": may_take_back}
        return super().changelist_view(request, context)

    def take_back_many_view(self, request: HttpRequest) -> HttpResponse:
        """Take back all occurrences that match a filter."""
        return take_back_view(request, self.admin_site.each_context(request))

    def take_back_view(self, request: HttpRequest, occurrence_id: int) -> HttpResponse:
        """Ask, naming what changes, and take the occurrence back."""
        may_delete = request.user.has_perm("events.delete_eventoccurrence")
        if not (self.has_view_permission(request) and may_delete):
            raise PermissionDenied
        rows = EventOccurrence.objects.select_related("subscriber", "event")
        occurrence = rows.filter(pk=min(occurrence_id, MAX_ID)).first()
        if occurrence is None:
            return self._redirect_to_list(request)
        if request.method == "POST":
            try:
                counter = _take_back(request, occurrence)
            except ObjectNotFound:  # taken back or deleted since it was read
                return self._redirect_to_list(request)
            messages.success(request, f"Taken back. The event's counter is {counter:,} now.")
            contact = reverse("admin:crm_subscriber_contact", args=[occurrence.subscriber_id])
            return HttpResponseRedirect(contact)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Take back occurrence",
            "occurrence": occurrence,
            "event": occurrence.event,
            "remaining": occurrence.event.counter - 1,
        }
        return TemplateResponse(request, "admin/events/eventoccurrence/take_back.html", context)

    def _redirect_to_list(self, request: HttpRequest) -> HttpResponse:
        messages.warning(request, "There is no such occurrence; it may have been taken back.")
        return HttpResponseRedirect(reverse("admin:events_eventoccurrence_changelist"))

    @admin.display(description="properties")
    def properties_json(self, occurrence: EventOccurrence) -> SafeString:
        """Return the properties as indented JSON."""
        return json_lines(occurrence.properties)

    @admin.display(description="context")
    def context_json(self, occurrence: EventOccurrence) -> SafeString:
        """Return the context as indented JSON."""
        return json_lines(occurrence.context)

    @override
    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        page: QuerySet[Any] = super().page_rows(rows).annotate(title=TITLE)
        return page.defer("properties", "context")

    @admin.display(description="happened")
    def happened(self, occurrence: EventOccurrence) -> str:
        """Return the time since it happened."""
        return time_ago(occurrence.occurred_at)

    @admin.display(description="title")
    def event_title(self, occurrence: Any) -> str:
        """Return the title, which is a column of the event."""
        title: str = occurrence.title
        return title


@in_transaction
def _take_back(request: HttpRequest, occurrence: EventOccurrence) -> int:
    """Take an occurrence back, with an entry in the contact's history. Returns the counter.

    Raises:
        ObjectNotFound: it is not there any more.
    """
    # First, because it locks the contact.
    message = f"Took back occurrence {occurrence.pk} of the event {occurrence.event_id}."
    log_contacts(request, [occurrence.subscriber_id], message)
    corrected = take_back(occurrence.subscriber_id, [occurrence.pk])
    if not corrected:
        raise ObjectNotFound("Occurrence")
    record(request, "taken back", what="occurrence", **of_ids([occurrence.pk]))
    return corrected[0].counter


@admin.register(EventName)
class EventNameAdmin(NoAddOrChangeAdmin):
    """The catalogue of event keys. A deleted name comes back with its next event."""

    list_display = ("name", "first_seen_at")
    search_fields = ("name",)
