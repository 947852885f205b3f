"""Conversion of rows of FluentCRM."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from transfers.sources.fluentcrm import EPOCH, contact, event, id_of, label, moment, note, zone_of

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "offset", "minutes"),
    [
        ("Asia/Kolkata", "0", 330),
        ("", "5.5", 330),
        (None, "-3.5", -210),
        ("", "", 0),
        ("UTC+2", 2, 120),
        ("../etc/passwd", "x", 0),
        (["x"], "99", 0),
    ],
)
def test_the_zone_of_a_site(name: Any, offset: Any, minutes: int) -> None:
    found = zone_of(name, offset).utcoffset(datetime(2026, 1, 1))  # noqa: DTZ001
    assert found is not None
    assert found.total_seconds() == minutes * 60


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-07-01 12:00:00", "2026-07-01T10:00:00+00:00"),
        ("2026-10-25 02:30:00", "2026-10-25T00:30:00+00:00"),
        ("2026-03-29 02:30:00", "2026-03-29T01:30:00+00:00"),
        ("2026-07-01T12:00:00-05:00", "2026-07-01T17:00:00+00:00"),
    ],
)
def test_a_time_is_that_of_the_site(value: str, expected: str) -> None:
    found = moment(value, BERLIN)
    assert found
    assert found.isoformat() == expected


@pytest.mark.parametrize(
    "value", [None, "", "0000-00-00 00:00:00", "0000-00-00", "soon", 5, {}, "0001-01-01 00:00:00"]
)
def test_what_is_no_time(value: Any) -> None:
    assert moment(value, UTC) is None


@pytest.mark.parametrize("row", [None, "x", 5, [], {}, {"id": "x"}, {"id": -1}, {"id": {}}])
def test_a_row_without_an_id(row: Any) -> None:
    assert id_of(row) == 0


def test_a_contact_without_a_status_is_pending() -> None:
    for status in (None, "", " ", 5, ["subscribed"]):
        found = contact({"id": 1, "email": "a@example.com", "status": status}, UTC, {}, {}, ())
        assert found.item["status"] == "pending"


def test_user_id_0_is_none() -> None:
    assert "user_id" not in contact({"id": 1, "user_id": "0"}, UTC, {}, {}, ()).item


def test_a_label_without_times_has_none() -> None:
    found = label({"id": 3, "title": "VIP", "is_public": "1"}, UTC)
    assert found.fields == {"title": "VIP", "slug": None, "description": None, "is_public": True}


def test_a_note_gets_what_it_lacks() -> None:
    assert note({"type": "call", "description": "Hi"}, UTC) == {
        **{"title": "Call", "description": "Hi", "type": "call"},
        **{"created_at": EPOCH, "updated_at": EPOCH},
    }


@pytest.mark.parametrize(
    "change", [{"id": None}, {"counter": "x"}, {"title": ["x"]}, {"value": "\0"}]
)
def test_a_row_that_is_no_event(change: Any) -> None:
    row = {"id": 1, "event_key": "buy", "title": "Bought", "counter": "2"}
    assert not event(row, 7, UTC).error
    assert event({**row, **change}, 7, UTC).error
