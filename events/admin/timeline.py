"""A contact's timeline as people read it: by days, with what there is to unfold."""

import json
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import groupby
from typing import Any, NamedTuple

from django.utils import timezone

from events.history import Occurrence

# What is shown of a long text; the page of the occurrence has all of it.
LONGEST_LINE = 120
LONGEST_TEXT = 4000


class Text(NamedTuple):
    """The beginning of a text, and how many characters follow."""

    shown: str
    more: int


class Entry(NamedTuple):
    """An occurrence; `properties` and `context` are names with what they are."""

    occurrence: Occurrence
    value_line: Text
    value: Text
    properties: list[tuple[str, Text]]
    context: list[tuple[str, Text]]


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
        cut(occurrence.value, LONGEST_LINE),
        cut(occurrence.value, LONGEST_TEXT),
        _pairs(occurrence.properties),
        _pairs(occurrence.context),
    )


def cut(text: str, longest: int) -> Text:
    """The beginning of a text."""
    return Text(text[:longest], max(0, len(text) - longest))


def _pairs(text: str) -> list[tuple[str, Text]]:
    """A JSON object as names and texts; what is no text is shown as JSON."""
    values: dict[str, Any] = json.loads(text)
    pairs, left = [], LONGEST_TEXT
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        pairs.append((name, cut(shown, max(left, 0))))
        left -= len(name) + len(shown)
    return pairs
