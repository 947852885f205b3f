"""events.history: the cursors of timelines."""

from datetime import UTC, datetime

import pytest

from events.history import Cursor

MOMENT = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


def test_a_cursor_is_microseconds_since_1970_and_an_id() -> None:
    assert str(Cursor(MOMENT, 42)) == "1700000000123456-42"


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        ("1700000000123456-42", Cursor(MOMENT, 42)),
        ("0-0", Cursor(datetime(1970, 1, 1, tzinfo=UTC), 0)),
        ("1-999999999999999999", Cursor(datetime(1970, 1, 1, 0, 0, 0, 1, UTC), 10**18 - 1)),
    ],
)
def test_a_cursor_can_be_parsed(text: str, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor


@pytest.mark.parametrize(
    "cursor", [Cursor(MOMENT, 42), Cursor(datetime(1970, 1, 1, tzinfo=UTC), 1)]
)
def test_a_cursor_survives_its_text(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "a-b", "-1-2", "1-2-3", " 1-2", "1-2\n", "1.5-2", "1-٢"]
)
def test_a_text_in_another_format_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Cursor.parse(text)


@pytest.mark.parametrize("text", [f"{'1' * 19}-1", f"1-{'1' * 19}"])
def test_a_number_of_more_than_18_digits_is_no_cursor(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Cursor.parse(text)


def test_a_cursor_beyond_the_year_9999_overflows() -> None:
    with pytest.raises(OverflowError):
        Cursor.parse("999999999999999999-1")
