"""Describe notes of contacts."""

from typing import Any

from rest_framework import serializers

from config.api.schema import (
    WARNINGS,
    describe,
    envelope,
)
from crm.api.serializers import (
    AddedNoteSerializer,
    StoredNoteSerializer,
)
from crm.notes import MAX_DESCRIPTION_LENGTH


def note_written(component: str, note: Any) -> Any:
    """Return the serializer of the response to a note that was written."""
    return envelope(component, note=note, message=serializers.CharField(), **WARNINGS)


NOTE = envelope(
    "NewNote",
    note=envelope(
        "NoteFields",
        title=serializers.CharField(min_length=1),
        description=serializers.CharField(min_length=1, max_length=MAX_DESCRIPTION_LENGTH),
        type=serializers.CharField(min_length=1, help_text="Such as note, call or meeting."),
        created_at=serializers.CharField(required=False, help_text="A datetime, now by default."),
    ),
)


CREATE_NOTE = describe(note_written("AddedNoteResponse", AddedNoteSerializer()), request=NOTE)


UPDATE_NOTE = describe(note_written("ChangedNoteResponse", StoredNoteSerializer()), request=NOTE)
