"""Events for people: to be seen, never to be written here; and the switch."""

from django.contrib import admin
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest

from events.models import EventOccurrence, TrackedEvent, TrackingSwitch


class ReadOnly(admin.ModelAdmin):
    """Nothing is added, changed or deleted: events are written in events/tracking.py alone."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        """Nobody."""
        return False

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


@admin.register(TrackingSwitch)
class TrackingSwitchAdmin(admin.ModelAdmin):
    """Whether events are taken at all."""

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: TrackingSwitch,
        form: ModelForm,  # noqa: ARG002
        change: bool,  # noqa: ARG002
    ) -> None:
        """Switch."""
        TrackingSwitch.turn(obj.enabled)
        obj.pk = 1

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Once: there is one switch."""
        return super().has_add_permission(request) and not TrackingSwitch.objects.exists()

    def has_delete_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: TrackingSwitch | None = None,  # noqa: ARG002
    ) -> bool:
        """Nobody."""
        return False
