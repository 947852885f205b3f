"""FluentCRM's endpoints of a contact's notes.

See FluentCRM's app/Http/Controllers/SubscriberController.php, getNotes, addNote, updateNote and
deleteNote.
"""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.api.json_fields import json_text_or, to_fields
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    MAX_NAME_LENGTH,
    Validator,
    clamp_id,
    long_text,
    nullable_line,
    single_line,
    to_datetime,
    validate,
)
from config.api.warnings import Warnings, with_warnings
from config.audit import of_ids, record
from crm import notes
from crm.api.merged import MergedContactMixin
from crm.api.pagination import NotePagination
from crm.api.rights import CHANGE, DELETE, READ
from crm.api.schema import notes as schema
from crm.api.schema.base import MESSAGE
from crm.api.serializers import AddedNoteSerializer, NoteSerializer, StoredNoteSerializer
from crm.models import Subscriber, SubscriberNote
from crm.permissions import Access

REQUIRED = ("title", "description", "type")
FIELDS: dict[str, Validator] = {
    "title": nullable_line(MAX_NAME_LENGTH),
    "description": long_text(notes.MAX_DESCRIPTION_LENGTH),
    "type": nullable_line(50),
    "created_at": to_datetime,
}


class NoteViewSet(MergedContactMixin):
    """A contact's notes: `/subscribers/{id}/notes`."""

    access: ClassVar[dict[str, Access]] = {
        "list": READ,
        "create": CHANGE,
        "update": CHANGE,
        # As in FluentCRM: app/Http/Policies/SubscriberPolicy.php, deleteNote.
        "destroy": DELETE,
    }
    noun = "Note"
    lookup_url_kwarg = "note_id"
    lookup_value_regex = ID_REGEX
    queryset = SubscriberNote.objects.select_related("created_by")
    serializer_class = NoteSerializer
    pagination_class = NotePagination

    @override
    def get_queryset(self) -> QuerySet[SubscriberNote]:
        return super().get_queryset().filter(subscriber_id=self.contact_id)

    @property
    def contact_id(self) -> int:
        """The contact's id in the URL."""
        return clamp_id(self.kwargs["contact_id"])

    def list(self, request: Request, contact_id: str) -> Response:
        """List a contact's notes, the newest first."""
        search = validate({"search": single_line(255)}, self.params).get("search")
        found = self.get_queryset().order_by("-id")
        page = self.paginate_queryset(found.filter(title__icontains=search) if search else found)
        if not page and not Subscriber.objects.filter(id=self.contact_id).exists():
            raise ObjectNotFound("Subscriber")
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @schema.CREATE_NOTE
    def create(self, request: Request, contact_id: str) -> Response:
        """Add a note."""
        warnings: Warnings = []
        fields = self._sent_note(warnings)
        assert request.user.pk  # the owner of the application password
        note = notes.add_note(self.contact_id, fields, request.user.pk)
        body = {"note": AddedNoteSerializer(note).data, "message": "Note successfully added"}
        return Response(with_warnings(body, warnings))

    @schema.UPDATE_NOTE
    def update(self, request: Request, contact_id: str, note_id: str) -> Response:
        """Change a note."""
        warnings: Warnings = []
        fields = self._sent_note(warnings)
        note = notes.change_note(self.contact_id, self.url_id, fields)
        body = {"note": StoredNoteSerializer(note).data, "message": "Note successfully updated"}
        return Response(with_warnings(body, warnings))

    @MESSAGE
    def destroy(self, request: Request, contact_id: str, note_id: str) -> Response:
        """Delete a note."""
        if not notes.delete_note(self.contact_id, self.url_id):
            raise ObjectNotFound(self.noun)
        record(request, "deleted", what="note", **of_ids([self.url_id]))
        return Response({"message": "Note successfully deleted"})

    def _sent_note(self, warnings: Warnings) -> dict[str, Any]:
        """Return the fields of the note that was sent, without a created_at that is empty.

        Raises:
            InvalidFields: 422.
        """
        sent = validate({"note": json_text_or(to_fields)}, self.params).get("note", {})
        fields = validate(FIELDS, sent, REQUIRED, warnings)
        if fields.get("created_at") is None:
            fields.pop("created_at", None)
        return fields
