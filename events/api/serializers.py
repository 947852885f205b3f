"""A tracked event on the wire: its fields read, shape only and without the database, and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.utils import timezone
from rest_framework import serializers

from config.api.json_fields import check_json, from_json, json_object, stored_size
from config.api.validation import (
    BLANKS,
    Reader,
    Wrong,
    exact_moment,
    id_or_nobody,
    line,
    moment,
    read_fields,
    switch,
    text,
)
from crm.api.serializers import moment_text
from events.cursors import MICROSECOND, Cursor
from events.models import EventOccurrence, TrackedEvent

DEFAULT_PROVIDER = "custom"
LONGEST_VALUE = 65_535
LARGEST_OBJECT = 64 * 1024
MOST_KEYS = 300
LONGEST_IDEMPOTENCY_KEY = 255
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
MOST_AHEAD = timedelta(days=1)
NO_OBJECT = "{}"
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


def value_text(value: Any) -> str:
    """The value as text; an object or a list as its JSON. Raises Wrong."""
    if isinstance(value, list | dict):
        check_json(value)
        value = orjson.dumps(value).decode()
    found = text(value).strip(BLANKS)
    if len(found) > LONGEST_VALUE:
        raise Wrong("max", f"The {{field}} may not be greater than {LONGEST_VALUE} characters.")
    return found


def email_text(value: Any) -> str:
    """The e-mail to look for; whether it is one is not asked. Raises Wrong."""
    if isinstance(value, list | dict):
        raise Wrong("email")
    found = text(value)
    # PHP's empty(): names nobody.
    return "" if found == "0" else found.strip(BLANKS) or found


def repeats(value: Any) -> bool:
    """Whether the event counts up; null is the default, true. Raises Wrong."""
    return True if value is None else switch(value)


def object_text(value: Any) -> str:
    """A JSON object as its text, keys sorted: 64 KB, ten levels, 300 keys each. Raises Wrong."""
    found = json_object(value)
    if not found:
        return NO_OBJECT
    try:
        body = orjson.dumps(found, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # from Python: no JSON, or a whole number over 64 bits
        raise Wrong("json") from None
    if stored_size(found, body) > LARGEST_OBJECT:
        raise Wrong("max", "The {field} may not be greater than 64 KB.")
    if body.count(b":") > MOST_KEYS and _most_keys(found) > MOST_KEYS:
        raise Wrong("keys", f"The {{field}} may not have more than {MOST_KEYS} keys.")
    return body.decode()


def _most_keys(value: Any) -> int:
    """The number of keys of the object inside a JSON value that has the most."""
    if isinstance(value, dict):
        return max(len(value), *map(_most_keys, value.values()), 0)
    return max(map(_most_keys, value), default=0) if isinstance(value, list) else 0


def occurrence_moment(value: Any) -> datetime | None:
    """When it happened, from 1970 to a day ahead; null and "" are now. Raises Wrong."""
    found = exact_moment(value)
    if found is None or EARLIEST <= found <= timezone.now() + MOST_AHEAD:
        return found
    raise Wrong("between", "The {field} must be between 1970 and a day ahead.")


def idempotency_key(value: Any) -> str:
    """1 to 255 characters; null is none. Raises Wrong."""
    if value is None:
        return ""
    key = text(value)
    if not key.strip(BLANKS):
        raise Wrong("min", "The {field} must be at least 1 character.")
    if len(key) > LONGEST_IDEMPOTENCY_KEY:
        raise Wrong(
            "max", f"The {{field}} may not be greater than {LONGEST_IDEMPOTENCY_KEY} characters."
        )
    return key


EVENT_FIELDS: dict[str, Reader] = {
    "event_key": line(192),
    "title": line(192),
    "value": value_text,
    "provider": line(50),
    "subscriber_id": id_or_nobody,
    "email": email_text,
    "user_id": id_or_nobody,
    "repeatable": repeats,
    "properties": from_json(object_text),
    "context": from_json(object_text),
    "occurred_at": occurrence_moment,
    "idempotency_key": idempotency_key,
}


def event_fields(data: Mapping[str, Any]) -> EventFields:
    """The fields of an event. Raises InvalidFields (422), all wrong fields at once."""
    read = read_fields(EVENT_FIELDS, data, required=("event_key", "title"))
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
        properties=read.get("properties", NO_OBJECT),
        context=read.get("context", NO_OBJECT),
        occurred_at=read.get("occurred_at"),
        idempotency_key=read.get("idempotency_key", ""),
    )


def until(value: Any) -> datetime | None:
    """The end of a time asked for: a whole day, or a whole second, as it was written.

    Raises Wrong.
    """
    found = moment(value)
    if found is None or "." in str(value):
        return found
    whole = (
        timedelta(days=1)
        if len(str(value).strip(BLANKS)) == len("2024-01-17")
        else timedelta(seconds=1)
    )
    return found + whole - MICROSECOND


def cursor(value: Any) -> Cursor | None:
    """Where a page goes on. Raises Wrong."""
    if value in (None, ""):
        return None
    try:
        return Cursor.read(text(value))
    except (ValueError, OverflowError):
        raise Wrong("cursor", "The {field} is not one of ours.") from None


TIMELINE_FIELDS: dict[str, Reader] = {
    "event_key": line(192),
    "provider": line(50),
    "from": moment,
    "to": until,
    "cursor": cursor,
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
        "created_at": moment_text(event.created_at),
        "updated_at": moment_text(event.updated_at),
    }
