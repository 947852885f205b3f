"""Export all data of one contact as one JSON object, and erase it with a receipt."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Q, Value
from django.db.models.functions import Left, Lower
from django.utils import timezone

from config import __version__
from config.api.errors import ObjectNotFound
from config.api.validation import MAX_ID
from config.database import fetch_one, fetch_rows, in_transaction
from config.downloads import Write
from crm.contacts import Counting, delete_contacts
from crm.emails import email_sha256, email_spellings
from crm.filters import trusted
from crm.models import Erasure, Identity, Segment, Subscriber
from crm.segments import replace_email, segments_of
from events.exports import contacts_of, events_of, snapshot
from events.models import EventOccurrence, IdempotencyKey

# 64 KB each of properties and context, and a value of 256 KB: at most 8 MB.
OCCURRENCES_PER_STATEMENT = 20
# Up to 65,535 characters each: at most 8 MB.
NOTES_PER_STATEMENT = 20
# The length of LogEntry.object_repr, in characters.
MAX_HISTORY_LENGTH = 200
# What the admin's history calls a contact that was erased.
ERASED = "(erased)"

COUNT = """
SELECT (SELECT count(*) FROM events_trackedevent WHERE subscriber_id = %(contact)s),
       (SELECT count(*) FROM events_eventoccurrence WHERE subscriber_id = %(contact)s),
       (SELECT count(*) FROM crm_subscribernote WHERE subscriber_id = %(contact)s)
"""
# The newest first, as everywhere.
NOTES = """
SELECT n.id, row_to_json(n)::text FROM crm_subscribernote n
WHERE n.subscriber_id = %(contact)s AND n.id < %(before)s ORDER BY n.id DESC LIMIT %(limit)s
"""
# The oldest first, backwards through the timeline's index.
OCCURRENCES = """
SELECT o.occurred_at, o.id, row_to_json(o)::text,
       (SELECT to_json(key)::text FROM events_idempotencykey k
        WHERE k.occurrence_id = o.id AND k.subscriber_id = %(contact)s)
