"""Tracked events, their occurrences and names for people: to be seen, never to be written here."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from events.models import EventName, EventOccurrence, TrackedEvent


class MadeElsewhere(admin.ModelAdmin):
    """Nothing is added or changed here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False


class ReadOnly(MadeElsewhere):
    """Nothing is deleted either: events are written by tracking alone."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody: events go with their contact."""
        return False


@admin.register(TrackedEvent)
class TrackedEventAdmin(ReadOnly):
    """What contacts did, counted."""

    list_display = (
        *("event_key", "title", "subscriber", "counter", "value"),
        *("provider", "created_at", "updated_at"),
    )
    list_select_related = ("subscriber",)
    search_fields = ("=event_key", "=subscriber__email")
    ordering = ("-id",)


@admin.register(EventOccurrence)
class EventOccurrenceAdmin(ReadOnly):
    """Each time an event happened."""

    list_display = ("event_key", "subscriber", "counter", "value", "provider", "occurred_at")
    list_select_related = ("subscriber",)
    search_fields = ("=event_key", "=subscriber__email")
    ordering = ("-id",)


@admin.register(EventName)
class EventNameAdmin(MadeElsewhere):
    """The catalogue of event keys; a deleted name comes back with its next event."""

    list_display = ("name", "first_seen_at")
    search_fields = ("name",)
