"""Admin actions that export the selected contacts with their events as files."""

from functools import partial

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from crm.admin.label_actions import selected_ids
from crm.models import Subscriber
from events.admin.downloads import Download, download
from events.exports import write_csv, write_ndjson
from events.models import VIEW_EVENTS


class ExportActionsMixin(admin.ModelAdmin):
    """Export as NDJSON for programs, and as CSV for spreadsheets."""

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether the admin user may see contacts and their events."""
        return self.has_view_permission(request) and request.user.has_perms(VIEW_EVENTS)

    @admin.action(
        description="Export the selected contacts with events (NDJSON)", permissions=["export"]
    )
    def export_ndjson(
        self,
        request: HttpRequest,
        queryset: QuerySet[Subscriber],
    ) -> Download:
        """Return a line of JSON for each contact."""
        write_into = partial(write_ndjson, selected_ids(queryset))
        return download(_file_name("ndjson"), "application/x-ndjson", write_into)

    @admin.action(
        description="Export the selected contacts with events (CSV)", permissions=["export"]
    )
    def export_csv(
        self,
        request: HttpRequest,
        queryset: QuerySet[Subscriber],
    ) -> Download:
        """Return a row for each contact and event."""
        write_into = partial(write_csv, selected_ids(queryset))
        return download(_file_name("csv"), "text/csv; charset=utf-8", write_into)


def _file_name(suffix: str) -> str:
    return f"contacts-{timezone.localtime():%Y-%m-%d-%H%M%S}.{suffix}"
