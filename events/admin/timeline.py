"""A contact's timeline as people read it: by days, with what there is to unfold."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from django.utils import timezone

from events.history import Occurrence

# What is shown of a long text; the page of the occurrence has all of it.
MAX_LINE_LENGTH = 120
MAX_TEXT_LENGTH = 4000


class Truncated(NamedTuple):
    """The beginning of a text, and how many characters follow."""

    shown: str
    more: int


class Entry(NamedTuple):
    """An occurrence; `properties` and `context` are names with what they are."""

    occurrence: Occurrence
    value_line: Truncated
    value: Truncated
    properties: list[tuple[str, Truncated]]
    context: list[tuple[str, Truncated]]


class Day(NamedTuple):
    """The occurrences of one day of TIME_ZONE, the newest first."""

    day: date
    entries: list[Entry]


def days_of(occurrences: Iterable[Occurrence]) -> Iterator[Day]:
    """Occurrences, the newest first, by the days they happened on."""
    for day, found in groupby(occurrences, lambda one: timezone.localdate(one.occurred_at)):
        yield Day(day, [_entry(occurrence) for occurrence in found])


def _entry(occurrence: Occurrence) -> Entry:
    return Entry(
        occurrence,
        truncate(occurrence.value, MAX_LINE_LENGTH),
        truncate(occurrence.value, MAX_TEXT_LENGTH),
        _pairs(occurrence.properties),
        _pairs(occurrence.context),
    )


def truncate(text: str, longest: int) -> Truncated:
    """The beginning of a text."""
    return Truncated(text[:longest], max(0, len(text) - longest))


def _pairs(text: str) -> list[tuple[str, Truncated]]:
    """A JSON object as names and texts; what is no text is shown as JSON."""
    values: dict[str, Any] = json.loads(text)
    pairs, left = [], MAX_TEXT_LENGTH
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        pairs.append((name, truncate(shown, max(left, 0))))
        left -= len(name) + len(shown)
    return pairs
