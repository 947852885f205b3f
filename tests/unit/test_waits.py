"""automations.waits: which waits are accepted, and how they are described."""

import json
import re
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from automations.waits import Wait, describe_wait, parse_wait
from config.api.errors import InvalidFields

WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
PAGE = Path(__file__).parents[2] / "docs/reference/automations.md"
NAMES = "minutes, hours, days, weekdays, at, between, until, field, yearly, zone"


def errors(data: object, path: str = "wait") -> dict[str, dict[str, str]]:
    """Return the errors of a wait."""
    with pytest.raises(InvalidFields) as raised:
        parse_wait(data, path)
    return raised.value.detail


@pytest.mark.parametrize(
    ("data", "wait"),
    [
        ({"minutes": 1}, Wait(span=timedelta(minutes=1))),
        ({"hours": "2", "minutes": 30}, Wait(span=timedelta(minutes=150))),
        ({"hours": 87_600}, Wait(span=timedelta(days=3650))),
        ({"days": 2}, Wait(days=2)),
        ({"days": "2", "at": " 09:00 "}, Wait(days=2, at=time(9))),
        (
            {"weekdays": ["mon", "Fri", "mon"], "at": "17:30", "zone": "contact"},
            Wait(weekdays=frozenset({0, 4}), at=time(17, 30), zone="contact"),
        ),
        ({"weekdays": {"0": "sun"}, "at": "00:00"}, Wait(weekdays=frozenset({6}), at=time())),
        (
            {"hours": 2, "weekdays": WORKDAYS, "between": ["09:00", "17:00"]},
            Wait(
                span=timedelta(hours=2),
                weekdays=frozenset(range(5)),
                between=(time(9), time(17)),
            ),
        ),
        ({"until": "2026-12-24T09:00"}, Wait(until=datetime(2026, 12, 24, 9))),  # noqa: DTZ001
        ({"until": "2026-12-24 09:00:30"}, Wait(until=datetime(2026, 12, 24, 9, 0, 30))),  # noqa: DTZ001
        ({"field": "date_of_birth", "yearly": True}, Wait(field="date_of_birth", yearly=True)),
        (
            {"field": "custom_values.renewal", "days": "-3", "at": "09:00", "yearly": "no"},
            Wait(field="custom_values.renewal", days=-3, at=time(9)),
        ),
        ({"field": "created_at", "days": 0}, Wait(field="created_at")),
    ],
)
def test_each_form_of_a_wait(data: object, wait: Wait) -> None:
    assert parse_wait(data) == wait


def test_fields_that_are_null_or_empty_count_as_missing() -> None:
    data = {"days": 2, "at": "", "minutes": None, "until": "", "zone": None}
    assert parse_wait(data) == Wait(days=2)


@pytest.mark.parametrize("data", [None, 5, "2 days", [], ["days"]])
def test_a_wait_has_to_be_an_object(data: object) -> None:
    assert errors(data) == {"wait": {"object": "The wait must be an object."}}


@pytest.mark.parametrize("data", [{}, {"at": "09:00"}, {"zone": "contact"}, {"days": None}])
def test_a_wait_without_a_length_is_rejected(data: object) -> None:
    message = "The wait must have one of: field, until, minutes, hours, days, weekdays."
    assert errors(data) == {"wait": {"required": message}}


def test_weekdays_need_a_time() -> None:
    message = "The wait.at field is required."
    assert errors({"weekdays": ["mon"]}) == {"wait.at": {"required": message}}


def test_an_unknown_field_is_rejected() -> None:
    message = f"The wait.seconds is unknown. A wait has: {NAMES}."
    assert errors({"days": 2, "seconds": 5}) == {"wait.seconds": {"unknown": message}}


@pytest.mark.parametrize(
    ("data", "field", "kind"),
    [
        ({"minutes": 5, "days": 2}, "days", "minutes"),
        ({"hours": 5, "at": "09:00"}, "at", "hours"),
        ({"days": 2, "weekdays": ["mon"]}, "weekdays", "days"),
        ({"days": 2, "yearly": True}, "yearly", "days"),
        (
            {"weekdays": ["mon"], "at": "09:00", "between": ["09:00", "10:00"]},
            "between",
            "weekdays",
        ),
        ({"until": "2026-12-24T09:00", "at": "09:00"}, "at", "until"),
        ({"field": "date_of_birth", "until": "2026-12-24T09:00"}, "until", "field"),
    ],
)
def test_a_field_that_would_have_no_effect_is_rejected(data: object, field: str, kind: str) -> None:
    message = f"The wait.{field} has no meaning beside {kind}."
    assert errors(data) == {f"wait.{field}": {"unknown": message}}


