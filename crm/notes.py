"""Write the notes of contacts. Each statement names the contact beside the note."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
from django.db import connection
from django.utils import timezone

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.validation import (
    MAX_NAME_LENGTH,
    Validator,
    long_text,
    single_line,
    to_strict_datetime,
    validate,
)
from config.database import fetch_one, fetch_rows, in_transaction
from crm.contacts import Counts, get_for_update
from crm.models import SubscriberNote

# Of a description, in characters, so that a page of 15 notes has less than 8 MB.
MAX_DESCRIPTION_LENGTH = 65_535
# FluentCRM's types and their labels: app/Functions/helpers.php, fluentcrm_activity_types. A note
# may have another type.
TYPES = {
    "note": "Note",
    "call": "Call",
    "email": "Email",
    "meeting": "Meeting",
    "quote_sent": "Quote: Sent",
    "quote_accepted": "Quote: Accepted",
    "quote_refused": "Quote: Refused",
    "invoice_sent": "Invoice: Sent",
    "invoice_part_paid": "Invoice: Part Paid",
    "invoice_paid": "Invoice: Paid",
    "invoice_refunded": "Invoice: Refunded",
    "transaction": "Transaction",
    "feedback": "Feedback",
    "tweet": "Tweet",
    "facebook_post": "Facebook Post",
}

TIMES = ("created_at", "updated_at")
# Of a note in an export of Tallybook.
NOTE_FIELDS: dict[str, Validator] = {
    "title": single_line(MAX_NAME_LENGTH),
    "description": long_text(MAX_DESCRIPTION_LENGTH),
    "type": single_line(50),
    **dict.fromkeys(TIMES, to_strict_datetime),
}
ADD_MISSING = """
INSERT INTO crm_subscribernote (subscriber_id, type, title, description, created_at, updated_at)
SELECT sent.subscriber_id, COALESCE(NULLIF(sent.type, ''), 'note'), sent.title, sent.description,
       sent.created_at, sent.updated_at
FROM json_populate_recordset(NULL::crm_subscribernote, %(notes)s::json) sent
WHERE NOT EXISTS (
    SELECT FROM crm_subscribernote n
    WHERE n.subscriber_id = sent.subscriber_id AND n.created_at = sent.created_at
        AND n.title = sent.title AND n.description = sent.description)
RETURNING id
"""


@in_transaction
def add_note(contact_id: int, fields: Mapping[str, Any], created_by: int) -> SubscriberNote:
    """Add a note to a contact.

    Args:
        contact_id: id of the contact.
        fields: title, description and type, and created_at if it is not now.
        created_by: id of the user who adds the note.

    Raises:
        ObjectNotFound: the contact does not exist.
    """
    # Locked, so that a deletion of the contact waits and deletes the note too.
    contact = get_for_update(contact_id=contact_id)
    if contact is None:
        raise ObjectNotFound("Subscriber")
    return SubscriberNote.objects.create(
        subscriber_id=contact.pk, created_by_id=created_by, **fields
    )


def add_missing_notes(notes: Iterable[tuple[int, Any]]) -> int:
    """Add the notes of another store, but those that a contact has already.

    Args:
        notes: ids of contacts that the caller has locked, each with a note as the export has it.
            What is no note is left out.

    Returns:
        The number of new notes.
    """
    rows = []
    for contact_id, note in notes:
        if isinstance(note, Mapping):
            with suppress(InvalidFields):
                fields = validate(NOTE_FIELDS, note, required=("title", "description", *TIMES))
                rows.append({"subscriber_id": contact_id, **fields})
    return len(fetch_rows(ADD_MISSING, {"notes": orjson.dumps(rows).decode()})) if rows else 0


@in_transaction
def change_note(contact_id: int, note_id: int, fields: Mapping[str, Any]) -> SubscriberNote:
    """Change the columns of a contact's note that `fields` has.

    Raises:
        ObjectNotFound: the contact has no such note.
    """
    notes = SubscriberNote.objects.filter(subscriber_id=contact_id, pk=note_id)
    note = notes.select_for_update(no_key=True).first()
    if note is None:
        raise ObjectNotFound("Note")
    for name, value in fields.items():
        setattr(note, name, value)
    note.updated_at = max(note.updated_at, timezone.now())
    notes.update(updated_at=note.updated_at, **fields)
    return note


def delete_note(contact_id: int, note_id: int) -> bool:
    """Delete a contact's note. Returns whether the contact had it."""
    deleted, _ = SubscriberNote.objects.filter(subscriber_id=contact_id, pk=note_id).delete()
    return bool(deleted)


def delete_notes_of(contact_ids: Sequence[int]) -> Counts:
    """Delete the notes of contacts that delete_contacts holds locked. Returns their number."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM crm_subscribernote WHERE subscriber_id = ANY(%s::bigint[])",
            [list(contact_ids)],
        )
        return {"notes": cursor.rowcount}


COUNT_NOTES = """
SELECT count(*) FROM crm_subscribernote WHERE subscriber_id = ANY(%(contacts)s::bigint[])
"""


def count_notes_of(contact_ids: Sequence[int]) -> Counts:
    """Return the number of notes that delete_notes_of would delete."""
    return {"notes": fetch_one(COUNT_NOTES, {"contacts": list(contact_ids)})[0]}


MOVE_NOTES = """
UPDATE crm_subscribernote SET subscriber_id = %(survivor)s WHERE subscriber_id = %(other)s
"""


def move_notes(survivor_id: int, other_id: int) -> None:
    """Move the notes of a contact that is merged into another one. Both are locked."""
    with connection.cursor() as cursor:
        cursor.execute(MOVE_NOTES, {"survivor": survivor_id, "other": other_id})
