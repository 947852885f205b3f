"""Tracked events, their occurrences and names for people: to be seen, never to be written here."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import F, Model, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from crm.admin.base import PagedModelAdmin, ValueFilter
from events.filters.options import known_keys, latest_providers
from events.models import VIEW_EVENTS, EventName, EventOccurrence, TrackedEvent
from events.personal_data import find_contact
from events.templatetags.events import moment

# How many rows a list of events goes back: nobody turns a thousand pages, and counting millions
# takes longer than reading a page.
MAX_ROWS = 10_000
# Of a value, in a list.
MAX_VALUE_LENGTH = 80


class NoAddOrChangeAdmin(PagedModelAdmin):
    """Nothing is added or changed here."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False


class ReadOnlyAdmin(NoAddOrChangeAdmin):
    """Nothing is deleted either: events are written by tracking alone."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody: events go with their contact."""
        return False


class KeyFilter(ValueFilter):
    """By event key."""

    title = "event key"
    parameter_name = "key"
    typed = True
    placeholder = "checkout"

    def options(self) -> list[tuple[str, str]]:
        """From the catalogue of names."""
        return known_keys()

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows of the key."""
        return rows.filter(event_key=value)


class ProviderFilter(ValueFilter):
    """By the program that sent the event."""

    title = parameter_name = "provider"
    typed = True
    placeholder = "woocommerce"

    def options(self) -> list[tuple[str, str]]:
        """Those of the newest events."""
        return latest_providers()

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows of the provider."""
        return rows.filter(provider=value)


class ContactFilter(ValueFilter):
    """By contact: its id or its e-mail."""

    title = parameter_name = "contact"
    typed = True
    placeholder = "id or e-mail"

    def options(self) -> list[tuple[str, str]]:
        """None: there are too many."""
        return []

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contact's rows. Raises ValueError."""
        found = find_contact(value)
        if found is None:
            raise ValueError(value)
        return rows.filter(subscriber_id=found.pk)


class EventLogAdmin(ReadOnlyAdmin):
    """The newest rows of what fits, without counting the rest."""

    list_filter = (KeyFilter, ProviderFilter, ContactFilter)
    sortable_by = ()
    ordering = ("-id",)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Who may see events, occurrences and contacts: each page names all three."""
        return request.user.has_perms((*VIEW_EVENTS, "crm.view_subscriber"))

    def page_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """The ids of a page, and the number of rows, which is counted so far and no farther."""
        ids = list(rows.values_list("pk", flat=True)[: MAX_ROWS + 1])
        capped = len(ids) > MAX_ROWS
        return ids[:MAX_ROWS][start : start + per_page], min(len(ids), MAX_ROWS), capped

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """With their contacts, and of values the beginning."""
        beginning = Left(F("value"), MAX_VALUE_LENGTH + 1)
        found: QuerySet[Any] = rows.annotate(beginning=beginning).defer("value")
        return found.select_related("subscriber")

    @admin.display(description="contact")
    def contact(self, row: Any) -> SafeString:
        """With a link to the contact's page."""
        address = reverse("admin:crm_subscriber_contact", args=[row.subscriber_id])
        return format_html('<a href="{}"><bdi>{}</bdi></a>', address, row.subscriber)

    @admin.display(description="value")
    def value_line(self, row: Any) -> str:
        """The beginning of the value."""
        text: str = row.beginning
        return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


def json_lines(value: Any) -> SafeString:
    """JSON to be read: each text by itself, so that a mark in it turns nothing else around."""
    lines = json.dumps(value, ensure_ascii=False, indent=2).splitlines()
    shown = format_html_join("\n", "<bdi>{}</bdi>", ((line,) for line in lines))
    return format_html("<pre>{}</pre>", shown)


@admin.register(TrackedEvent)
class TrackedEventAdmin(EventLogAdmin):
    """What contacts did, counted."""

    list_display = (
        *("event_key", "title", "contact", "counter", "value_line"),
        *("last_seen", "first_seen", "provider"),
    )

    @admin.display(description="first seen")
    def first_seen(self, event: TrackedEvent) -> str:
        """When it happened first."""
        return moment(event.created_at)

    @admin.display(description="last seen")
    def last_seen(self, event: TrackedEvent) -> str:
        """When it happened last."""
        return moment(event.updated_at)


@admin.register(EventOccurrence)
class EventOccurrenceAdmin(EventLogAdmin):
    """Each time an event happened."""

    list_display = (
        *("event_key", "event_title", "contact", "counter", "value_line"),
        *("happened", "provider"),
    )

    fields = (
        *("event", "subscriber", "event_key", "provider", "counter", "value"),
        *("properties_text", "context_text", "occurred_at", "received_at"),
    )
    readonly_fields = ("properties_text", "context_text")

    @admin.display(description="properties")
    def properties_text(self, occurrence: EventOccurrence) -> SafeString:
        """What the program said about it."""
        return json_lines(occurrence.properties)

    @admin.display(description="context")
    def context_text(self, occurrence: EventOccurrence) -> SafeString:
        """Where it came from."""
        return json_lines(occurrence.context)

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """With their events, and without what the list does not show."""
        return (
            super().page_rows(rows).select_related("event").defer("value", "properties", "context")
        )

    @admin.display(description="happened")
    def happened(self, occurrence: EventOccurrence) -> str:
        """When, by the program's clock."""
        return moment(occurrence.occurred_at)

    @admin.display(description="title")
    def event_title(self, row: EventOccurrence) -> str:
        """The title stands on the event."""
        return row.event.title


@admin.register(EventName)
class EventNameAdmin(NoAddOrChangeAdmin):
    """The catalogue of event keys; a deleted name comes back with its next event."""

    list_display = ("name", "first_seen_at")
    search_fields = ("name",)
