"""automations.due: when waits end."""

from datetime import UTC, date, datetime, timedelta
from operator import add
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations.due import due_at
from automations.waits import MAX_WAIT, WEEKDAYS, parse_wait

WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
ZONES = ("Europe/Berlin", "Pacific/Apia", "America/Nuuk", "Australia/Lord_Howe")


def due(zone: str, entered: str, value: object = None, **wait: Any) -> str:
    """Return the wall time at which a wait ends that is entered at a wall time of a zone.

    The wall times have an offset where a zone has one of them twice.
    """
    moment = datetime.fromisoformat(entered)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    parsed = parse_wait({"zone": "contact", **wait})
    return due_at(parsed, moment, zone, value).astimezone(ZoneInfo(zone)).isoformat(" ", "minutes")


@pytest.mark.parametrize(
    ("zone", "entered", "wait", "expected"),
    [
        ("Europe/Berlin", "2026-05-05 10:00", {"minutes": 5}, "2026-05-05 10:05+02:00"),
        # The clock goes from 02:00 to 03:00, and in autumn from 03:00 to 02:00.
        ("Europe/Berlin", "2026-03-29 01:30", {"hours": 1}, "2026-03-29 03:30+02:00"),
        ("Europe/Berlin", "2026-03-28 10:00", {"hours": 24}, "2026-03-29 11:00+02:00"),
        ("Europe/Berlin", "2026-10-25 02:30", {"hours": 1}, "2026-10-25 02:30+01:00"),
        ("Pacific/Apia", "2011-12-29 23:30", {"hours": 1}, "2011-12-31 00:30+14:00"),
    ],
)
def test_minutes_and_hours_pass_whatever_the_clock_does(
    zone: str, entered: str, wait: dict[str, Any], expected: str
) -> None:
    assert due(zone, entered, **wait) == expected


@pytest.mark.parametrize(
    ("zone", "entered", "wait", "expected"),
    [
        ("Europe/Berlin", "2026-03-28 10:00", {"days": 1}, "2026-03-29 10:00+02:00"),
        ("Europe/Berlin", "2026-05-05 23:50", {"days": 1, "at": "00:10"}, "2026-05-06 00:10+02:00"),
        ("Europe/Berlin", "2026-05-05 08:00", {"days": 2, "at": "09:00"}, "2026-05-07 09:00+02:00"),
        # The time does not exist, and moves forward by the gap.
        ("Europe/Berlin", "2026-03-28 02:30", {"days": 1}, "2026-03-29 03:30+02:00"),
        ("Europe/Berlin", "2026-03-27 10:00", {"days": 2, "at": "02:00"}, "2026-03-29 03:00+02:00"),
        ("Pacific/Apia", "2011-12-29 09:00", {"days": 1}, "2011-12-31 09:00+14:00"),
        ("Pacific/Apia", "2011-12-29 09:00", {"days": 2}, "2011-12-31 09:00+14:00"),
        # The clock has the time twice, and the first counts.
        ("Europe/Berlin", "2026-10-24 02:30", {"days": 1}, "2026-10-25 02:30+02:00"),
        ("Europe/Berlin", "2026-10-25 02:30+01:00", {"days": 7}, "2026-11-01 02:30+01:00"),
    ],
)
def test_days_end_at_the_same_or_the_stated_wall_time(
    zone: str, entered: str, wait: dict[str, Any], expected: str
) -> None:
    assert due(zone, entered, **wait) == expected


