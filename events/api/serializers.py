"""A tracked event on the wire: its fields read, shape only and without the database, and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.utils import timezone
from rest_framework import serializers

from config.api.json_fields import check_json, json_text_or, stored_size, to_json_object
from config.api.validation import (
    WHITESPACE,
    InvalidValue,
    Validator,
    optional_id,
    single_line,
    to_bool,
    to_datetime,
    to_strict_datetime,
    to_text,
    validate,
)
from crm.api.serializers import format_datetime
from events.cursors import MICROSECOND, Cursor
from events.models import EventOccurrence, TrackedEvent

DEFAULT_PROVIDER = "custom"
MAX_VALUE_LENGTH = 65_535
MAX_OBJECT_BYTES = 64 * 1024
MAX_KEYS_PER_OBJECT = 300
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MIN_OCCURRED_AT = datetime(1970, 1, 1, tzinfo=UTC)
MAX_AHEAD = timedelta(days=1)
EMPTY_OBJECT = "{}"
# The header of an answer that an earlier call got first.
REPLAYED = {"Idempotency-Replayed": "true"}


@dataclass(frozen=True, slots=True)
class EventFields:
    """An event as it will be written; at most one of the three names of its contact is set.

    `properties` and `context` are JSON texts; `occurred_at` None is now, `idempotency_key` "" none.
    """

    event_key: str
    title: str
    value: str
    provider: str
    subscriber_id: int
    email: str
    user_id: int
    repeatable: bool
    properties: str
    context: str
    occurred_at: datetime | None
    idempotency_key: str


def to_value_text(value: Any) -> str:
    """The value as text; an object or a list as its JSON. Raises Wrong."""
    if isinstance(value, list | dict):
        check_json(value)
        value = orjson.dumps(value).decode()
    found = to_text(value).strip(WHITESPACE)
    if len(found) > MAX_VALUE_LENGTH:
        raise InvalidValue(
            "max", f"The {{field}} may not be greater than {MAX_VALUE_LENGTH} characters."
        )
    return found


def to_email_text(value: Any) -> str:
    """The e-mail to look for; whether it is one is not asked. Raises Wrong."""
    if isinstance(value, list | dict):
        raise InvalidValue("email")
    found = to_text(value)
    # PHP's empty(): names nobody.
    return "" if found == "0" else found.strip(WHITESPACE) or found


def to_repeatable(value: Any) -> bool:
    """Whether the event counts up; null is the default, true. Raises Wrong."""
    return True if value is None else to_bool(value)


def to_object_text(value: Any) -> str:
    """A JSON object as its text, keys sorted: 64 KB, ten levels, 300 keys each. Raises Wrong."""
    found = to_json_object(value)
    if not found:
        return EMPTY_OBJECT
    try:
        body = orjson.dumps(found, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # from Python: no JSON, or a whole number over 64 bits
        raise InvalidValue("json") from None
    if stored_size(found, body) > MAX_OBJECT_BYTES:
        raise InvalidValue("max", "The {field} may not be greater than 64 KB.")
    if body.count(b":") > MAX_KEYS_PER_OBJECT and _max_keys(found) > MAX_KEYS_PER_OBJECT:
        raise InvalidValue(
            "keys", f"The {{field}} may not have more than {MAX_KEYS_PER_OBJECT} keys."
        )
    return body.decode()


def _max_keys(value: Any) -> int:
    """The number of keys of the object inside a JSON value that has the most."""
    if isinstance(value, dict):
        return max(len(value), *map(_max_keys, value.values()), 0)
    return max(map(_max_keys, value), default=0) if isinstance(value, list) else 0


def to_occurred_at(value: Any) -> datetime | None:
    """When it happened, from 1970 to a day ahead; null and "" are now. Raises Wrong."""
    found = to_strict_datetime(value)
    if found is None or MIN_OCCURRED_AT <= found <= timezone.now() + MAX_AHEAD:
        return found
    raise InvalidValue("between", "The {field} must be between 1970 and a day ahead.")


def to_idempotency_key(value: Any) -> str:
    """1 to 255 characters; null is none. Raises Wrong."""
    if value is None:
        return ""
    key = to_text(value)
    if not key.strip(WHITESPACE):
        raise InvalidValue("min", "The {field} must be at least 1 character.")
    if len(key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InvalidValue(
            "max", f"The {{field}} may not be greater than {MAX_IDEMPOTENCY_KEY_LENGTH} characters."
        )
    return key


EVENT_FIELDS: dict[str, Validator] = {
    "event_key": single_line(192),
    "title": single_line(192),
    "value": to_value_text,
    "provider": single_line(50),
    "subscriber_id": optional_id,
    "email": to_email_text,
    "user_id": optional_id,
    "repeatable": to_repeatable,
    "properties": json_text_or(to_object_text),
    "context": json_text_or(to_object_text),
    "occurred_at": to_occurred_at,
    "idempotency_key": to_idempotency_key,
}


def parse_event(data: Mapping[str, Any]) -> EventFields:
    """The fields of an event. Raises InvalidFields (422), all wrong fields at once."""
    read = validate(EVENT_FIELDS, data, required=("event_key", "title"))
    subscriber_id = read.get("subscriber_id", 0)
    # The first that names somebody decides, in FluentCRM's order.
    email = "" if subscriber_id else read.get("email", "")
    return EventFields(
        event_key=read["event_key"],
        title=read["title"],
        value=read.get("value", ""),
        provider=read.get("provider") or DEFAULT_PROVIDER,
        subscriber_id=subscriber_id,
        email=email,
        user_id=0 if subscriber_id or email else read.get("user_id", 0),
        repeatable=read.get("repeatable", True),
        properties=read.get("properties", EMPTY_OBJECT),
        context=read.get("context", EMPTY_OBJECT),
        occurred_at=read.get("occurred_at"),
        idempotency_key=read.get("idempotency_key", ""),
    )


def to_inclusive_end(value: Any) -> datetime | None:
    """The end of a time asked for: a whole day, or a whole second, as it was written.

    Raises Wrong.
    """
    found = to_datetime(value)
    if found is None or "." in str(value):
        return found
    whole = (
        timedelta(days=1)
        if len(str(value).strip(WHITESPACE)) == len("2024-01-17")
        else timedelta(seconds=1)
    )
    return found + whole - MICROSECOND


def to_cursor(value: Any) -> Cursor | None:
    """Where a page goes on. Raises Wrong."""
    if value in (None, ""):
        return None
    try:
        return Cursor.read(to_text(value))
    except (ValueError, OverflowError):
        raise InvalidValue("cursor", "The {field} is not one of ours.") from None


TIMELINE_FIELDS: dict[str, Validator] = {
    "event_key": single_line(192),
    "provider": single_line(50),
    "from": to_datetime,
    "to": to_inclusive_end,
    "cursor": to_cursor,
}


class OccurrenceSerializer(serializers.Serializer[EventOccurrence]):
    """The shape of an occurrence."""

    id = serializers.IntegerField()
    event_id = serializers.IntegerField()
    event_key = serializers.CharField()
    title = serializers.CharField()
    provider = serializers.CharField()
    value = serializers.CharField(allow_blank=True)
    properties = serializers.DictField()
    context = serializers.DictField()  # type: ignore[assignment]  # DRF's own attribute
    counter = serializers.CharField()
    occurred_at = serializers.CharField()
    received_at = serializers.CharField()


class TrackedEventSerializer(serializers.Serializer[TrackedEvent]):
    """The shape of a tracked event."""

    id = serializers.IntegerField()
    subscriber_id = serializers.CharField()
    counter = serializers.CharField()
    created_by = serializers.CharField()
    provider = serializers.CharField()
    event_key = serializers.CharField()
    title = serializers.CharField()
    value = serializers.CharField(allow_blank=True)
    created_at = serializers.CharField()
    updated_at = serializers.CharField()


def event_data(event: TrackedEvent) -> dict[str, Any]:
    """A tracked event as FluentCRM shows it."""
    return {
        "id": event.id,
        "subscriber_id": str(event.subscriber_id),
        "counter": str(event.counter),
        "created_by": str(event.created_by_id or 0),
        "provider": event.provider,
        "event_key": event.event_key,
        "title": event.title,
        "value": event.value,
        "created_at": format_datetime(event.created_at),
        "updated_at": format_datetime(event.updated_at),
    }
