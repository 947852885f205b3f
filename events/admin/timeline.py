"""Prepare a contact's timeline for its template: by days, with long texts truncated."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from django.utils import timezone

from events.history import Occurrence

# Characters of a text that are shown. The page of the occurrence has all of it.
MAX_LINE_LENGTH = 120
MAX_TEXT_LENGTH = 4000


class Truncated(NamedTuple):
    """The start of a text, and the number of characters that follow."""

    start: str
    more: int


class Entry(NamedTuple):
    """An occurrence; `properties` and `context` are pairs of name and text."""

    occurrence: Occurrence
    value_line: Truncated
    value: Truncated
    properties: list[tuple[str, Truncated]]
    context: list[tuple[str, Truncated]]


class Day(NamedTuple):
    """The occurrences of one date in TIME_ZONE, the newest first."""

    day: date
    entries: list[Entry]


def group_by_day(occurrences: Iterable[Occurrence]) -> Iterator[Day]:
    """Group occurrences, the newest first, by the date on which they happened."""

    def happened_on(occurrence: Occurrence) -> date:
        return timezone.localdate(occurrence.occurred_at)

    for day, rows in groupby(occurrences, happened_on):
        yield Day(day, [_entry(occurrence) for occurrence in rows])


def truncate(text: str, max_length: int) -> Truncated:
    """Return the start of a text."""
    return Truncated(text[:max_length], max(0, len(text) - max_length))


def _entry(occurrence: Occurrence) -> Entry:
    return Entry(
        occurrence,
        truncate(occurrence.value, MAX_LINE_LENGTH),
        truncate(occurrence.value, MAX_TEXT_LENGTH),
        _pairs(occurrence.properties),
        _pairs(occurrence.context),
    )


def _pairs(text: str) -> list[tuple[str, Truncated]]:
    """Return the names and texts of a JSON object, at most MAX_TEXT_LENGTH characters together."""
    values: dict[str, Any] = json.loads(text)
    pairs, remaining = [], MAX_TEXT_LENGTH
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        pairs.append((name, truncate(text, max(remaining, 0))))
        remaining -= len(name) + len(text)
    return pairs