@pytest.mark.parametrize(
    ("zone", "entered", "days", "expected"),
    [
        # 2026-05-05 is a Tuesday.
        ("Europe/Berlin", "2026-05-05 08:59", ["tue"], "2026-05-05 09:00+02:00"),
        ("Europe/Berlin", "2026-05-05 09:00", ["tue"], "2026-05-05 09:00+02:00"),
        ("Europe/Berlin", "2026-05-05 09:01", ["tue"], "2026-05-12 09:00+02:00"),
        ("Europe/Berlin", "2026-05-05 09:01", ["mon", "thu"], "2026-05-07 09:00+02:00"),
        ("Europe/Berlin", "2026-05-08 17:00", WORKDAYS, "2026-05-11 09:00+02:00"),
        # Apia had no Friday that week.
        ("Pacific/Apia", "2011-12-29 10:00", ["fri"], "2012-01-06 09:00+14:00"),
        ("Pacific/Apia", "2011-12-29 10:00", ["fri", "sat"], "2011-12-31 09:00+14:00"),
    ],
)
def test_weekdays_end_at_the_next_such_day_whose_time_is_ahead(
    zone: str, entered: str, days: list[str], expected: str
) -> None:
    assert due(zone, entered, weekdays=days, at="09:00") == expected


def test_a_time_in_a_gap_before_midnight_is_that_of_its_weekday() -> None:
    # Nuuk's clock went from Saturday 23:00 to Sunday 00:00.
    entered = "2024-03-30 12:00"
    assert due("America/Nuuk", entered, weekdays=["sat"], at="23:30") == "2024-03-31 00:30-01:00"


@pytest.mark.parametrize(
    ("entered", "expected"),
    [
        # 2026-05-08 is a Friday.
        ("2026-05-08 06:00", "2026-05-08 09:00+02:00"),
        ("2026-05-08 07:00", "2026-05-08 09:00+02:00"),
        ("2026-05-08 10:20", "2026-05-08 12:20+02:00"),
        ("2026-05-08 15:00", "2026-05-08 17:00+02:00"),
        ("2026-05-08 15:01", "2026-05-11 09:00+02:00"),
        ("2026-05-09 10:00", "2026-05-11 09:00+02:00"),
    ],
)
def test_a_span_ends_in_office_hours(entered: str, expected: str) -> None:
    office = {"weekdays": WORKDAYS, "between": ["09:00", "17:00"]}
    assert due("Europe/Berlin", entered, hours=2, **office) == expected


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        ({"weekdays": ["sat"]}, "2026-05-09 00:00+02:00"),
        ({"weekdays": ["fri"]}, "2026-05-08 12:00+02:00"),
        ({"between": ["09:00", "11:00"]}, "2026-05-09 09:00+02:00"),
    ],
)
def test_a_span_ends_on_weekdays_or_between_times_alone(
    wait: dict[str, Any], expected: str
) -> None:
    assert due("Europe/Berlin", "2026-05-08 10:00", hours=2, **wait) == expected


def test_office_hours_that_the_clock_skips_are_those_of_the_next_day() -> None:
    # 02:50 becomes 03:50, which is after the end.
    hours = {"between": ["02:50", "03:10"]}
    expected = "2026-03-30 02:50+02:00"
    assert due("Europe/Berlin", "2026-03-29 01:00", minutes=5, **hours) == expected


@pytest.mark.parametrize(
    ("zone", "until", "expected"),
    [
        ("Europe/Berlin", "2026-12-24T09:00", "2026-12-24 09:00+01:00"),
        ("Pacific/Apia", "2026-12-24T09:00", "2026-12-24 09:00+13:00"),
        ("Europe/Berlin", "2027-03-28 02:30", "2027-03-28 03:30+02:00"),
        ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25 02:30+02:00"),
    ],
)
def test_a_wait_until_a_wall_time(zone: str, until: str, expected: str) -> None:
    assert due(zone, "2026-05-05 10:00", until=until) == expected


def test_a_wall_time_that_has_passed_is_due_at_once() -> None:
    entered = "2026-05-05 10:00+02:00"
    assert due("Europe/Berlin", entered, until="2026-05-05T09:00") == entered


