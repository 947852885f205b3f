"""What lets events in: the tracking key, and the switch."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from events.admin.log import ReadOnly
from events.models import TrackingKey, TrackingSwitch
from events.tracking_keys import rotate


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
