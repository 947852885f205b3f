"""One event is tracked here, whoever sends it: each protocol, the Python API, the signal.

Many at once: events/tracking/batches.py. What is removed again, and proved: events/maintenance.py.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from psycopg.errors import ForeignKeyViolation

from config.api.errors import ApiError
from config.database import Row, fetch_one, fetch_row, fetch_rows, retry_on_deadlock
from events.api.serializers import EventFields, parse_event
from events.models import TrackedEvent
from events.signals import event_tracked
from events.tracking.statements import REGISTER_NAME, REPLAYS, TRACK_BY, TRACK_ONCE_BY

# Whose idempotency keys those of Python programs are; a request's are its credential's.
PYTHON_CREDENTIAL = "python"


class TrackingError(ApiError):
    """An event that could not be tracked; `code` is FluentCRM's."""

    code: str
    message: str

    def __init__(self) -> None:
        super().__init__(422, {"message": self.message, "error_code": self.code})


class NotEnabled(TrackingError):
    """Tracking is switched off."""

    code = "not_enabled"
    message = "Event Tracker is not enabled"


class SubscriberNotFound(TrackingError):
    """The event names a contact that is not there."""

    code = "subscriber_not_found"
    message = "Subscriber not found"


class CurrentSubscriberNotFound(SubscriberNotFound):
    """The event names nobody, and the caller is no contact."""

    message = "Current Subscriber could not be found"


class IdempotencyMismatch(TrackingError):
    """The idempotency key was used before, for an event with other content."""

    code = "idempotency_mismatch"
    message = "This idempotency key was used before with other content"


def track(
    data: Mapping[str, Any],
    repeatable: bool = True,
    *,
    created_by: int | None = None,
    idempotency_key: str | None = None,
    credential: str = PYTHON_CREDENTIAL,
) -> TrackedEvent:
    """Count an event on its contact and keep the occurrence: FluentCRM's track().

    `data` has event_key and title, and may have value, provider, properties, context, occurred_at,
    and one of subscriber_id, email and user_id; `created_by` is the id of the user who calls, whose
    own contact is meant if none is named. `repeatable` false, here or in `data`, makes a row of its
    own. With an `idempotency_key`, here or in `data`, the same call again counts nothing: it
    returns the event with the counter of the first call, and `replayed` true; keys are
    `credential`'s own. When it returns the event is committed, unless it runs inside a transaction
    of yours.

    Raises InvalidFields, NotEnabled, SubscriberNotFound, CurrentSubscriberNotFound,
    IdempotencyMismatch.
    """
    if idempotency_key is not None:
        data = {**data, "idempotency_key": idempotency_key}
    fields = parse_event(data)
    if not repeatable:
        fields = replace(fields, repeatable=False)
    event = _write(fields, created_by, credential)
    if event_tracked.receivers and not event.replayed:
        transaction.on_commit(
            lambda: event_tracked.send(TrackedEvent, event=event, subscriber=event.subscriber)
        )
    return event


def register_name(event_key: str) -> None:
    """Put the name of an event that belongs to no contact into the catalogue. Raises NotEnabled."""
    row = fetch_row(REGISTER_NAME, {"event_key": event_key, "now": timezone.now()})
    if row != (True,):
        raise NotEnabled


def track_on_signal(
    sender: object,  # noqa: ARG001
    data: Mapping[str, Any],
    repeatable: bool = True,
    **_: object,
) -> TrackedEvent:
    """The receiver of track_event_activity."""
    return track(data, repeatable)


def delete_events_of(contact_ids: Sequence[int]) -> dict[str, int]:
    """Delete the events and occurrences of contacts that delete_contacts holds locked.

    Returns how many of each.
    """
    counts = {}
    with connection.cursor() as cursor:
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


# Nothing is counted in the log: counter = unlogged + occurrences.
COUNT_EVENTS = """
SELECT count(*), COALESCE(sum(counter - unlogged), 0)::bigint
FROM events_trackedevent WHERE subscriber_id = ANY(%(contacts)s::bigint[])
"""


def count_events_of(contact_ids: Sequence[int]) -> dict[str, int]:
    """How many events and occurrences contacts have, as delete_events_of would count them."""
    events, occurrences = fetch_one(COUNT_EVENTS, {"contacts": list(contact_ids)})
    return {"events": events, "occurrences": occurrences}


def fingerprint(fields: EventFields) -> bytes:
    """The SHA-256 of what was sent: a retry has the same."""
    return hashlib.sha256(orjson.dumps(fields)).digest()


def not_found(fields: EventFields) -> SubscriberNotFound:
    """What to raise where the contact of an event is not there."""
    if fields.subscriber_id or fields.email or fields.user_id:
        return SubscriberNotFound()
    return CurrentSubscriberNotFound()


def earlier_results(credential: str, keys: list[str]) -> dict[str, tuple[bytes, Row]]:
    """What earlier calls with these keys sent and did, by key: content and event's columns."""
    rows = fetch_rows(REPLAYS, {"credential": credential, "keys": keys})
    return {key: (bytes(content), tuple(columns)) for key, content, *columns in rows}


def replay(content: bytes, earlier: tuple[bytes, Row]) -> TrackedEvent:
    """The event of an earlier call, for the same call again.

    Raises IdempotencyMismatch, and SubscriberNotFound if its contact was deleted since.
    """
    earlier_content, columns = earlier
    if earlier_content != content:
        raise IdempotencyMismatch
    event = TrackedEvent(*columns)
    if event.id is None:
        raise SubscriberNotFound
    event.replayed = True
    return event


def _write(fields: EventFields, created_by: int | None, credential: str) -> TrackedEvent:
    who: int | str | None
    if fields.subscriber_id:
        named, who = "id", fields.subscriber_id
    elif fields.email:
        named, who = "email", fields.email
    else:
        named, who = "user", fields.user_id or created_by
    now = timezone.now()
    parameters: dict[str, Any] = {
        "who": who,
        "event_key": fields.event_key,
        "title": fields.title,
        "value": fields.value,
        "provider": fields.provider,
        "repeatable": fields.repeatable,
        "created_by": created_by,
        "properties": fields.properties,
        "context": fields.context,
        "occurred_at": fields.occurred_at or now,
        "now": now,
    }
    if not fields.idempotency_key:
        event = _execute(TRACK_BY[named], parameters)
        if event is None:
            raise not_found(fields)
        return event
    key, content = fields.idempotency_key, fingerprint(fields)
    parameters |= {"credential": credential, "key": key, "content": content}
    # More than once only if the key is pruned between the two statements.
    while True:
        event = _execute(TRACK_ONCE_BY[named], parameters)
        if event is not None and event.id is not None:
            return event
        # Before saying that the contact is not there: it may have another e-mail by now.
        if earlier := earlier_results(credential, [key]).get(key):
            return replay(content, earlier)
        if event is None:
            raise not_found(fields)


def _execute(statement: str, parameters: dict[str, Any]) -> TrackedEvent | None:
    """The event; None if there is no such contact, and without an id if its key is claimed.

    Raises NotEnabled.
    """
    try:
        row = retry_on_deadlock(lambda: fetch_one(statement, parameters))
    except IntegrityError as error:
        # A contact deleted by somebody who takes no locks, between our look and our row.
        if isinstance(error.__cause__, ForeignKeyViolation):
            return None
        raise
    enabled, contact_id, *columns = row
    if not enabled:
        raise NotEnabled
    return None if contact_id is None else TrackedEvent(*columns)
