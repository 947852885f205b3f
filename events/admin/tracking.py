"""What lets events in: the tracking key, and the switch."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from events.activecampaign.credentials import rotate_tracking_key
from events.admin.events import ReadOnlyAdmin
from events.models import TrackingKey, TrackingSwitch

# The id of the switch's row.
ONLY = 1
SWITCH_HELP = (
    "Enabled, the events that programs send are taken. Otherwise they are refused (422), at once; "
    "what was taken stays."
)


@admin.register(TrackingKey)
class TrackingKeyAdmin(ReadOnlyAdmin):
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
        made = rotate_tracking_key()
        self.log_change(request, made, "Made a new key.")
        messages.success(request, f"The new key: {made.key}")


@admin.register(TrackingSwitch)
class TrackingSwitchAdmin(ReadOnlyAdmin):
    """Whether events are taken at all: one page, also before anybody touched the switch."""

    fieldsets = ((None, {"fields": ("enabled",), "description": SWITCH_HELP}),)

    def changelist_view(
        self,
        request: HttpRequest,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """There is no list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        address = reverse("admin:events_trackingswitch_change", args=[ONLY])
        return HttpResponseRedirect(address)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TrackingSwitch | None:
        """The switch, which is on as long as there is no row."""
        found = super().get_object(request, object_id, from_field)
        return found or (TrackingSwitch(pk=ONLY) if object_id == str(ONLY) else None)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Django's, where the other pages here have nobody."""
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: TrackingSwitch,
        form: ModelForm,  # noqa: ARG002
        change: bool,  # noqa: ARG002
    ) -> None:
        """Switch."""
        TrackingSwitch.set_enabled(obj.enabled)
