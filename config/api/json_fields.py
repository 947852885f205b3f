"""Validate request fields that hold JSON: their depth, their texts and their stored size."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from config.api.errors import InvalidJSON
from config.api.validation import NUL_MESSAGE, InvalidValue, Validator, check_number, to_list

MAX_JSON_DEPTH = 10
# Of an object that is stored: of properties, of a context, of a contact's custom values.
MAX_OBJECT_BYTES = 64 * 1024
MAX_KEYS_PER_OBJECT = 300
# orjson writes 254 levels, and a response wraps the items in some of its own.
MAX_ECHO_DEPTH = 100
# Of JSON and of Python. A tuple, because making a union for each value is slow.
CONTAINERS = (dict, list, tuple)
EXPONENT = re.compile(rb"[0-9]e[+-]?[0-9]")


def to_json_object(value: Any) -> dict[str, Any]:
    """Return a JSON object of at most ten levels; null, "" and [] are PHP's empty object.

    Raises:
        InvalidValue: not an object, or as `check_json`.
    """
    if value in (None, "", []):
        return {}
    if not isinstance(value, dict):
        raise InvalidValue("object")
    check_json(value)
    return value


def check_json(value: Any) -> None:
    """Check that a JSON value is at most ten levels deep and has no NUL in a text or key.

    Raises:
        InvalidValue: otherwise, or as `check_number`.
    """
    pending = [(value, 1)]
    while pending:
        item, level = pending.pop()
        if isinstance(item, str):
            if "\0" in item:
                raise InvalidValue("string", NUL_MESSAGE)
        elif isinstance(item, float):
            check_number(item)
        elif isinstance(item, CONTAINERS):
            if level > MAX_JSON_DEPTH:
                raise InvalidValue("depth")
            children = [*item, *item.values()] if isinstance(item, dict) else item
            pending += [(child, level + 1) for child in children]


def checked_json(value: Any, option: int | None = None) -> bytes:
    """Return the JSON text of a value that `check_json` accepts.

    Args:
        value: the value.
        option: of orjson.dumps.

    Raises:
        InvalidValue: as `check_json`, or from Python: not JSON, or a whole number over 64 bits.
    """
    try:
        body = orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:
        check_json(value)
        raise InvalidValue("json") from None
    # The text of most values shows that they are accepted, which takes a tenth of the time. NaN and
    # infinity are null in it.
    is_shallow = body.count(b"{") + body.count(b"[") <= MAX_JSON_DEPTH
    if not is_shallow or b"\\u0000" in body or b"null" in body:
        check_json(value)
    return body


def json_text_or(validator: Validator, read: Callable[[str], Any] = orjson.loads) -> Validator:
    """Return a validator that accepts JSON text as well, because FluentCRM's forms send it so.

    Args:
        validator: validates the value.
        read: parses the text, such as `read_items` for a list whose items have an outcome each.

    Raises:
        InvalidValue: by the returned validator, for a text that is not JSON.
    """

    def parse_and_validate(value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return validator(value)
        try:
            parsed = read(value)
        except (orjson.JSONDecodeError, InvalidJSON):
            raise InvalidValue("json") from None
        return validator(parsed)

    return parse_and_validate


def to_shallow_list(value: Any) -> list[Any]:
    """Return a list as `to_list` does, of items shallow enough to be repeated in a response.

    Raises:
        InvalidValue: an item is nested deeper than 100 levels.
    """
    items = to_list(value)
    level = items
    for _ in range(MAX_ECHO_DEPTH):
        containers = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, dict | list)
        ]
        level = [child for container in containers for child in container]
        if not level:
            return items
    raise InvalidValue(
        "depth", f"The {{field}} may not be nested deeper than {MAX_ECHO_DEPTH} levels."
    )


def to_fields(value: Any) -> dict[str, Any]:
    """Return a JSON object of request fields; PHP's empty values are the empty object.

    Raises:
        InvalidValue: any other value that is not an object.
    """
    if value is None or value in ("", [], {}, 0):
        return {}
    if not isinstance(value, dict):
        raise InvalidValue("object")
    return value


def max_keys(value: Any) -> int:
    """Return the number of keys of the largest object inside a JSON value."""
    if isinstance(value, dict):
        return max(len(value), *map(max_keys, value.values()), 0)
    return max(map(max_keys, value), default=0) if isinstance(value, list | tuple) else 0


def stored_size(value: Any, body: bytes) -> int:
    """Return the bytes that PostgreSQL writes for a JSON value whose JSON text is `body`."""
    return len(body) + (_expansion(value) if EXPONENT.search(body) else 0)


def _expansion(value: Any) -> int:
    """Count the characters that jsonb adds to the numbers inside: 1e308 becomes 309 digits."""
    if isinstance(value, float):
        return max(0, len(f"{Decimal(repr(value)):f}") - len(repr(value)))
    children = value.values() if isinstance(value, dict) else value
    return sum(map(_expansion, children)) if isinstance(value, CONTAINERS) else 0
