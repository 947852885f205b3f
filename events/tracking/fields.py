"""The fields of an event, all in one table: how each is validated, described and stored.

One more field is a line in EVENT_FIELDS, EventFields and STORED_COLUMNS here, a column
of EventOccurrence (events/models.py, with a migration and a db_default, because demo copies rows
without it), a field of Occurrence (events/history.py) and one of OccurrenceSerializer
(events/api/serializers.py). The SQL is made from these lists.
"""

from collections import ChainMap
from collections.abc import Mapping
from datetime import datetime
from time import time
from typing import Any, NamedTuple

import orjson
from rest_framework import serializers

from config.api.errors import FieldErrors, InvalidFields
from config.api.json_fields import (
    MAX_KEYS_PER_OBJECT,
    MAX_OBJECT_BYTES,
    checked_json,
    json_text_or,
    max_keys,
    stored_size,
    to_json_object,
)
from config.api.validation import (
    MAX_NAME_LENGTH,
    WHITESPACE,
    InvalidValue,
    Validator,
    is_empty,
    nullable_line,
    to_bigint,
    to_bool,
    to_email,
    to_strict_datetime,
    to_text,
    to_user_id,
    validate,
)
from config.api.warnings import Warnings

DEFAULT_PROVIDER = "custom"
MAX_PROVIDER_LENGTH = 50
MAX_VALUE_LENGTH = 65_535
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_SECONDS_AHEAD = 24 * 60 * 60
EMPTY_OBJECT = "{}"
# What names no contact, because PHP's empty() is true of it.
EMPTY_VALUES = (None, False, 0, "", "0")


class EventFields(NamedTuple):
    """A validated event.

    At most one of the three names of its contact is set: `subscriber_id`, `email`, `user_id`. The
    others are 0 or "". `email` is as sent. `properties` and `context` are JSON text. `occurred_at`
    None means now, an `idempotency_key` "" that none was sent.
    """

    event_key: str
    title: str
    value: str = ""
    provider: str = DEFAULT_PROVIDER
    subscriber_id: int = 0
    email: str = ""
    user_id: str = ""
    repeatable: bool = True
    properties: str = EMPTY_OBJECT
    context: str = EMPTY_OBJECT
    occurred_at: datetime | None = None
    idempotency_key: str = ""


# What an occurrence keeps as it was sent, with the type of its column. JSON text is cast to jsonb.
STORED_COLUMNS = {"provider": "text", "value": "text", "properties": "jsonb", "context": "jsonb"}


def to_value_text(value: Any) -> str:
    """Convert a value to text of at most 65,535 characters; a list or an object is its JSON.

    Raises:
        InvalidValue: a longer text, or JSON as in `checked_json`.
    """
    if isinstance(value, (list, dict)):
        value = checked_json(value).decode()
    text = to_text(value).strip(WHITESPACE)
    if len(text) > MAX_VALUE_LENGTH:
        message = f"The {{field}} may not be greater than {MAX_VALUE_LENGTH} characters."
        raise InvalidValue("max", message)
    return text


def contact_name(validator: Validator, missing: Any) -> Validator:
    """Return a validator of what names a contact; PHP's empty values are `missing`.

    Raises:
        InvalidValue: by the returned validator, another value that names nothing, such as "00".
    """

    def to_name(value: Any) -> Any:
        if value in EMPTY_VALUES:
            return missing
        name = validator(value)
        if not name:
            raise InvalidValue("required")
        return name

    return to_name


def to_repeatable(value: Any) -> bool:
    """Return whether the event counts up, as `to_bool` does; null is the default, true."""
    return True if value is None else to_bool(value)


def to_object_text(value: Any) -> str:
    """Convert a JSON object to its text with sorted keys.

    Raises:
        InvalidValue: not an object, over 64 KB as PostgreSQL writes it, over 300 keys in one
            object inside, or as `checked_json`.
    """
    if not isinstance(value, dict):
        value = to_json_object(value)
    if not value:
        return EMPTY_OBJECT
    body = checked_json(value, orjson.OPT_SORT_KEYS)
    if stored_size(value, body) > MAX_OBJECT_BYTES:
        raise InvalidValue("max", "The {field} may not be greater than 64 KB.")
    if body.count(b":") > MAX_KEYS_PER_OBJECT and max_keys(value) > MAX_KEYS_PER_OBJECT:
        message = f"The {{field}} may not have more than {MAX_KEYS_PER_OBJECT} keys."
        raise InvalidValue("keys", message)
    return body.decode()


def to_occurred_at(value: Any) -> datetime | None:
    """Convert to when an event happened; null and "" are None.

    Raises:
        InvalidValue: not a datetime, before 1970, or more than a day ahead.
    """
    occurred_at = to_strict_datetime(value)
    # Django's now() takes ten times as long as time().
    if occurred_at is None or 0 <= occurred_at.timestamp() <= time() + MAX_SECONDS_AHEAD:
        return occurred_at
    raise InvalidValue("between", "The {field} must be between 1970 and a day ahead.")


