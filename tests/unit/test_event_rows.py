"""transfers.events: which rows of a file are events, and which are counters."""

from typing import Any

import pytest

from events.tracking.imported_counts import ImportedCount
from events.tracking.imports import PastEvent
from events.tracking.row_keys import RowKeys
from transfers.conversion import EventMapping
from transfers.events import EventRow, read_event
from transfers.options import Options
from transfers.tables import Row, RowError

VALUES = {"email": "ada@example.com", "event_key": "k", "occurred_at": "2024-01-01 00:00:00"}


def read(**values: Any) -> EventRow:
    """Read a row whose columns are called as their targets."""
    row = Row(1, 2, VALUES | values)
    mapping = EventMapping({name: name for name in row.values}, Options())
    return read_event(row, mapping, RowKeys(b"f"))


@pytest.mark.parametrize("values", [{}, {"counter": ""}, {"counter": "1", "properties": {"a": 1}}])
def test_a_row_is_an_event(values: dict[str, Any]) -> None:
    event = read(**values).event
    assert isinstance(event, PastEvent)
    assert (event.fields.event_key, event.fields.title, event.counter) == ("k", "k", None)


@pytest.mark.parametrize("counter", [0, 1, "47"])
def test_a_row_with_a_counter_is_counted(counter: Any) -> None:
    counted = read(counter=counter).event
    assert isinstance(counted, ImportedCount)
    assert counted.counter == int(counter)


def test_a_row_with_a_counter_is_the_same_when_it_has_grown() -> None:
    first, second = (
        read(counter=1).event,
        read(counter=2, value="9", occurred_at="2025-01-01 00:00:00").event,
    )
    assert isinstance(first, ImportedCount)
    assert isinstance(second, ImportedCount)
    assert first.source_id == second.source_id


def test_the_key_of_a_row_with_a_counter_is_its_own() -> None:
    counted = read(counter=2, idempotency_key="row-7").event
    assert isinstance(counted, ImportedCount)
    assert counted.source_id == "row-7"


def test_a_counter_of_one_event_is_an_error() -> None:
    row = read(counter=2, context={"url": "/"})
    assert (row.event, [*row.errors]) == (None, ["counter"])


def test_a_row_that_cannot_be_read_is_an_error() -> None:
    row = Row(1, 2, {}, RowError("cells", "Too few."))
    read_row = read_event(row, EventMapping({}, Options()), RowKeys(b"f"))
    assert read_row.errors == {"row": {"cells": "Too few."}}
