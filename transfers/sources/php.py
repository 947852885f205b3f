"""Read what PHP's serialize() writes: null, booleans, numbers, texts and arrays.

See https://www.php.net/manual/en/function.serialize.php. Objects and references are rejected,
because FluentCRM stores none, and nothing of a foreign store should become more than data.
"""

import re
from typing import Any

MAX_DEPTH = 50
NUMBER = re.compile(rb"([bid]):([^;{}]{1,40});")
LENGTH = re.compile(rb"[sa]:(\d{1,9}):")
SERIALIZED = re.compile(r"(?:N;|[bid]:[^;]{1,40};|[sa]:\d{1,9}:)")


class NotSerialized(Exception):
    """A text is not what serialize() writes, or holds an object."""


def unserialize(data: bytes) -> Any:
    """Return the value of a serialized text. Arrays are lists if their keys count from 0.

    Raises:
        NotSerialized: it is truncated, damaged, or holds an object.
    """
    try:
        value, end = _read(data, 0, 0)
    except (IndexError, ValueError):
        raise NotSerialized from None
    if end != len(data):
        raise NotSerialized
    return value


def maybe_unserialize(text: str) -> Any:
    """Return the value of a text that may be serialized, as WordPress's maybe_unserialize."""
    if not SERIALIZED.match(text):
        return text
    try:
        return unserialize(text.encode())
    except NotSerialized:
        return text


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a position, and the position behind it."""
    if depth > MAX_DEPTH:
        raise NotSerialized
    if data[at : at + 2] == b"N;":
        return None, at + 2
    if match := NUMBER.match(data, at):
        return _number(match[1], match[2]), match.end()
    if not (match := LENGTH.match(data, at)):
        raise NotSerialized
    length, start = int(match[1]), match.end()
    if data[at : at + 1] == b"s":
        end = start + 1 + length
        if data[start : start + 1] != b'"' or data[end : end + 2] != b'";':
            raise NotSerialized
        return data[start + 1 : end].decode(errors="replace"), end + 2
    if data[start : start + 1] != b"{":
        raise NotSerialized
    return _array(data, start + 1, length, depth + 1)


def _number(kind: bytes, text: bytes) -> bool | int | float:
    if kind == b"b":
        return text == b"1"
    return int(text) if kind == b"i" else float(text)


def _array(data: bytes, at: int, length: int, depth: int) -> tuple[Any, int]:
    found: dict[Any, Any] = {}
    for _ in range(length):
        key, at = _read(data, at, depth)
        if type(key) not in (int, str):
            raise NotSerialized
        found[key], at = _read(data, at, depth)
    if data[at : at + 1] != b"}":
        raise NotSerialized
    if [*found] == [*range(len(found))]:
        return [*found.values()], at + 1
    return {str(key): value for key, value in found.items()}, at + 1
