"""All that is kept about one contact: given out in one file, and erased with a receipt."""

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Q, Value
from django.db.models.functions import Left, Lower
from django.utils import timezone

from config.api.errors import ObjectNotFound
from config.api.validation import is_valid_id
from config.database import fetch_row, fetch_rows, in_transaction
from crm.contacts import delete_contacts, find_by_email
from crm.models import Subscriber
from crm.segments import segments_of
from events.exports import Write, contacts_of, events_of, snapshot

# 64 KB each of properties, context and value: at most 50 MB.
OCCURRENCES_AT_ONCE = 200
MAX_HISTORY_LENGTH = 200
ERASED = "(erased)"

COUNTS = """
SELECT (SELECT count(*) FROM events_trackedevent WHERE subscriber_id = %(contact)s),
       (SELECT count(*) FROM events_eventoccurrence WHERE subscriber_id = %(contact)s)
"""
# The oldest first, backwards through the timeline's index.
OCCURRENCES = """
SELECT o.occurred_at, o.id, row_to_json(o)::text,
       (SELECT to_json(key)::text FROM events_idempotencykey k WHERE k.occurrence_id = o.id)
FROM events_eventoccurrence o
WHERE o.subscriber_id = %(contact)s AND (o.occurred_at, o.id) > (%(after_time)s, %(after_id)s)
ORDER BY o.occurred_at, o.id LIMIT %(limit)s
"""
# Keys are chosen by programs, and may name somebody.
FORGET_KEYS = """
DELETE FROM events_idempotencykey WHERE occurrence_id IN (
    SELECT id FROM events_eventoccurrence WHERE subscriber_id = %s)
"""


def find_contact(text: str) -> Subscriber | None:
    """The contact with this id, or with this e-mail in any case."""
    if is_valid_id(text):
        return Subscriber.objects.filter(pk=int(text)).first()
    return find_by_email(text)


def export_contact(contact_id: int, write: Write) -> None:
    """Write all that is kept about a contact as one JSON object, in pieces.

    It is of one moment, in any number of pages: memory is bounded, and each statement is short.
    Raises NotFoundHere (404).
    """
    with snapshot():
        found = contacts_of([contact_id])
        row = fetch_row(COUNTS, {"contact": contact_id})
        if not found or row is None:
            raise ObjectNotFound("Subscriber")
        contact = found[0]
        segments = [
            {"id": segment.id, "slug": segment.slug, "title": segment.title}
            for segment in segments_of(Subscriber(pk=contact_id))
        ]
        about = {
            "format": 1,
            "exported_at": timezone.now(),
            "tallybook": version(),
            "time_zone": connection.timezone_name,
            "counts": {
                "tags": len(contact.tags),
                "lists": len(contact.lists),
                "segments": len(segments),
                "events": row[0],
                "occurrences": row[1],
            },
        }
        write(f'{{"export":{orjson.dumps(about).decode()},\n"contact":{contact.fields}')
        _write_list("tags", contact.tags, write)
        _write_list("lists", contact.lists, write)
        _write_list("segments", (orjson.dumps(segment).decode() for segment in segments), write)
        _write_list("events", (event for _, event in events_of([contact_id])), write)
        _write_list("occurrences", _occurrences(contact_id), write)
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
                "after_time": after[0],
                "after_id": after[1],
                "limit": OCCURRENCES_AT_ONCE,
            },
        )
        for _, _, occurrence, key in rows:
            yield f'{occurrence[:-1]},"idempotency_key":{key or "null"}}}'
        if len(rows) < OCCURRENCES_AT_ONCE:
            return
        after = rows[-1][:2]


@in_transaction
def erase_contact(contact_id: int, by: str) -> dict[str, Any]:
    """Delete a contact and all that is kept about it, and return a receipt.

    As delete_contacts, and with it go the idempotency keys of its occurrences, and its name out of
    the admin's history. The receipt proves by a SHA-256 of the e-mail in small letters whom it is
    about, and keeps no e-mail. Raises NotFoundHere (404).
    """
    # As delete_contacts locks it: from here on no event comes.
    contact = Subscriber.objects.select_for_update().filter(pk=contact_id).first()
    if contact is None:
        raise ObjectNotFound("Subscriber")
    with connection.cursor() as cursor:
        cursor.execute(FORGET_KEYS, [contact_id])
        keys = cursor.rowcount
    return {
        "contact_id": contact_id,
        "email_sha256": hashlib.sha256(contact.email.lower().encode()).hexdigest(),
        "erased_at": timezone.now().isoformat(),
        "erased_by": by,
        "tallybook": version(),
        "deleted": {**delete_contacts([contact_id]), "idempotency_keys": keys},
        "made_nameless": {"admin_history": _forget_in_history(contact)},
    }


def _forget_in_history(contact: Subscriber) -> int:
    """Take a contact's name out of the admin's history; an earlier contact's with its e-mail, too.

    Returns how many entries there were.
    """
    about_contacts = ContentType.objects.get_for_model(Subscriber)
    entries = LogEntry.objects.filter(content_type=about_contacts)
    # The history cuts names to its column's length.
    entries = entries.annotate(name=Lower("object_repr"))
    email = Lower(Left(Value(contact.email), MAX_HISTORY_LENGTH))
    entries = entries.filter(Q(object_id=str(contact.pk)) | Q(name=email))
    return entries.update(object_repr=ERASED, change_message="")


def version() -> str:
    """Tallybook's."""
    return str(settings.SPECTACULAR_SETTINGS["VERSION"])
