"""crm.filters.operators: the values of conditions. Their SQL is tested in tests/api."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from config.api.validation import Validator
from crm.filters.operators import (
    non_empty_list,
    one_or_list,
    start_of_day,
    to_date_or_datetime,
    to_days,
    to_hours,
    to_line,
    to_number,
    to_plain_date,
    to_scalar,
    to_whole_number,
)
from tests.unit.rejections import rejection, rule


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (" a ", " a "), (5, "5"), (2.0, "2"), (None, "")]
)
def test_texts_and_numbers_are_scalars(value: Any, text: str) -> None:
    assert to_scalar(value) == text


@pytest.mark.parametrize("validator", [to_scalar, to_line])
@pytest.mark.parametrize("value", [True, False, ["a"], {"a": 1}, "a\0b"])
def test_other_values_are_no_scalars(validator: Validator, value: Any) -> None:
    assert rule(validator, value) == "string"


@pytest.mark.parametrize(("value", "line"), [(" Ada \n King ", "Ada King"), (5, "5"), (" ", "")])
def test_the_whitespace_of_a_line_is_folded(value: Any, line: str) -> None:
    assert to_line(value) == line


def test_a_line_is_cut_at_65535_characters() -> None:
    assert to_line("a" * 65_536) == "a" * 65_535


def test_each_item_of_a_list_is_converted() -> None:
    assert non_empty_list(to_line)([" a ", 5]) == ["a", "5"]


def test_a_list_of_1000_values_is_accepted() -> None:
    assert len(non_empty_list(to_line)(["a"] * 1000)) == 1000


def test_a_list_of_more_than_1000_values_is_rejected() -> None:
    message = "The field may not have more than 1000 items."
    assert rejection(non_empty_list(to_line), ["a"] * 1001) == {"max": message}


@pytest.mark.parametrize("value", ["a", 5, None, {"a": 1}])
def test_other_values_are_no_list(value: Any) -> None:
    assert rule(non_empty_list(to_line), value) == "array"


@pytest.mark.parametrize("item", ["", "  ", None])
def test_an_empty_item_of_a_list_is_rejected(item: Any) -> None:
    message = "The field may not have empty items."
    assert rejection(non_empty_list(to_line), ["a", item]) == {"required": message}


@pytest.mark.parametrize(("value", "items"), [("a", ["a"]), (5, ["5"]), (["a", "b"], ["a", "b"])])
def test_one_value_is_accepted_as_a_list(value: Any, items: list[str]) -> None:
    assert one_or_list(to_line)(value) == items


def test_an_object_is_not_accepted_as_a_list() -> None:
    assert rule(one_or_list(to_line), {"a": 1}) == "array"


@pytest.mark.parametrize(("value", "number"), [(0, 0), ("7", 7), (2**63 - 1, 2**63 - 1)])
def test_whole_numbers_from_0_are_accepted(value: Any, number: int) -> None:
    assert to_whole_number(value) == number


@pytest.mark.parametrize("value", [True, False, -1, 1.5, "1.0", "", None, 2**63])
def test_other_values_are_no_whole_number(value: Any) -> None:
    assert rule(to_whole_number, value) == "numeric"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, "5"),
        (-1.5, "-1.5"),
        ("+1.50", "1.50"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1E+3"),
        ("1E-999", "1E-999"),
        (1e300, "1E+300"),
        ("9" * 100, "9" * 100),
    ],
)
def test_numbers_are_exact(value: Any, number: str) -> None:
    assert str(to_number(value)) == number
    assert isinstance(to_number(value), Decimal)


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "e5", "1e", "1e1000", "1_000", "0x1", "NaN", "Infinity", " 5", "5 ", "1,5"),
        *("٣", "5\n", "9" * 101, True, False, None, [], [5], {}),
    ],
)
def test_other_values_are_no_number(value: Any) -> None:
    assert rule(to_number, value) == "numeric"


@pytest.mark.parametrize(("value", "days"), [(0, 0), ("7", 7), (36_500, 36_500)])
def test_days_are_accepted_up_to_a_hundred_years(value: Any, days: int) -> None:
    assert to_days(value) == days


def test_more_days_are_rejected() -> None:
    message = "The field must be a number of days from 0 to 36500."
    assert rejection(to_days, 36_501) == {"numeric": message}


@pytest.mark.parametrize(("value", "hours"), [(1, 1), ("36", 36), (876_000, 876_000)])
def test_hours_are_accepted_up_to_a_hundred_years(value: Any, hours: int) -> None:
    assert to_hours(value) == hours


@pytest.mark.parametrize("value", [0, 876_001])
def test_no_hours_and_more_hours_are_rejected(value: int) -> None:
    message = "The field must be a number of hours from 1 to 876000."
    assert rejection(to_hours, value) == {"numeric": message}


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2024-02-29", date(2024, 2, 29)),
        (" 2024-02-29\n", date(2024, 2, 29)),
        ("0002-01-01", date(2, 1, 1)),
        ("9998-12-31", date(9998, 12, 31)),
    ],
)
def test_a_plain_date_has_no_time(value: str, day: date) -> None:
    assert to_plain_date(value) == day


@pytest.mark.parametrize(
    "value",
    [
        *("2024-02-30", "2024-2-9", "20240229", "2024-02-29 00:00", "2024-02-29T00:00:00Z"),
        *("0001-12-31", "9999-01-01", "", None, 20240229, True, ["2024-02-29"]),
    ],
)
def test_other_values_are_no_plain_date(value: Any) -> None:
    assert rule(to_plain_date, value) == "date"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-07-15", datetime(2024, 7, 14, 22, tzinfo=UTC)),
        ("2024-07-15 12:00", datetime(2024, 7, 15, 10, tzinfo=UTC)),
        ("2024-07-15T12:00:00Z", datetime(2024, 7, 15, 12, tzinfo=UTC)),
    ],
)
def test_a_date_stands_for_its_start_in_time_zone(
    berlin: None, value: str, moment: datetime
) -> None:
    assert to_date_or_datetime(value) == moment


@pytest.mark.parametrize("value", ["2024-02-30", "2024-07", "2024-07-15 12", "12:00", 5, True, []])
def test_other_values_are_neither_date_nor_datetime(value: Any) -> None:
    assert rule(to_date_or_datetime, value) == "date"


@pytest.mark.parametrize(
    ("day", "start"),
    [
        (date(2024, 3, 31), datetime(2024, 3, 30, 23, tzinfo=UTC)),
        (date(2024, 4, 1), datetime(2024, 3, 31, 22, tzinfo=UTC)),
    ],
)
def test_a_day_starts_at_midnight_in_time_zone(berlin: None, day: date, start: datetime) -> None:
    assert start_of_day(day) == start
