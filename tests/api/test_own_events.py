"""Events of an export of Tallybook: imported elsewhere they are equal but for ids."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from crm.contacts import create, delete_contacts
from crm.models import Subscriber
from events.maintenance import prune_occurrences
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track
from events.tracking.corrections import take_back
from events.tracking.imports import import_owner
from events.verification import find_differences
from tests.api.history import SOURCE, added, import_lines
from tests.api.plans import rows_scanned
from transfers.events import EventRow, read_own_line
from transfers.exports.events import ALL, event_lines, occurrence_lines
from transfers.tables import Row

pytestmark = pytest.mark.django_db
EMAILS = ("ada@example.com", "bob@example.com")
EVENT = {"event_key": "checkout", "title": "Order placed", "email": EMAILS[0]}
OTHER_EVENTS = """
INSERT INTO events_importedevent (source, source_id, subscriber_id, event_id, counter, logged)
SELECT %(owner)s, 'other-' || n, -n, -n, 1, 0 FROM generate_series(1, 20000) n
"""
HOURS = [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in range(9)]


def delete_all() -> None:
    """Delete all contacts, and make them again without events, as in another store."""
    delete_contacts([*Subscriber.objects.values_list("id", flat=True)])
    for email in EMAILS:
        create({"email": email})


@pytest.fixture(autouse=True)
def contacts(db: None) -> None:
    """The contacts of EMAILS."""
    delete_all()


def export() -> list[dict[str, Any]]:
    """Return the lines of an export."""
    return [json.loads(line) for line in (*event_lines(ALL), *occurrence_lines(ALL))]


def shared(lines: list[dict[str, Any]]) -> list[str]:
    """Return what two stores share of their exports: the lines without ids, sorted."""
    left = [{k: v for k, v in line.items() if k not in ("id", "event_id")} for line in lines]
    return sorted(json.dumps(line) for line in left)


def read(lines: list[dict[str, Any]]) -> list[EventRow]:
    """Read lines of an export."""
    return [read_own_line(Row(number, number, line)) for number, line in enumerate(lines, 1)]


def test_an_export_that_is_imported_elsewhere_makes_the_same_events() -> None:
    track({**EVENT, "value": "first", "provider": "shop", "occurred_at": HOURS[2]})
    for value in ("1", "2"):
        properties = {"n": 1e16, "text": "a\r\n\u2028"}
        track({**EVENT, "value": value, "properties": properties, "occurred_at": HOURS[3]})
    track({**EVENT, "value": "earlier", "context": {"url": "/"}, "occurred_at": HOURS[1]})
    track({**EVENT, "email": EMAILS[1], "event_key": "k", "title": "t"})
    for _ in range(2):
        track({**EVENT, "repeatable": False, "occurred_at": HOURS[4]})
    lines = export()
    assert [line["type"] for line in lines] == ["event"] * 4 + ["occurrence"] * 7
    delete_all()
    assert set(added(import_lines(read(lines)))) == {1, 4}
    assert shared(export()) == shared(lines)
    assert find_differences() == []
    assert set(added(import_lines(read(lines)))) == {0}
    assert shared(export()) == shared(lines)


def test_occurrences_find_their_event_without_reading_all_that_were_imported() -> None:
    track(EVENT)
    event, occurrence = export()
    delete_all()
    lines = [event | {"counter": 2_000}]
    lines += [occurrence | {"id": number, "counter": number} for number in range(1, 2_001)]
    assert added(import_lines(read(lines[:1]))) == [2_000]
    with connection.cursor() as cursor:
        cursor.execute(OTHER_EVENTS, {"owner": import_owner(SOURCE)})
        cursor.execute("ANALYZE events_importedevent")
    before = rows_scanned("events_importedevent")
    assert added(import_lines(read(lines[1:]))) == [1] * 2_000
    assert rows_scanned("events_importedevent") == before
    assert find_differences() == []


def test_what_was_pruned_and_taken_back_is_equal_too() -> None:
    for hour in range(5):
        track({**EVENT, "value": str(hour), "occurred_at": HOURS[hour]})
    # The value of the event is that of an occurrence that is pruned, at the time of one that stays.
    track({**EVENT, "title": "tie", "value": "1", "occurred_at": HOURS[1], "idempotency_key": "a"})
    track({**EVENT, "title": "tie", "value": "2", "occurred_at": HOURS[1]})
    prune_occurrences(HOURS[2], None, lambda *_: None)
    occurrence = EventOccurrence.objects.get(value="3")
    take_back(occurrence.subscriber_id, [occurrence.pk])
    lines = export()
    delete_all()
    import_lines(read(lines))
    assert shared(export()) == shared(lines)


def test_a_later_export_adds_what_is_new_although_the_source_has_pruned() -> None:
    for hour in range(4):
        track({**EVENT, "value": str(hour), "occurred_at": HOURS[hour]})
    first = export()
    prune_occurrences(HOURS[2], None, lambda *_: None)
    track({**EVENT, "value": "new", "occurred_at": HOURS[5]})
    second = export()
    delete_all()
    import_lines(read(first))
    import_lines(read(second))
    event = TrackedEvent.objects.get()
    assert (event.counter, event.unlogged, event.value) == (5, 0, "new")
    assert EventOccurrence.objects.count() == 5


def test_counters_are_right_before_the_occurrences_come() -> None:
    for hour in range(3):
        track({**EVENT, "occurred_at": HOURS[hour]})
    lines = export()
    delete_all()
    import_lines(read(lines[:2]))
    event = TrackedEvent.objects.get()
    assert (event.counter, event.unlogged, EventOccurrence.objects.count()) == (3, 2, 1)
    assert find_differences() == []


def test_lines_of_contacts_that_are_not_here_are_reported() -> None:
    track(EVENT)
    lines = [{**line, "email": "eve@example.com"} for line in export()]
    delete_all()
    assert added(import_lines(read(lines))) == ["SubscriberNotFound"] * 2


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"type": "contact"}, "type"),
        ({"type": "event", "id": "x"}, "type"),
        ({"type": "event", "id": 1, "counter": -1}, "counter"),
        ({"type": "event", "id": 1, "counter": 1, "created_at": "soon"}, "time"),
        ({"type": "occurrence", "id": 1, "counter": 1, "event_id": None}, "event_id"),
        ({"type": "occurrence", "id": 1, "event_key": ""}, "event_key"),
    ],
)
def test_a_broken_line_is_rejected(line: dict[str, Any], field: str) -> None:
    [read_line] = read([{**EVENT, **line}])
    assert read_line.event is None
    assert field in read_line.errors
