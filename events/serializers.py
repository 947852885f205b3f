"""A tracked event on the wire: its fields read, shape only and without the database, and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from rest_framework import serializers

from config.fields import (
    BLANKS,
    Reader,
    Wrong,
    check_json,
    id_or_nobody,
    line,
    read_fields,
    switch,
    text,
)
from crm.serializers import moment_text
from events.models import TrackedEvent

DEFAULT_PROVIDER = "custom"
LONGEST_VALUE = 65_535


@dataclass(frozen=True, slots=True)
class EventFields:
    """An event as it will be written; at most one of the three names of its contact is set."""

    event_key: str
    title: str
    value: str
    provider: str
    subscriber_id: int
    email: str
    user_id: int
    repeatable: bool


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


EVENT_FIELDS: dict[str, Reader] = {
    "event_key": line(192),
    "title": line(192),
    "value": value_text,
    "provider": line(50),
    "subscriber_id": id_or_nobody,
    "email": email_text,
    "user_id": id_or_nobody,
    "repeatable": repeats,
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
    )


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