@pytest.mark.parametrize(
    ("value", "wait", "expected"),
    [
        ("2026-06-01", {}, "2026-06-01 00:00+02:00"),
        (date(2026, 6, 1), {}, "2026-06-01 00:00+02:00"),
        ("2026-06-01", {"at": "09:00"}, "2026-06-01 09:00+02:00"),
        ("2026-06-01", {"days": -3, "at": "09:00"}, "2026-05-29 09:00+02:00"),
        ("2026-06-01", {"days": 30}, "2026-07-01 00:00+02:00"),
        ("2026-04-20", {"days": 30}, "2026-05-20 00:00+02:00"),
        ("2026-06-01T22:30:00Z", {}, "2026-06-02 00:30+02:00"),
        (datetime(2026, 6, 1, 22, 30, tzinfo=UTC), {"at": "09:00"}, "2026-06-02 09:00+02:00"),
        # TIME_ZONE is UTC.
        ("2026-06-01 12:00:00", {}, "2026-06-01 14:00+02:00"),
    ],
)
def test_a_wait_until_the_date_of_a_field(
    value: object, wait: dict[str, Any], expected: str
) -> None:
    entered = "2026-05-05 10:00"
    assert due("Europe/Berlin", entered, value, field="custom_values.renewal", **wait) == expected


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "0000-00-00", "31.12.2026", "soon", 20260601, True, [], {"a": 1}, "2026-05-04"],
)
def test_a_field_without_a_date_ahead_is_due_at_once(value: object) -> None:
    entered = "2026-05-05 10:00+02:00"
    assert due("Europe/Berlin", entered, value, field="custom_values.renewal") == entered


@pytest.mark.parametrize("wait", [{}, {"days": 3650}, {"yearly": True}])
def test_a_date_far_ahead_is_due_in_ten_years(wait: dict[str, Any]) -> None:
    entered = datetime(2026, 5, 5, 10, tzinfo=UTC)
    parsed = parse_wait({"field": "date_of_birth", **wait})
    assert due_at(parsed, entered, "", "9998-12-31") == entered + MAX_WAIT


@pytest.mark.parametrize(
    ("born", "wait", "expected"),
    [
        ("1990-06-01", {}, "2026-06-01 00:00+02:00"),
        ("1990-05-05", {"at": "11:00"}, "2026-05-05 11:00+02:00"),
        ("1990-05-05", {"at": "09:00"}, "2027-05-05 09:00+02:00"),
        ("1990-01-02", {"days": -7}, "2026-12-26 00:00+01:00"),
        ("1990-05-07", {"days": -3}, "2027-05-04 00:00+02:00"),
        ("1990-12-30", {"days": 3}, "2027-01-02 00:00+01:00"),
        ("1990-05-01", {"days": 7}, "2026-05-08 00:00+02:00"),
        ("1990-05-07", {"days": 400}, "2026-06-11 00:00+02:00"),
        ("1990-05-07", {"days": -400}, "2027-04-03 00:00+02:00"),
        ("2000-02-29", {}, "2027-02-28 00:00+01:00"),
        # A first anniversary is not before the date.
        ("2030-06-01", {}, "2030-06-01 00:00+02:00"),
    ],
)
def test_a_wait_until_the_next_anniversary(born: str, wait: dict[str, Any], expected: str) -> None:
    wait = {"field": "date_of_birth", "yearly": True, **wait}
    assert due("Europe/Berlin", "2026-05-05 10:00", born, **wait) == expected


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("zone", "contact_zone", "hour"),
    [
        ("store", "America/New_York", 7),
        ("contact", "America/New_York", 13),
        ("contact", None, 7),
        ("contact", "", 7),
        ("contact", "UTC+2", 7),
        ("contact", "America", 7),
        ("contact", "../../etc/passwd", 7),
        ("contact", "/etc/passwd", 7),
        ("contact", "x" * 192, 7),
        ("contact", "Ähm\udcff", 7),
    ],
)
def test_the_zone_is_the_stores_where_the_contact_has_none(
    zone: str, contact_zone: str | None, hour: int
) -> None:
    wait = parse_wait({"days": 1, "at": "09:00", "zone": zone})
    entered = datetime(2026, 5, 5, 12, tzinfo=UTC)
    assert due_at(wait, entered, contact_zone) == datetime(2026, 5, 6, hour, tzinfo=UTC)