@pytest.mark.parametrize(
    ("data", "place", "rule"),
    [
        ({"minutes": 0}, "minutes", "between"),
        ({"weekdays": [], "at": "09:00"}, "weekdays", "in"),
        ({"hours": 2, "between": "09:00"}, "between", "array"),
        ({"hours": 2, "between": ["17:00", "09:00"]}, "between", "between"),
        ({"field": "first_name"}, "field", "in"),
        ({"minutes": -1}, "minutes", "between"),
        ({"minutes": 1.5}, "minutes", "between"),
        ({"minutes": True}, "minutes", "between"),
        ({"minutes": "1h"}, "minutes", "between"),
        ({"minutes": [1]}, "minutes", "between"),
        ({"minutes": 10**30}, "minutes", "between"),
        ({"minutes": "9" * 5000}, "minutes", "between"),
        ({"hours": 0}, "hours", "between"),
        ({"hours": 87_601}, "hours", "between"),
        ({"hours": 87_600, "minutes": 1}, "minutes", "between"),
        ({"days": 0}, "days", "between"),
        ({"days": -1}, "days", "between"),
        ({"days": 3651}, "days", "between"),
        ({"days": 2, "at": "9:00"}, "at", "time"),
        ({"days": 2, "at": "24:00"}, "at", "time"),
        ({"days": 2, "at": "09:60"}, "at", "time"),
        ({"days": 2, "at": "09:00+01:00"}, "at", "time"),
        ({"days": 2, "at": 9}, "at", "time"),
        ({"days": 2, "at": "\u0660\u0669:\u0660\u0660"}, "at", "time"),
        ({"weekdays": "mon", "at": "09:00"}, "weekdays", "in"),
        ({"weekdays": ["mon", "someday"], "at": "09:00"}, "weekdays", "in"),
        ({"weekdays": [["mon"]], "at": "09:00"}, "weekdays", "in"),
        ({"hours": 2, "between": ["09:00"]}, "between", "array"),
        ({"hours": 2, "between": ["09:00", "25:00"]}, "between", "time"),
        ({"hours": 2, "between": ["09:00", "09:00"]}, "between", "between"),
        ({"until": "2026-12-24"}, "until", "date"),
        ({"until": "2026-02-30T09:00"}, "until", "date"),
        ({"until": "2026-12-24T09:00Z"}, "until", "date"),
        ({"until": "2026-12-24T09:00+01:00"}, "until", "date"),
        ({"until": 1798099200}, "until", "date"),
        ({"field": "hash"}, "field", "in"),
        ({"field": "custom_values"}, "field", "in"),
        ({"field": "custom_values."}, "field", "in"),
        ({"field": "custom_values." + "k" * 193}, "field", "in"),
        ({"field": ["date_of_birth"]}, "field", "string"),
        ({"field": "custom_values.a\0b"}, "field", "string"),
        ({"field": "date_of_birth", "days": 3651}, "days", "between"),
        ({"field": "date_of_birth", "days": -3651}, "days", "between"),
        ({"field": "date_of_birth", "yearly": "perhaps"}, "yearly", "boolean"),
        ({"days": 2, "zone": "Europe/Berlin"}, "zone", "in"),
        ({"days": 2, "zone": ["store"]}, "zone", "in"),
    ],
)
def test_an_invalid_value_is_rejected_by_its_place(data: object, place: str, rule: str) -> None:
    found = errors(data, "steps.2.wait")
    assert [(path, *rules) for path, rules in found.items()] == [(f"steps.2.wait.{place}", rule)]


def in_days(days: int) -> str:
    """Return a wall time some days from now."""
    return (timezone.now() + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M")


def test_a_wait_until_a_datetime_in_almost_ten_years_is_accepted() -> None:
    assert parse_wait({"until": in_days(3649)}).until


def test_a_wait_until_a_datetime_beyond_ten_years_is_rejected() -> None:
    message = "The wait.until may not be more than ten years ahead."
    assert errors({"until": in_days(3651)}) == {"wait.until": {"max": message}}


def test_a_wait_until_a_datetime_that_has_passed_is_accepted() -> None:
    # So that an automation whose step has passed can be saved again.
    assert parse_wait({"until": in_days(-5000)}).until


def test_all_errors_are_reported_at_once() -> None:
    found = errors({"days": 0, "at": "noon", "zone": "moon", "seconds": 1})
    assert set(found) == {"wait.days", "wait.at", "wait.zone", "wait.seconds"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"minutes": 1}, "1 minute"),
        ({"days": 1}, "1 day, until the same time in the store's time zone"),
        (
            {"weekdays": ["fri", "mon", "wed"], "at": "09:00"},
            "until the next Monday, Wednesday or Friday at 09:00 in the store's time zone",
        ),
        (
            {"hours": 2, "weekdays": ["mon"], "between": ["09:00", "17:00"]},
            "at least 2 hours, until a time between 09:00 and 17:00 on Monday"
            " in the store's time zone",
        ),
        (
            {"hours": 2, "weekdays": ["sat", "sun"]},
            "at least 2 hours, until a time on Saturday or Sunday in the store's time zone",
        ),
        ({"until": "2026-12-24T09:00:30"}, "until 2026-12-24 09:00:30 in the store's time zone"),
        ({"field": "date_of_birth"}, "until date of birth in the store's time zone"),
        (
            {"field": "date_of_birth", "days": -1, "at": "09:00", "yearly": True},
            "until 1 day before the next anniversary of date of birth at 09:00"
            " in the store's time zone",
        ),
        (
            {"field": "custom_values.end_of_trial", "days": 14, "zone": "contact"},
            "until 14 days after the custom field end_of_trial in the contact's time zone",
        ),
    ],
)
def test_a_wait_is_described_in_words(data: object, text: str) -> None:
    assert describe_wait(parse_wait(data)) == text


@pytest.mark.parametrize(
    ("data", "text"), re.findall(r"^\| `(\{\".+\})` \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
)
def test_the_waits_of_the_documentation_are_described_there(data: str, text: str) -> None:
    assert describe_wait(parse_wait(json.loads(data))) == text
