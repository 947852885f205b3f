"""Events for people: to be seen, never to be written here; and the switch."""

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from events.models import EventName, EventOccurrence, TrackedEvent, TrackingKey, TrackingSwitch
from events.tracking_keys import rotate


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


@admin.register(TrackingKey)
class TrackingKeyAdmin(ReadOnly):
    """actid and key of ActiveCampaign's event call, shown as often as somebody asks."""

    list_display = ("actid", "key", "created_at")
    actions = ("rotate_key",)

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        """Who may change the pair may have a new key made."""
        return request.user.has_perm("events.change_trackingkey")

    @admin.action(description="Make a new key; the old one is refused", permissions=["rotate"])
    def rotate_key(
        self,
        request: HttpRequest,
        queryset: QuerySet[TrackingKey],  # noqa: ARG002
    ) -> None:
        """Rotate."""
        messages.success(request, f"The new key: {rotate().key}")


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