FROM events_eventoccurrence o
WHERE o.subscriber_id = %(contact)s AND (o.occurred_at, o.id) > (%(after)s, %(after_id)s)
ORDER BY o.occurred_at, o.id LIMIT %(limit)s
"""


class Part(NamedTuple):
    """Rows of another app that belong to a contact.

    Attributes:
        count: returns how many contacts have, by what they are called.
        rows: returns those of a contact as JSON texts.
    """

    count: Counting
    rows: Callable[[int], Iterable[str]]


# Functions that replace an e-mail by a text, and return in how many rows, by what the rows are.
_replacers: dict[str, Callable[[str, str], int]] = {"segments": replace_email}
# By the name of their list in the export.
_parts: dict[str, Part] = {}


def register_part(name: str, part: Part) -> None:
    """Register rows of another app that the export of a contact has as the list `name`."""
    _parts[name] = part


def register_replacer(name: str, replace: Callable[[str, str], int]) -> None:
    """Register what replaces the e-mail of an erased contact in rows of another app."""
    _replacers[name] = replace


def export_contact(contact_id: int, write: Write) -> None:
    """Write all data of a contact as one JSON object.

    It is read page by page in one snapshot, so that memory is bounded, each statement is short, and
    the counts are those of the lists.

    Args:
        contact_id: id of the contact.
        write: is called with pieces of the JSON text.

    Raises:
        ObjectNotFound: the contact does not exist; nothing is written.
    """
    with snapshot():
        contact = next(contacts_of([contact_id]), None)
        if contact is None:
            raise ObjectNotFound("Subscriber")
        events, occurrences, notes = fetch_one(COUNT, {"contact": contact_id})
        # A segment with an invalid filter has no contacts.
        segment_ids, _ = segments_of(Subscriber(pk=contact_id), trusted)
        rows = Segment.objects.filter(id__in=segment_ids)
        segments = list(rows.values("id", "slug", "title"))
        header = {
            "format": 1,
            "exported_at": timezone.now(),
            "tallybook": __version__,
            "time_zone": connection.timezone_name,
            "counts": {
                "tags": len(contact.tags),
                "lists": len(contact.lists),
                "segments": len(segments),
                "events": events,
                "occurrences": occurrences,
                "notes": notes,
                **{name: sum(part.count([contact_id]).values()) for name, part in _parts.items()},
            },
        }
        write(f'{{"export":{orjson.dumps(header).decode()},\n"contact":{contact.fields}')
        _write_list("tags", contact.tags, write)
        _write_list("lists", contact.lists, write)
        _write_list("identities", contact.identities, write)
        _write_list("segments", (orjson.dumps(segment).decode() for segment in segments), write)
        _write_list("events", (event for _, event in events_of([contact_id])), write)
        _write_list("occurrences", _occurrences(contact_id), write)
        _write_list("notes", notes_of(contact_id), write)
        for name, part in _parts.items():
            _write_list(name, part.rows(contact_id), write)
        write("}\n")


def _write_list(name: str, items: Iterable[str], write: Write) -> None:
    write(f',\n"{name}":[')
    for number, item in enumerate(items):
        write(f",\n{item}" if number else f"\n{item}")
    write("]")


def _occurrences(contact_id: int) -> Iterable[str]:
    after: tuple[Any, int] = ("-infinity", 0)
    while True:
        rows = fetch_rows(
            OCCURRENCES,
            {
                "contact": contact_id,
                "after": after[0],
                "after_id": after[1],
                "limit": OCCURRENCES_PER_STATEMENT,
            },
        )
        for _, _, occurrence, key in rows:
            yield f'{occurrence[:-1]},"idempotency_key":{key or "null"}}}'
        if len(rows) < OCCURRENCES_PER_STATEMENT:
            return
        after = rows[-1][:2]


def notes_of(contact_id: int) -> Iterable[str]:
    """Yield the notes of a contact as JSON text, the newest first."""
    before = MAX_ID
    while True:
        parameters = {"contact": contact_id, "before": before, "limit": NOTES_PER_STATEMENT}
        rows = fetch_rows(NOTES, parameters)
        yield from (note for _, note in rows)
        if len(rows) < NOTES_PER_STATEMENT:
            return
        before = rows[-1][0]


@in_transaction
def erase_contact(contact_id: int, by: str) -> Erasure:
    """Delete a contact with all its data, and store a receipt.

    What delete_contacts deletes, the idempotency keys of its occurrences, and its e-mail in the
    admin's history and in the filters of segments. Aliases are e-mails of it, too.

    Args:
        contact_id: id of the contact.
        by: who erases it, for the receipt.

    Returns:
        The receipt of its e-mail. That of an alias differs in the hash alone.

    Raises:
        ObjectNotFound: the contact does not exist.
    """
    # Locked as delete_contacts locks it, so that no event arrives from here on.
    contact = Subscriber.objects.select_for_update().filter(pk=contact_id).first()
    if contact is None:
        raise ObjectNotFound("Subscriber")
    occurrence_ids = EventOccurrence.objects.filter(subscriber_id=contact_id).values("id")
    keys = IdempotencyKey.objects.filter(
        Q(occurrence_id__in=occurrence_ids) | Q(event_id__isnull=False), subscriber_id=contact_id
    ).count()
    aliases = contact.identities.filter(**Identity.EMAIL).values_list("value", flat=True)
    merged_ids = contact.identities.filter(**Identity.CONTACT).values_list("value", flat=True)
    # The last one is found by the contact's id.
    emails, ids = [*aliases, contact.email], [*merged_ids, str(contact_id)]
    columns: dict[str, Any] = {
        "contact_id": contact_id,
        "erased_at": timezone.now(),
        "erased_by": by[: Erasure._meta.get_field("erased_by").max_length],
        "version": __version__,
        "counts": {
            "deleted": {**delete_contacts([contact_id]), "idempotency_keys": keys},
            "made_nameless": {
                "admin_history": _erase_in_history(ids, emails),
                **{
                    name: sum(replace(email, ERASED) for email in emails)
                    for name, replace in _replacers.items()
                },
            },
        },
    }
    receipts = [Erasure(**columns, email_sha256=email_sha256(email)) for email in emails]
    return Erasure.objects.bulk_create(receipts)[-1]


def _erase_in_history(contact_ids: Sequence[str], emails: Sequence[str]) -> int:
    """Remove a contact's e-mails from the admin's history, also of earlier contacts with them.

    Args:
        contact_ids: the id of the contact, and those of contacts that were merged into it.
        emails: its e-mail and its aliases.

    Returns:
        The number of entries.
    """
    contact_type = ContentType.objects.get_for_model(Subscriber)
    entries = LogEntry.objects.filter(content_type=contact_type)
    entries = entries.annotate(name=Lower("object_repr"))
    names = {name for email in emails for name in (email, *email_spellings(email))}
    # The history truncates names to its column's length.
    truncated = [Lower(Left(Value(name), MAX_HISTORY_LENGTH)) for name in names]
    entries = entries.filter(Q(object_id__in=contact_ids) | Q(name__in=truncated))
    return entries.update(object_repr=ERASED, change_message="")
