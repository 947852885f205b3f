"""Request fields that are JSON: how deep, with what inside, and how large once stored."""

import re
from decimal import Decimal
from typing import Any

import orjson

from config.api.validation import NUL_MESSAGE, InvalidValue, Validator, to_list

MAX_JSON_DEPTH = 10
# orjson writes 254 levels.
MAX_ECHO_DEPTH = 100
EXPONENT = re.compile(rb"[0-9]e[+-]?[0-9]")


def to_json_object(value: Any) -> dict[str, Any]:
    """A JSON object of at most ten levels and without NUL; an empty list is PHP's empty object.

    Raises Wrong.
    """
    if value in (None, "", []):
        return {}
    if not isinstance(value, dict):
        raise InvalidValue("object")
    check_json(value)
    return value


def check_json(value: Any) -> None:
    """Raises Wrong for a NUL in any text or key inside a JSON value, and beyond ten levels."""
    waiting = [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        if isinstance(item, str):
            if "\0" in item:
                raise InvalidValue("string", NUL_MESSAGE)
        elif isinstance(item, dict | list):
            if level > MAX_JSON_DEPTH:
                raise InvalidValue("depth")
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            waiting += [(part, level + 1) for part in inner]


def json_text_or(read: Validator) -> Validator:
    """A reader of what `read` takes, also as JSON text: in a form, FluentCRM sends it so."""

    def reader(value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return read(value)
        try:
            return read(orjson.loads(value))
        except orjson.JSONDecodeError:
            raise InvalidValue("json") from None

    return reader


def to_shallow_list(value: Any) -> list[Any]:
    """As `items`, for items that an answer repeats: it can be nested no deeper. Raises Wrong."""
    found = to_list(value)
    level = found
    for _ in range(MAX_ECHO_DEPTH):
        lists = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, dict | list)
        ]
        level = [part for inner in lists for part in inner]
        if not level:
            return found
    raise InvalidValue(
        "depth", f"The {{field}} may not be nested deeper than {MAX_ECHO_DEPTH} levels."
    )


def to_fields(value: Any) -> dict[str, Any]:
    """A JSON object of request fields; what PHP calls empty is none. Raises Wrong."""
    if value is None or value in ("", [], {}, 0):
        return {}
    if not isinstance(value, dict):
        raise InvalidValue("object")
    return value


def stored_size(value: Any, body: bytes) -> int:
    """How many bytes PostgreSQL writes for a JSON value whose JSON is `body`."""
    return len(body) + (_expansion(value) if EXPONENT.search(body) else 0)


def _expansion(value: Any) -> int:
    """How many characters longer PostgreSQL writes the numbers inside: 1e308 has 309 digits."""
    if isinstance(value, float):
        return max(0, len(f"{Decimal(repr(value)):f}") - len(repr(value)))
    inner = value.values() if isinstance(value, dict) else value
    return sum(map(_expansion, inner)) if isinstance(value, dict | list) else 0
