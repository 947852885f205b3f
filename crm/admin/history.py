"""The history of what admin users did: entries about contacts, and the list of all entries."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from typing_extensions import override

from config.database import in_transaction
from crm.admin.base import ReadOnlyAdmin
from crm.models import HistoryEntry, Subscriber

# What an entry without a message says.
SENTENCES = {ADDITION: "Added.", CHANGE: "Changed.", DELETION: "Deleted."}
# Only superusers see these, so other admin users see only their own entries about them.
HIDDEN_MODELS = ("user", "group", "applicationpassword")


@in_transaction
def log_contacts(request: HttpRequest, contact_ids: Sequence[int], message: str) -> None:
    """Add one entry about an action on contacts to the history, however many they are.

    The entry of a single contact stands in the contact's own history and names its e-mail. The
    entry of several has their number only, so an erasure has nothing to remove from it.
    """
    if len(contact_ids) == 1:
        # Locked, so that an erasure waits and finds the entry.
        contacts = Subscriber.objects.select_for_update(no_key=True)
        contact = contacts.filter(pk=contact_ids[0]).first()
        if contact:
            log_entry(request, str(contact.pk), str(contact), CHANGE, message)
            return
    number = len(contact_ids)
    log_entry(request, None, f"{number:,} contact{'' if number == 1 else 's'}", CHANGE, message)


def log_entry(
    request: HttpRequest,
    object_id: str | None,
    name: str,
    flag: int,
    message: str = "",
    *,
    model: type[Model] = Subscriber,
) -> None:
    """Add an entry to the history of a contact, or of several if there is no id.

    Args:
        request: the request of the admin user.
        object_id: the id of the contact in digits.
        name: what the entry calls the contact or contacts.
        flag: Django's ADDITION, CHANGE or DELETION.
        message: what was done.
        model: what it is, if it is no contact.
    """
    user_id = request.user.pk
    assert user_id  # the admin user is logged in
    LogEntry.objects.create(
        user_id=user_id,
        content_type=ContentType.objects.get_for_model(model),
        object_id=object_id,
        # As Django cuts it.
        object_repr=name[:200],
        action_flag=flag,
        change_message=message,
    )


@admin.register(HistoryEntry)
class HistoryAdmin(ReadOnlyAdmin):
    """What admin users did, the newest first."""

    list_display = ("action_time", "user", "message", "subject")
    list_display_links = None
    fields = list_display
    search_fields = ("user__username", "object_repr", "change_message")
    search_help_text = "Admin user, e-mail, or what was done"
    sortable_by = ()
    ordering = ("-id",)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[HistoryEntry]:
        entries = super().get_queryset(request)
        if request.user.is_superuser:
            return entries
        hidden = Q(content_type__model__in=HIDDEN_MODELS)
        return entries.filter(~hidden | Q(user_id=request.user.pk))

    @override
    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.select_related("user", "content_type")

    @admin.display(description="what was done")
    def message(self, entry: HistoryEntry) -> str:
        """Return what was done in a sentence."""
        return entry.get_change_message() or SENTENCES[entry.action_flag]

    @admin.display(description="to")
    def subject(self, entry: HistoryEntry) -> SafeString:
        """Return what the entry is about, as a link to its page unless it was deleted."""
        name = format_html("<bdi>{}</bdi>", entry.object_repr)
        if entry.object_id is None:  # the number of contacts, which are named so
            return name
        url = None if entry.is_deletion() else entry.get_admin_url()
        link = format_html('<a href="{}">{}</a>', url, name) if url else name
        return format_html("{} {}", entry.content_type.name if entry.content_type else "", link)
