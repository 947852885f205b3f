"""Track one event, whatever protocol sends it: the API, Python, the signal, ActiveCampaign.

Batches are in events/tracking/batches.py. events/tracking/corrections.py takes occurrences back.
events/tracking/merging.py moves events when contacts are merged. events/maintenance.py prunes the
log and verifies it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from config.api.warnings import Warnings
from config.database import fetch_one
from crm.contacts import create_for_events
from crm.models import NewContacts
from events.models import TrackedEvent
from events.signals import event_tracked
from events.tracking.errors import NotEnabled, SubscriberNotFound
from events.tracking.fields import parse_event
from events.tracking.statements import REGISTER_NAME
from events.tracking.writing import Write, write

# The owner of the idempotency keys that Python programs send. A request's owner is its credential.
PYTHON_CREDENTIAL = "python"


def track(
    data: Mapping[str, Any],
    repeatable: bool = True,
    *,
    created_by: int | None = None,
    idempotency_key: str | None = None,
    credential: str = PYTHON_CREDENTIAL,
    new_contacts: str = "",
    user_source: str = "",
    warnings: Warnings | None = None,
) -> TrackedEvent:
    """Count an event on its contact and keep the occurrence.

    The Python counterpart of FluentCRM's app/Api/Classes/Tracker.php, track. The event is committed
    when it returns, unless the caller has a transaction open.

    Args:
        data: the fields of the event.
            event_key, title: required. Whitespace is folded, 192 characters are kept.
            subscriber_id, email, user_id: the first that is not empty names the contact. user_id
                is the id that the calling program gave it.
            value: text up to 65,535 characters, or JSON, which is kept as text.
            provider: the program that sends it, 50 characters, "custom" by default.
            properties, context: JSON objects up to 64 KB.
            occurred_at: an aware datetime or ISO 8601, from 1970 to a day ahead, now by default.
            repeatable, idempotency_key: as the arguments.
            timestamp, time, created_at, counter: refused, because they are not read.
        repeatable: whether equal events share one row. False creates a row of its own.
        created_by: id of the calling user, whose own contact is meant if `data` names none.
        idempotency_key: 1 to 255 characters. A second call with the same key and data counts
            nothing and returns the event with the counter of the first and `replayed` true.
        credential: the owner of the key, because two callers may choose the same.
        new_contacts: a value of NewContacts: what happens if no contact has the e-mail. By default
            the setting TALLYBOOK_NEW_CONTACTS.
        user_source: the source of the user_id, as application passwords name it.
        warnings: collects a warning for each text that is cut.

    Returns:
        The event as it is after this call, or the replayed one.

    Raises:
        InvalidFields: a field is invalid.
        NotEnabled: tracking is switched off.
        SubscriberNotFound: the contact does not exist.
        CurrentSubscriberNotFound: no contact is named, and the user is none.
        IdempotencyMismatch: the key was used with other data.
        ValueError: `new_contacts` is no value of NewContacts.
    """
    choice = to_new_contacts(new_contacts)
    fields = parse_event(data, repeatable, idempotency_key, warnings)
    one = Write(fields, created_by, credential, user_source)
    try:
        event = write(one)
    except SubscriberNotFound:
        if not create_contacts([fields.email], choice):
            raise
        event = write(one)
    if event_tracked.receivers and not event.replayed:
        transaction.on_commit(
            lambda: event_tracked.send(TrackedEvent, event=event, subscriber=event.subscriber)
        )
    return event


def register_name(event_key: str) -> None:
    """Add the name of an event that belongs to no contact to the catalogue.

    Raises:
        NotEnabled: tracking is switched off.
    """
    is_enabled, *_ = fetch_one(REGISTER_NAME, {"event_key": event_key, "now": timezone.now()})
    if not is_enabled:
        raise NotEnabled


def track_on_signal(
    sender: object,  # noqa: ARG001
    data: Mapping[str, Any],
    repeatable: bool = True,
    **_: object,
) -> TrackedEvent:
    """Track the event that the signal track_event_activity carries, as `track` does."""
    return track(data, repeatable)


DELETE_KEYS = """
DELETE FROM events_idempotencykey k USING events_eventoccurrence o
WHERE o.subscriber_id = ANY(%s::bigint[])
    AND k.occurrence_id = o.id AND k.subscriber_id = o.subscriber_id
"""
# The keys of occurrences that were taken back.
DELETE_OTHER_KEYS = """
DELETE FROM events_idempotencykey
WHERE subscriber_id = ANY(%s::bigint[]) AND event_id IS NOT NULL
"""

DELETE_IMPORTED = "DELETE FROM events_importedevent WHERE subscriber_id = ANY(%s::bigint[])"


def delete_events_of(contact_ids: Sequence[int]) -> dict[str, int]:
    """Delete what belongs to contacts that delete_contacts holds locked.

    Their idempotency keys are free again, so that an event counts for a contact that is made again.

    Returns:
        The numbers of deleted rows, as "events" and "occurrences".
    """
    counts = {}
    with connection.cursor() as cursor:
        cursor.execute(DELETE_KEYS, [list(contact_ids)])
        cursor.execute(DELETE_OTHER_KEYS, [list(contact_ids)])
        cursor.execute(DELETE_IMPORTED, [list(contact_ids)])
        for name, table in (
            ("events", "events_trackedevent"),
            ("occurrences", "events_eventoccurrence"),
        ):
            cursor.execute(
                f"DELETE FROM {table} WHERE subscriber_id = ANY(%s::bigint[])",  # noqa: S608
                [list(contact_ids)],
            )
            counts[name] = cursor.rowcount
    return counts


# The log is not counted, because counter = unlogged + occurrences.
COUNT_EVENTS = """
SELECT count(*), COALESCE(sum(counter - unlogged), 0)::bigint
FROM events_trackedevent WHERE subscriber_id = ANY(%(contacts)s::bigint[])
"""


def count_events_of(contact_ids: Sequence[int]) -> dict[str, int]:
    """Return the numbers of rows that delete_events_of would delete."""
    events, occurrences = fetch_one(COUNT_EVENTS, {"contacts": list(contact_ids)})
    return {"events": events, "occurrences": occurrences}


def to_new_contacts(word: str) -> NewContacts:
    """Return what happens to events of unknown e-mails; "" is as the setting says.

    Raises:
        ValueError: no value of NewContacts, so that no contact gets a status that there is not.
    """
    return NewContacts(word or settings.NEW_CONTACTS)


def create_contacts(emails: Iterable[str], new_contacts: NewContacts) -> bool:
    """Create the contacts of events without one, where this is wanted.

    Args:
        emails: the e-mails of the events, "" where an event has none.
        new_contacts: whether, and with which status.

    Returns:
        Whether the events are worth another try.
    """
    named = [email for email in emails if email]
    is_wanted = new_contacts != NewContacts.NONE and bool(named)
    return is_wanted and create_for_events(named, new_contacts)
