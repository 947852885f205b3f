"""Track one event, whatever protocol sends it: the API, Python, the signal, ActiveCampaign.

Batches are in events/tracking/batches.py. events/maintenance.py prunes the log and verifies it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from psycopg.errors import ForeignKeyViolation

from config.api.errors import ApiError
from config.api.validation import MAX_ID, is_valid_id
from config.api.warnings import Warnings
from config.database import Row, fetch_one, fetch_rows, retry_on_deadlock
from crm.contacts import create_for_events
from crm.emails import email_key
from crm.models import NewContacts
from events.models import TrackedEvent
from events.signals import event_tracked
from events.tracking.fields import EMPTY_OBJECT, EventFields, parse_event
from events.tracking.statements import (
    EARLIER_RESULTS,
    EVENT_COLUMNS,
    REGISTER_NAME,
    TRACK_BY,
    TRACK_ONCE_BY,
)

# The owner of the idempotency keys that Python programs send. A request's owner is its credential.
PYTHON_CREDENTIAL = "python"


class TrackingError(ApiError):
    """422: an event that could not be tracked. `code` is FluentCRM's error_code.

    See FluentCRM's app/Http/Controllers/SubscriberController.php, trackEvent.
    """

    status_code = 422
    code: str
    message: str

    def __init__(self) -> None:
        super().__init__({"message": self.message, "error_code": self.code})


class NotEnabled(TrackingError):
    """Tracking is switched off."""

    code = "not_enabled"
    message = "Event Tracker is not enabled"


class SubscriberNotFound(TrackingError):
    """The event names a contact that does not exist."""

    code = "subscriber_not_found"
    message = "Subscriber not found"


class CurrentSubscriberNotFound(SubscriberNotFound):
    """The event names no contact, and the calling user is none."""

    message = "Current Subscriber could not be found"


class IdempotencyMismatch(TrackingError):
    """The idempotency key was used before, with other content."""

    code = "idempotency_mismatch"
    message = "This idempotency key was used before with other content"


def track(
    data: Mapping[str, Any],
    repeatable: bool = True,
    *,
    created_by: int | None = None,
    idempotency_key: str | None = None,
    credential: str = PYTHON_CREDENTIAL,
    new_contacts: str = "",
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
    try:
        event = _write(fields, created_by, credential)
    except SubscriberNotFound:
        if not create_contacts([fields.email], choice):
            raise
        event = _write(fields, created_by, credential)
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
DELETE FROM events_idempotencykey WHERE occurrence_id IN (
    SELECT id FROM events_eventoccurrence WHERE subscriber_id = ANY(%s::bigint[]))
"""


def delete_events_of(contact_ids: Sequence[int]) -> dict[str, int]:
    """Delete what belongs to contacts that delete_contacts holds locked.

    Their idempotency keys are free again, so that an event counts for a contact that is made again.

    Returns:
        The numbers of deleted rows, as "events" and "occurrences".
    """
    counts = {}
    with connection.cursor() as cursor:
        cursor.execute(DELETE_KEYS, [list(contact_ids)])
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


def fingerprint(fields: EventFields) -> bytes:
    """Return the SHA-256 of an event's content, by which a retry is recognized.

    Equal are an instant in two zones, 2 and 2.0 in properties and context, and an e-mail in two
    spellings. Stores keep it, so the order and names of EventFields are part of the format.
    """
    content = fields._asdict() | {
        "email": email_key(fields.email),
        "properties": canonical_json(fields.properties),
        "context": canonical_json(fields.context),
        "occurred_at": fields.occurred_at and fields.occurred_at.astimezone(UTC),
    }
    return hashlib.sha256(orjson.dumps(content)).digest()


def earlier_fingerprint(fields: EventFields) -> bytes:
    """Return the fingerprint that earlier versions stored, whose user_id was a number."""
    user_id = int(fields.user_id) if is_valid_id(fields.user_id) else 0
    return hashlib.sha256(orjson.dumps(fields._asdict() | {"user_id": user_id})).digest()


