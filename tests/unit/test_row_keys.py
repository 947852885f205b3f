"""events.tracking.row_keys: which rows of a file are the same event."""

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.tracking import row_keys
from events.tracking.fields import EventFields, parse_event
from events.tracking.row_keys import RowKeys, content_of

EVENT = {
    "event_key": "k",
    "title": "t",
    "email": "ada@example.com",
    "value": "1",
    "occurred_at": "2024-01-17 14:27:35",
}


def fields(**changed: Any) -> EventFields:
    return parse_event(EVENT | changed)


def keys_of(rows: list[EventFields], first: int = 0, file: bytes = b"f") -> list[str]:
    """Return the keys of rows of a file from a number on."""
    keys = RowKeys(file)
    return [keys.keyed(row, number)[0] for number, row in enumerate(rows, first)]


@pytest.mark.parametrize(
    "changed",
    [
        {"event_key": "l"},
        {"title": "u"},
        {"email": "bob@example.com"},
        {"email": "", "user_id": "ada@example.com"},
        {"email": "", "subscriber_id": 1},
        {"value": "2"},
        {"provider": "shop"},
        {"properties": {"a": 1}},
        {"context": {"a": 1}},
        {"occurred_at": "2024-01-17 14:27:35.000001"},
        {"repeatable": False},
    ],
)
def test_every_field_makes_another_event(changed: dict[str, Any]) -> None:
    assert content_of(fields(**changed)) != content_of(fields())


def test_the_idempotency_key_is_no_content() -> None:
    assert content_of(fields(idempotency_key="a")) == content_of(fields())


def test_a_content_leaves_no_garbage() -> None:
    row = fields(properties={"b": [2.0], "a": 1})
    gc.collect()
    content_of(row)
    assert gc.collect() == 0


def test_the_format_of_contents_stays() -> None:
    # Stores keep it for 90 days.
    row = fields(properties={"b": 2.0, "a": 1}, occurred_at="2024-01-17T14:27:35+01:00")
    expected = "62ee2419c165fd6bea19b2b845582a4e038cd168e8ca3a105309b83b15946e19"
    assert content_of(row).hex() == expected


def test_equal_rows_are_numbered() -> None:
    first, second, third = keys_of([fields(), fields(), fields()])
    assert len({first, second, third}) == 3
    assert keys_of([fields(), fields()], file=b"another") == [first, second]


def test_keys_begin_with_the_second_of_the_event() -> None:
    [earlier], [later] = (
        keys_of([fields(occurred_at=f"2024-01-17 14:27:{second}+00:00")]) for second in ("35.5", 36)
    )
    assert earlier.startswith("65a7e3d7-")
    assert later.startswith("65a7e3d8-")


def test_a_key_of_the_row_is_used() -> None:
    assert keys_of([fields(idempotency_key="a")]) == ["a"]


def test_rows_without_a_time_are_named_by_file_and_number() -> None:
    row = fields(occurred_at=None)
    assert keys_of([row, row]) == ["66-0", "66-1"]
    assert keys_of([row], file=b"g") == ["67-0"]


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of five rows."""
    monkeypatch.setattr(row_keys, "BLOCK", 5)


ROWS = [fields(value=value) for value in "abc"]


@pytest.mark.usefixtures("short_blocks")
@given(st.lists(st.sampled_from(ROWS), max_size=12), st.integers(0, 12))
def test_keys_go_on_at_any_row_of_two_blocks_and_the_next(rows: list[EventFields], at: int) -> None:
    first = RowKeys.first_needed(at)
    # Those of the third block follow from the two before, if no row is older.
    expected = keys_of(rows)[at:] if first == 0 else keys_of(rows[first:])[at - first :]
    assert keys_of(rows[first:], first)[at - first :] == expected


@pytest.mark.usefixtures("short_blocks")
def test_an_equal_row_in_the_next_block_is_found() -> None:
    others = [fields(value=str(number)) for number in range(4)]
    rows = [fields(), *others, *others, fields(), *others, fields()]
    keys = keys_of(rows)
    assert len({*keys}) == len(rows)


def test_the_key_of_a_counter_stays_while_it_grows() -> None:
    keys = [
        RowKeys(b"f").counted(each, 0)
        for each in (
            fields(),
            fields(value="2", provider="p", occurred_at="2025-01-01 00:00:00"),
        )
    ]
    assert keys[0] == keys[1]
    others = [fields(title="u"), fields(email="bob@example.com"), fields(repeatable=False)]
    assert len({keys[0], *(RowKeys(b"f").counted(each, 0) for each in others)}) == 4


def test_two_rows_of_one_counter_have_two_keys() -> None:
    keys = RowKeys(b"f")
    assert keys.counted(fields(), 0) != keys.counted(fields(), 1)
    assert keys.counted(fields(idempotency_key="a"), 2) == "a"
