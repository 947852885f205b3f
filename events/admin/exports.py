"""Admin actions that export the selected contacts with their events as files."""

from collections.abc import Callable, Sequence
from threading import Lock

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from config.audit import of_ids, record
from config.downloads import TOO_LONG, Download, ExportTooLong, Write, download
from crm.admin.history import log_contacts
from crm.admin.label_actions import selected_ids
from crm.models import Subscriber
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
    ) -> Download | None:
        """Return a line of JSON for each contact."""
        return _export(request, queryset, "ndjson", "application/x-ndjson", write_ndjson)

    @admin.action(
        description="Export the selected contacts with events (CSV)", permissions=["export"]
    )
    def export_csv(
        self,
        request: HttpRequest,
        queryset: QuerySet[Subscriber],
    ) -> Download | None:
        """Return a row for each contact and event."""
        return _export(request, queryset, "csv", "text/csv; charset=utf-8", write_csv)


ANOTHER_RUNS = "Another export is running. Start this one again when it has ended."
# One in each process, because exports take the processor and the threads from other people.
_in_turn = Lock()


def _export(
    request: HttpRequest,
    queryset: QuerySet[Subscriber],
    suffix: str,
    content_type: str,
    write_contacts: Callable[[Sequence[int], Write], None],
) -> Download | None:
    """Return the selected contacts as a file, and add its export to the history.

    Returns None, with a message to the admin user, if it takes too long or another one is running.
    """
    if not _in_turn.acquire(blocking=False):
        messages.error(request, ANOTHER_RUNS)
        return None
    ids = selected_ids(queryset)

    def write_into(write: Write) -> None:
        write_contacts(ids, write)
        log_contacts(request, ids, f"Exported with events as {suffix.upper()}.")
        record(request, "exported", what="contact", **of_ids(ids))

    name = f"contacts-{timezone.localtime():%Y-%m-%d-%H%M%S}.{suffix}"
    try:
        return download(name, content_type, write_into)
    except ExportTooLong:
        messages.error(request, f"{TOO_LONG} Select fewer contacts.")
        return None
    finally:
        _in_turn.release()
