"""Admin pages of what lets events in: the tracking key, and the switch."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from typing_extensions import override

from config.audit import record
from crm.admin.base import ReadOnlyAdmin
from events.activecampaign.credentials import rotate_tracking_key
from events.models import TrackingKey, TrackingSwitch

# The id of the switch's row.
SWITCH_ID = 1
SWITCH_HELP = (
    "When on, incoming events are recorded. When off, they are rejected with 422, at once. "
    "Recorded events are kept."
)


@admin.register(TrackingKey)
class TrackingKeyAdmin(ReadOnlyAdmin):
    """actid and key of ActiveCampaign's event call, which can be read and rotated."""

    list_display = ("actid", "key", "created_at")
    actions = ("rotate_key",)

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        """Return whether the admin user may change the key."""
        return request.user.has_perm("events.change_trackingkey")

    @admin.action(description="Make a new key; the old one is rejected", permissions=["rotate"])
    def rotate_key(
        self,
        request: HttpRequest,
        queryset: QuerySet[TrackingKey],
    ) -> None:
        """Replace the key."""
        pair = rotate_tracking_key()
        record(request, "changed", what="tracking key")
        self.log_change(request, pair, "Made a new key.")
        messages.success(request, f"The new key: {pair.key}")


@admin.register(TrackingSwitch)
class TrackingSwitchAdmin(ReadOnlyAdmin):
    """The global tracking switch: one page, also while there is no row."""

    fieldsets = ((None, {"fields": ("enabled",), "description": SWITCH_HELP}),)

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # There is no list.
        if not self.has_view_permission(request):
            raise PermissionDenied
        url = reverse("admin:events_trackingswitch_change", args=[SWITCH_ID])
        return HttpResponseRedirect(url)

    @override
    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TrackingSwitch | None:
        switch = super().get_object(request, object_id, from_field)
        return switch or (TrackingSwitch(pk=SWITCH_ID) if object_id == str(SWITCH_ID) else None)

    @override
    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Django's own, because ReadOnlyAdmin permits no change.
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    @override
    def save_model(
        self, request: HttpRequest, obj: TrackingSwitch, form: ModelForm, change: bool
    ) -> None:
        TrackingSwitch.set_enabled(obj.enabled)