def canonical_json(text: str) -> str:
    """Return JSON text in which a whole number is written in digits, as PostgreSQL stores it."""

    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: canonical(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [canonical(inner) for inner in value]
        is_whole = isinstance(value, float) and value.is_integer() and abs(value) < MAX_ID
        # By its shortest digits, because these are sent to PostgreSQL.
        return int(Decimal(repr(value))) if is_whole else value

    return text if text == EMPTY_OBJECT else orjson.dumps(canonical(orjson.loads(text))).decode()


def is_unnamed(fields: EventFields) -> bool:
    """Return whether an event names no contact, so that the calling user's own is meant."""
    return not (fields.subscriber_id or fields.email or fields.user_id)


def contact_error(fields: EventFields) -> SubscriberNotFound:
    """Return the error for an event whose contact does not exist."""
    return CurrentSubscriberNotFound() if is_unnamed(fields) else SubscriberNotFound()


def earlier_results(credential: str, keys: list[str]) -> dict[str, tuple[bytes, Row]]:
    """Return fingerprint and EVENT_COLUMNS of earlier requests with these keys, by key."""
    rows = fetch_rows(EARLIER_RESULTS, {"credential": credential, "keys": keys})
    return {key: (bytes(content), tuple(columns)) for key, content, *columns in rows}


def replay(fields: EventFields, earlier: tuple[bytes, Row]) -> TrackedEvent:
    """Return the event of an earlier request with the same key.

    Args:
        fields: the fields of this request.
        earlier: fingerprint and EVENT_COLUMNS of the earlier one.

    Raises:
        IdempotencyMismatch: the fingerprints differ.
        SubscriberNotFound: the contact was deleted since.
    """
    earlier_content, columns = earlier
    if earlier_content not in (fingerprint(fields), earlier_fingerprint(fields)):
        raise IdempotencyMismatch
    event = TrackedEvent.from_db("default", EVENT_COLUMNS, columns)
    if event.id is None:
        raise SubscriberNotFound
    event.replayed = True
    return event


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


def own_email_key(created_by: int | None) -> str:
    """Return the key of a user's e-mail, by which the calling user's own contact is found."""
    user = User.objects.filter(id=created_by).only("email").first() if created_by else None
    return email_key(user.email) if user else ""


def _write(fields: EventFields, created_by: int | None, credential: str) -> TrackedEvent:
    contact: int | str
    if fields.subscriber_id:
        named_by, contact = "id", fields.subscriber_id
    elif fields.email:
        named_by, contact = "email", email_key(fields.email)
    elif fields.user_id:
        named_by, contact = "user", fields.user_id
    else:
        named_by, contact = "email", own_email_key(created_by)
    now = timezone.now()
    parameters = fields._asdict() | {
        "contact": contact,
        "created_by": created_by,
        "occurred_at": fields.occurred_at or now,
        "now": now,
    }
    if not fields.idempotency_key:
        event = _execute(TRACK_BY[named_by], parameters)
        if event is None:
            raise contact_error(fields)
        return event
    key, content = fields.idempotency_key, fingerprint(fields)
    parameters |= {"credential": credential, "content": content}
    # It repeats only if the key is pruned between the two statements.
    while True:
        event = _execute(TRACK_ONCE_BY[named_by], parameters)
        if event is not None and event.id is not None:
            return event
        # First the earlier request, because the contact may have another e-mail by now.
        if earlier := earlier_results(credential, [key]).get(key):
            return replay(fields, earlier)
        if event is None:
            raise contact_error(fields)


def _execute(statement: str, parameters: dict[str, Any]) -> TrackedEvent | None:
    """Return the event, None without a contact, or an event without id if its key is claimed.

    Raises:
        NotEnabled: tracking is switched off.
    """
    try:
        row = retry_on_deadlock(lambda: fetch_one(statement, parameters))
    except IntegrityError as error:
        # The contact was deleted by a program that takes no locks, after this statement read it.
        if isinstance(error.__cause__, ForeignKeyViolation):
            return None
        raise
    is_enabled, contact_id, *columns = row
    if not is_enabled:
        raise NotEnabled
    if contact_id is None:
        return None
    return TrackedEvent.from_db("default", EVENT_COLUMNS, columns)
