"""Import rows of a file as events of the past, without a job."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from events.models import EventOccurrence, TrackedEvent
from events.tracking.fields import parse_event
from events.tracking.imported_counts import ImportedCount, import_counts
from events.tracking.imports import EventChunk, Imported, Outcome, PastEvent, import_events
from events.tracking.row_keys import RowKeys
from transfers.events import EventRow

FILE = b"a file"
SOURCE = "shop"


def past_events(rows: Sequence[Mapping[str, Any]], file: bytes = FILE) -> list[PastEvent]:
    """Return the rows of a file with their keys."""
    keys = RowKeys(file)
    fields = [parse_event(row) for row in rows]
    return [PastEvent(each, *keys.keyed(each, number)) for number, each in enumerate(fields)]


def import_rows(
    rows: Sequence[Mapping[str, Any]], file: bytes = FILE, source: str = SOURCE
) -> list[Outcome]:
    """Import the rows of a file in one chunk."""
    with transaction.atomic():
        return import_events(EventChunk(past_events(rows, file), source))


def import_lines(lines: Sequence[EventRow], source: str = SOURCE) -> list[Outcome]:
    """Import lines of an export of Tallybook, counters first."""
    events = [line.event for line in lines]
    counts = [event for event in events if isinstance(event, ImportedCount)]
    past = [event for event in events if isinstance(event, PastEvent)]
    with transaction.atomic():
        counted = import_counts(counts, source)
        return counted + import_events(EventChunk(past, source))


def added(outcomes: Sequence[Outcome]) -> list[Any]:
    """Return what each outcome added, or the name of its error."""
    return [
        outcome.added if isinstance(outcome, Imported) else type(outcome).__name__
        for outcome in outcomes
    ]


def events() -> list[tuple[Any, ...]]:
    """Return key, title, value, counter and unlogged of all events, by id."""
    columns = ("event_key", "title", "value", "counter", "unlogged")
    return list(TrackedEvent.objects.order_by("id").values_list(*columns))


def occurrences() -> list[tuple[Any, ...]]:
    """Return value and counter of all occurrences, by id."""
    return list(EventOccurrence.objects.order_by("id").values_list("value", "counter"))