def to_idempotency_key(value: Any) -> str:
    """Convert to an idempotency key of 1 to 255 characters; null is "".

    Raises:
        InvalidValue: blank, or longer.
    """
    if value is None:
        return ""
    key = to_text(value)
    if not key.strip(WHITESPACE):
        raise InvalidValue("min", "The {field} must be at least 1 character.")
    if len(key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        message = f"The {{field}} may not be greater than {MAX_IDEMPOTENCY_KEY_LENGTH} characters."
        raise InvalidValue("max", message)
    return key


class EventField(NamedTuple):
    """A field of a request: its validator, and its description in OpenAPI."""

    validator: Validator
    description: serializers.Field[Any, Any, Any, Any]


def _name() -> EventField:
    description = serializers.CharField(min_length=1, max_length=MAX_NAME_LENGTH)
    return EventField(nullable_line(MAX_NAME_LENGTH), description)


# FluentCRM's fields (app/Api/Classes/Tracker.php, track), then those of Tallybook.
EVENT_FIELDS: dict[str, EventField] = {
    "event_key": _name(),
    "title": _name(),
    "value": EventField(
        to_value_text,
        serializers.CharField(required=False, allow_blank=True, max_length=MAX_VALUE_LENGTH),
    ),
    "provider": EventField(
        nullable_line(MAX_PROVIDER_LENGTH),
        serializers.CharField(required=False, allow_blank=True, max_length=MAX_PROVIDER_LENGTH),
    ),
    "subscriber_id": EventField(
        contact_name(to_bigint, 0), serializers.IntegerField(required=False, min_value=0)
    ),
    "email": EventField(contact_name(to_email, ""), serializers.CharField(required=False)),
    "user_id": EventField(
        contact_name(to_user_id, ""),
        serializers.CharField(
            required=False,
            max_length=MAX_NAME_LENGTH,
            help_text="The id that your program gave the contact.",
        ),
    ),
    "repeatable": EventField(to_repeatable, serializers.BooleanField(required=False)),
    "properties": EventField(
        json_text_or(to_object_text),
        serializers.DictField(required=False, help_text="Any data that belongs to the event."),
    ),
    "context": EventField(
        json_text_or(to_object_text),
        serializers.DictField(
            required=False,
            help_text="Where the event came from: url, referrer, ip, user agent, utm_*.",
        ),
    ),
    "occurred_at": EventField(
        to_occurred_at,
        serializers.CharField(
            required=False,
            help_text="ISO 8601, or YYYY-MM-DD HH:MM:SS in TIME_ZONE. Default: now.",
        ),
    ),
    "idempotency_key": EventField(
        to_idempotency_key,
        serializers.CharField(
            required=False,
            min_length=1,
            max_length=MAX_IDEMPOTENCY_KEY_LENGTH,
            help_text="A second request with the same key counts nothing.",
        ),
    ),
}
VALIDATORS = {name: field.validator for name, field in EVENT_FIELDS.items()}
# The names of a contact, of which the first that is not empty decides, and no later one is read.
CONTACT_NAMES = ("subscriber_id", "email", "user_id")
VALIDATORS_BY_NAME = {
    name: {field: VALIDATORS[field] for field in VALIDATORS if field not in CONTACT_NAMES[number:]}
    for number, name in enumerate(CONTACT_NAMES, start=1)
}


# What other programs' events have. Tallybook reads none of them, and an event is refused that has
# one, because a history under `timestamp` would count as of now.
FOREIGN_FIELDS = {
    **dict.fromkeys(
        ("timestamp", "time", "created_at"),
        "The {field} is not read: send the time as occurred_at.",
    ),
    "counter": "The {field} is not read: each event counts one.",
}


def foreign_fields(data: Mapping[str, Any]) -> FieldErrors:
    """Return the errors of fields that a program means, but that are not read."""
    if FOREIGN_FIELDS.keys().isdisjoint(data):
        return {}
    return {
        field: {"unknown": message.format(field=field)}
        for field, message in FOREIGN_FIELDS.items()
        if not is_empty(data.get(field))
    }


def without_foreign_fields(data: Mapping[str, Any], warnings: Warnings) -> Mapping[str, Any]:
    """Return the fields of FluentCRM's call, which ignores unknown ones, and warn of the foreign.

    Args:
        data: the fields as sent.
        warnings: collects a warning for each of FOREIGN_FIELDS.
    """
    errors = foreign_fields(data)
    if not errors:
        return data
    warnings += [
        {"field": field, "rule": rule, "message": message}
        for field, rules in errors.items()
        for rule, message in rules.items()
    ]
    return {field: value for field, value in data.items() if field not in errors}


def parse_event(
    data: Mapping[str, Any],
    repeatable: bool = True,
    idempotency_key: str | None = None,
    warnings: Warnings | None = None,
) -> EventFields:
    """Validate the fields of an event: their shape only, without the database.

    The first of subscriber_id, email and user_id that is not empty names the contact, in
    FluentCRM's order, and a later one may be anything. See tests/conformance/track-event.json:
    "subscriber_id wins over email".

    Args:
        data: the fields as sent; unknown ones are ignored but for FOREIGN_FIELDS.
        repeatable: false makes a row of its own, as `repeatable` in `data` does.
        idempotency_key: replaces the one in `data`.
        warnings: collects a warning for each text that is cut.

    Raises:
        InvalidFields: 422 with all invalid fields, or with all of FOREIGN_FIELDS.
    """
    # A tuple, because making a union for each event is slow. Dict first, because it is quicker.
    if not isinstance(data, (dict, Mapping)):
        data = {}  # so that the required fields are named
    if errors := foreign_fields(data):
        raise InvalidFields(errors)
    if idempotency_key is not None:
        data = ChainMap({"idempotency_key": idempotency_key}, data)  # type: ignore[arg-type]
    told: Warnings = [] if warnings is None else warnings
    named_by = "user_id"
    for name in CONTACT_NAMES:
        if data.get(name) not in EMPTY_VALUES:
            named_by = name
            break
    values = validate(VALIDATORS_BY_NAME[named_by], data, ("event_key", "title"), told)
    values["provider"] = values.get("provider") or DEFAULT_PROVIDER
    values["repeatable"] = repeatable and values.get("repeatable", True)
    return EventFields(**values)