# The weeks and months from these dates on have a change of each zone's clock.
STARTS = (datetime(2011, 12, 20, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
MOMENTS = st.builds(add, st.sampled_from(STARTS), st.timedeltas(timedelta(0), timedelta(days=400)))
TIMES = st.times().map(lambda at: f"{at:%H:%M}")
DAYS = st.lists(st.sampled_from(WEEKDAYS), min_size=1)
PAIRS = st.lists(TIMES, min_size=2, max_size=2, unique=True).map(sorted)
DATES = st.dates(date(2, 1, 1), date(9998, 12, 31)).map(str)
SHIFTS = st.integers(-3650, 3650)
WAITS = st.one_of(
    st.fixed_dictionaries(
        {"minutes": st.integers(1, 5_256_000)}, optional={"weekdays": DAYS, "between": PAIRS}
    ),
    st.fixed_dictionaries({"days": st.integers(1, 3650)}, optional={"at": TIMES}),
    st.fixed_dictionaries({"weekdays": DAYS, "at": TIMES}),
    st.fixed_dictionaries({"until": st.just("2026-03-29T02:30")}),
    st.fixed_dictionaries(
        {"field": st.just("date_of_birth")},
        optional={"days": SHIFTS, "at": TIMES, "yearly": st.booleans()},
    ),
)


@given(WAITS, MOMENTS, st.sampled_from(ZONES), DATES)
def test_every_wait_ends_within_ten_years(
    data: dict[str, Any], entered: datetime, zone: str, value: str
) -> None:
    moment = due_at(parse_wait({**data, "zone": "contact"}), entered, zone, value)
    assert entered <= moment <= entered + MAX_WAIT
    assert moment.tzinfo is UTC


@given(st.integers(1, 5_256_000), MOMENTS, st.sampled_from(ZONES))
def test_a_span_is_exact(minutes: int, entered: datetime, zone: str) -> None:
    wait = parse_wait({"minutes": minutes, "zone": "contact"})
    assert due_at(wait, entered, zone) == entered + timedelta(minutes=minutes)


def in_gap(wall: datetime, zone: ZoneInfo) -> bool:
    """Return whether a zone skips a wall time."""
    back = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return back.replace(tzinfo=None) != wall


@given(st.integers(1, 400), st.none() | TIMES, MOMENTS, st.sampled_from(ZONES))
def test_days_end_at_their_wall_time_unless_the_zone_skips_it(
    days: int, at: str | None, entered: datetime, zone: str
) -> None:
    local = ZoneInfo(zone)
    wait = parse_wait({"days": days, "at": at, "zone": "contact"})
    wall = entered.astimezone(local).replace(tzinfo=None) + timedelta(days=days)
    if at:
        wall = datetime.combine(wall, datetime.strptime(at, "%H:%M").time())  # noqa: DTZ007
    end = due_at(wait, entered, zone).astimezone(local).replace(tzinfo=None)
    assert (end > wall) if in_gap(wall, local) else (end == wall)


@given(DAYS, TIMES, MOMENTS, st.sampled_from(("Europe/Berlin", "Pacific/Apia")))
def test_no_earlier_moment_has_the_weekday_and_the_time(
    days: list[str], at: str, entered: datetime, zone: str
) -> None:
    local = ZoneInfo(zone)
    end = due_at(parse_wait({"weekdays": days, "at": at, "zone": "contact"}), entered, zone)
    assert WEEKDAYS[end.astimezone(local).weekday()] in days
    # The clocks of these zones change by whole hours.
    earlier = end
    while (earlier := earlier - timedelta(hours=1)) >= entered:
        wall = earlier.astimezone(local)
        is_other_day = WEEKDAYS[wall.weekday()] not in days
        assert wall.fold or is_other_day or f"{wall:%H:%M}" != at
