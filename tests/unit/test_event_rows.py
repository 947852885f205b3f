"""transfers.events: which rows of a file are events, and which are counters."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.tracking.fields import EventFields
from events.tracking.imported_counts import ImportedCount
from events.tracking.imports import PastEvent
from events.tracking.row_keys import RowKeys
from transfers.columns import EVENT_TARGETS, IGNORE
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


CELLS: tuple[Any, ...] = (
    *("", " ", "0", "#N/A", "# 1", "{}", "null", "[]", "a@example.com", " Ä@Ex.com\xa0", "a@b"),
    *(
        "ada@example.com",
        "k\n k",
        "x" * 200,
        "1,5",
        "4.9E+12",
        "17",
        "no",
        "true",
        "\0",
        "2024-01-31",
    ),
    *("2024-01-31", "2024-01-01 10:00:00", "1969-01-01 00:00", "45000"),
    *('{"b": 2.0, "a": [1]}', '{"a": NaN}'),
    *(None, 0, 1, 1.0, True, False, 2.5, [], {}, {"a": 1}, ["x"], datetime(2024, 1, 1, tzinfo=UTC)),
)


@given(
    st.dictionaries(st.sampled_from(EVENT_TARGETS), st.sampled_from(CELLS)),
    st.sampled_from([Options(), Options(decimal_mark=",", date_order="dmy", zone="Asia/Tokyo")]),
)
def test_a_plain_row_is_read_as_the_others(values: dict[str, Any], options: Options) -> None:
    values = {"event_key": "k", "email": "ada@example.com"} | values
    mapping = EventMapping({name: name for name in values}, options)
    row = Row(1, 2, values)
    plain, *again = (read_event(row, mapping, RowKeys(b"f")) for _ in range(2))
    with patch.object(mapping, "plain_event", return_value=None):
        assert [read_event(row, mapping, RowKeys(b"f"))] * 2 == [plain, *again]


def test_a_row_of_texts_is_plain() -> None:
    values = {
        "email": "Ada@example.com",
        "event_key": "bought",
        "value": " 9,50",
        "occurred_at": "31.01.2024 10:00",
        "properties": '{"b": 1, "a": 2}',
        "note": "ignored",
    }
    options = Options(decimal_mark=",", date_order="dmy", zone="Asia/Tokyo")
    mapping = {name: name for name in values} | {"note": IGNORE}
    assert EventMapping(mapping, options).plain_event(values) == EventFields(
        event_key="bought",
        title="bought",
        value="9.50",
        provider="custom",
        subscriber_id=0,
        email="Ada@example.com",
        user_id="",
        repeatable=True,
        properties='{"a":2,"b":1}',
        context="{}",
        occurred_at=datetime(2024, 1, 31, 1, tzinfo=UTC),
        idempotency_key="",
    )


def test_a_row_that_cannot_be_read_is_an_error() -> None:
    row = Row(1, 2, {}, RowError("cells", "Too few."))
    read_row = read_event(row, EventMapping({}, Options()), RowKeys(b"f"))
    assert read_row.errors == {"row": {"cells": "Too few."}}
