"""Recognize retries by their idempotency keys."""

import hashlib
import re
from datetime import UTC
from decimal import Decimal
from typing import Any

import orjson

from config.api.validation import MAX_ID, is_valid_id
from config.database import Row, fetch_rows
from crm.emails import email_key
from events.models import TrackedEvent
from events.tracking.errors import IdempotencyMismatch, SubscriberNotFound
from events.tracking.fields import EventFields
from events.tracking.statements import EARLIER_RESULTS, EVENT_COLUMNS

# A float that may be whole, in JSON text of orjson, or a text that looks like one.
FLOAT = re.compile(r"[0-9](\.0|e)")


def fingerprint(fields: EventFields, user_source: str = "") -> bytes:
    """Return the SHA-256 of an event's content, by which a retry is recognized.

    The source of a user_id is part of it, because the id means another contact in another source.
    Equal are an instant in two zones, 2 and 2.0 in properties and context, and an e-mail in two
    spellings. Stores keep it, so the order and names of EventFields are part of the format.
    """
    content = fields._asdict() | {
        "email": email_key(fields.email),
        "properties": canonical_json(fields.properties),
        "context": canonical_json(fields.context),
        "occurred_at": fields.occurred_at and fields.occurred_at.astimezone(UTC),
    }
    if user_source and fields.user_id:
        content["user_source"] = user_source
    return hashlib.sha256(orjson.dumps(content)).digest()


def earlier_fingerprint(fields: EventFields) -> bytes:
    """Return the fingerprint that earlier versions stored, whose user_id was a number."""
    user_id = int(fields.user_id) if is_valid_id(fields.user_id) else 0
    return hashlib.sha256(orjson.dumps(fields._asdict() | {"user_id": user_id})).digest()


def canonical_json(text: str) -> str:
    """Return JSON text in which a whole number is written in digits, as PostgreSQL stores it."""
    # The text of `to_object_text` has a whole float as 2.0 or 1e16. Most have none.
    return orjson.dumps(_canonical(orjson.loads(text))).decode() if FLOAT.search(text) else text


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < MAX_ID
    # By its shortest digits, because these are sent to PostgreSQL.
    return int(Decimal(repr(value))) if is_whole else value


def earlier_results(credential: str, keys: list[str]) -> dict[str, tuple[bytes, Row]]:
    """Return fingerprint and EVENT_COLUMNS of earlier requests with these keys, by key."""
    rows = fetch_rows(EARLIER_RESULTS, {"credential": credential, "keys": keys})
    return {key: (bytes(content), tuple(columns)) for key, content, *columns in rows}


def replay(fields: EventFields, earlier: tuple[bytes, Row], user_source: str = "") -> TrackedEvent:
    """Return the event of an earlier request with the same key.

    Args:
        fields: the fields of this request.
        earlier: fingerprint and EVENT_COLUMNS of the earlier one.
        user_source: the source of the user_id of this request.

    Raises:
        IdempotencyMismatch: the fingerprints differ.
        SubscriberNotFound: the contact was deleted since.
    """
    earlier_content, columns = earlier
    known = [fingerprint(fields, user_source)]
    if not user_source:
        known.append(earlier_fingerprint(fields))
    if earlier_content not in known:
        raise IdempotencyMismatch
    event = TrackedEvent.from_db("default", EVENT_COLUMNS, columns)
    if event.id is None:
        raise SubscriberNotFound
    if event.event_key is None:
        _describe(event, fields)
    event.replayed = True
    return event


def _describe(event: TrackedEvent, fields: EventFields) -> None:
    """Set the columns of an event that was taken back and deleted, as the first request sent it."""
    event.event_key, event.title = fields.event_key, fields.title
    event.value, event.provider = fields.value, fields.provider
    event.repeatable, event.unlogged = fields.repeatable, 0
    event.created_at = event.updated_at = fields.occurred_at or event.created_at
