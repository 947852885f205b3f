"""Write validated events: each by a statement, or those of several threads by one together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection
from django.db.utils import DatabaseError
from django.utils import timezone
from psycopg.errors import DeadlockDetected, ForeignKeyViolation, LockNotAvailable

from config.database import fetch_one, fetch_rows, retry_on_deadlock
from config.groups import Group
from crm.aliases import Name, find_holder
from crm.emails import email_key
from events.models import TrackedEvent
from events.tracking.errors import CurrentSubscriberNotFound, NotEnabled, SubscriberNotFound
from events.tracking.fields import EventFields
from events.tracking.item_statements import TRACK_TOGETHER
from events.tracking.retries import earlier_results, fingerprint, replay
from events.tracking.statements import EVENT_COLUMNS, TRACK_BY, TRACK_ONCE_BY


class Write(NamedTuple):
    """An event to be written.

    Attributes:
        fields: its fields.
        created_by: the id of the calling user.
        credential: the owner of its key.
        user_source: the source of its user_id.
    """

    fields: EventFields
    created_by: int | None
    credential: str
    user_source: str

    def fingerprint(self) -> bytes:
        """Return the fingerprint of an event with a key, b"" without one."""
        has_key = self.fields.idempotency_key
        return fingerprint(self.fields, self.user_source) if has_key else b""


def write(one: Write) -> TrackedEvent:
    """Write an event, and return it as it is afterwards, or as an earlier request has written it.

    Raises:
        NotEnabled: tracking is switched off.
        SubscriberNotFound: the contact does not exist.
        CurrentSubscriberNotFound: no contact is named, and the user is none.
        IdempotencyMismatch: the key was used with other data.
    """
    # What the caller's transaction writes is only to be seen, and to be rolled back, in it.
    event = None if connection.in_atomic_block else _together.run(one)
    return event or _write_alone(one)


def is_unnamed(fields: EventFields) -> bool:
    """Return whether an event names no contact, so that the calling user's own is meant."""
    return not (fields.subscriber_id or fields.email or fields.user_id)


def contact_error(fields: EventFields) -> SubscriberNotFound:
    """Return the error for an event whose contact does not exist."""
    return CurrentSubscriberNotFound() if is_unnamed(fields) else SubscriberNotFound()


def own_email_key(created_by: int | None) -> str:
    """Return the key of a user's e-mail, by which the calling user's own contact is found."""
    user = User.objects.filter(id=created_by).only("email").first() if created_by else None
    return email_key(user.email) if user else ""


def name_of(fields: EventFields, own_key: str) -> Name:
    """Return what names the contact of an event.

    Args:
        fields: the fields of the event.
        own_key: the key of the calling user's e-mail, if the event names no contact.
    """
    if fields.subscriber_id:
        return "contact", str(fields.subscriber_id)
    if fields.user_id:
        return "user", fields.user_id
    return "email", own_key if is_unnamed(fields) else email_key(fields.email)


def batch_item(number: int, write: Write, now: datetime, own_key: str = "") -> dict[str, Any]:
    """Return an event as an item of CALLED_ITEMS.

    Args:
        number: by which the statement's rows name it.
        write: the event.
        now: when it happened, if it does not say.
        own_key: the key of the calling user's e-mail, if the event names no contact.
    """
    fields, created_by, credential, user_source = write
    return fields._asdict() | {
        "n": number,
        "email": own_key if is_unnamed(fields) else email_key(fields.email),
        "occurred_at": fields.occurred_at or now,
        "created_by": created_by,
        "credential": credential,
        "user_source": user_source,
        "content": write.fingerprint().hex(),
    }


def _write_together(writes: list[Write]) -> Sequence[TrackedEvent | Exception | None]:
    """Write the events of several threads by one statement, and an event alone by its own.

    Returns:
        For each the event, or its error, or None: it has to be written alone, because it names no
        contact that exists and is not locked, is a retry, or another one made the statement fail.
    """
    if len(writes) == 1:
        return [_write_alone(writes[0])]
    now = timezone.now()
    items = [batch_item(number, one, now) for number, one in enumerate(writes)]
    try:
        rows = fetch_rows(TRACK_TOGETHER, {"events": orjson.dumps(items).decode(), "now": now})
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            # PostgreSQL may be away, or have counted them without an answer.
            raise
        return [None] * len(writes)
    except DatabaseError:
        return [None] * len(writes)
    events: list[TrackedEvent | Exception | None] = [None] * len(writes)
    for is_enabled, number, *columns in rows:
        if not is_enabled:
            return [NotEnabled() for _ in writes]
        if columns[0] is not None:
            events[number] = TrackedEvent.from_db("default", EVENT_COLUMNS, columns)
    return events


_together = Group(_write_together)


def _write_alone(write: Write) -> TrackedEvent:
    fields, created_by, credential, user_source = write
    name = name_of(fields, own_email_key(created_by) if is_unnamed(fields) else "")
    named_by, contact = name[0], fields.subscriber_id or name[1]
    key, now = fields.idempotency_key, timezone.now()
    parameters = fields._asdict() | {
        "created_by": created_by,
        "occurred_at": fields.occurred_at or now,
        "now": now,
        "user_source": user_source,
    }
    statements = TRACK_ONCE_BY if key else TRACK_BY
    if key:
        parameters |= {"credential": credential, "content": write.fingerprint()}
    # It repeats only if the key is pruned between the two statements, or if the contact was merged
    # into another one.
    while True:
        event = _execute(statements[named_by], parameters | {"contact": contact})
        if event is not None and event.id is not None:
            return event
        # First the earlier request, because the contact may have another e-mail by now.
        if key and (earlier := earlier_results(credential, [key]).get(key)):
            return replay(fields, earlier, user_source)
        if event is None:
            holder = find_holder(name, user_source)
            if holder is None:
                raise contact_error(fields)
            named_by, contact = "contact", holder


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
