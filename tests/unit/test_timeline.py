"""events.admin.timeline: the days and texts of a contact's timeline."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from events.admin.timeline import Entry, Truncated, group_by_day, truncate
from events.history import Occurrence

NOON = datetime(2024, 7, 15, 12, tzinfo=UTC)


def occurrence(occurred_at: datetime = NOON, **fields: Any) -> Occurrence:
    """Return an occurrence with these fields."""
    values: dict[str, Any] = {
        "id": 1,
        "event_id": 1,
        "event_key": "checkout",
        "title": "Order placed",
        "provider": "custom",
        "value": "",
        "properties": "{}",
        "context": "{}",
        "counter": 1,
    }
    return Occurrence(**(values | fields), occurred_at=occurred_at, received_at=occurred_at)


def entry(**fields: Any) -> Entry:
    """Return the entry of an occurrence with these fields."""
    ((_, (only,)),) = group_by_day([occurrence(**fields)])
    return only


@pytest.mark.parametrize(
    ("text", "start", "more"),
    [("", "", 0), ("abc", "abc", 0), ("abcde", "abcde", 0), ("abcdefg", "abcde", 2)],
)
def test_a_long_text_is_truncated(text: str, start: str, more: int) -> None:
    assert truncate(text, 5) == Truncated(start, more)


def test_occurrences_are_grouped_by_their_date_in_time_zone(berlin: None) -> None:
    days = group_by_day(
        [
            occurrence(datetime(2024, 7, 15, 22, 0, tzinfo=UTC), id=3),
            occurrence(datetime(2024, 7, 15, 21, 59, tzinfo=UTC), id=2),
            occurrence(datetime(2024, 7, 14, 22, 0, tzinfo=UTC), id=1),
        ]
    )
    assert [(day, [entry.occurrence.id for entry in entries]) for day, entries in days] == [
        (date(2024, 7, 16), [3]),
        (date(2024, 7, 15), [2, 1]),
    ]


def test_no_occurrences_have_no_days() -> None:
    assert list(group_by_day([])) == []


def test_the_line_of_a_value_has_120_characters_and_its_text_4000() -> None:
    long = entry(value="a" * 5000)
    assert long.value_line == Truncated("a" * 120, 4880)
    assert long.value == Truncated("a" * 4000, 1000)


def test_properties_and_context_are_pairs_in_their_order() -> None:
    one = entry(properties='{"b": "x", "a": "y"}', context='{"url": "/cart"}')
    assert one.properties == [("b", Truncated("x", 0)), ("a", Truncated("y", 0))]
    assert one.context == [("url", Truncated("/cart", 0))]


@pytest.mark.parametrize(
    ("json_text", "text"),
    [
        ("5", "5"),
        ("1.5", "1.5"),
        ("null", "null"),
        ("true", "true"),
        ('"5"', "5"),
        ('["ä", 1]', '[\n  "ä",\n  1\n]'),
        ('{"b": {}}', '{\n  "b": {}\n}'),
    ],
)
def test_a_property_that_is_no_text_is_shown_as_json(json_text: str, text: str) -> None:
    assert entry(properties=f'{{"a": {json_text}}}').properties == [("a", Truncated(text, 0))]


def test_properties_have_at_most_4000_characters_together() -> None:
    one = entry(properties=f'{{"a": "{"x" * 3000}", "b": "{"y" * 3000}", "c": "z"}}')
    assert one.properties == [
        ("a", Truncated("x" * 3000, 0)),
        ("b", Truncated("y" * 999, 2001)),
        ("c", Truncated("", 1)),
    ]
