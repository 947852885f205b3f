"""Counters of another store: imported without occurrences, and remembered."""

from datetime import UTC, datetime
from typing import Any

import pytest

from config.api.errors import InvalidFields
from crm.contacts import create, delete_contacts, update
from crm.merging import merge_contacts
from crm.models import Subscriber
from events.maintenance import prune_occurrences
from events.models import EventName, EventOccurrence, ImportedEvent, TrackedEvent
from events.tracking import track
from events.tracking.corrections import take_back
from events.tracking.fields import parse_event
from events.tracking.imported_counts import MAX_COUNTER, ImportedCount, import_counts
from events.tracking.imports import EventChunk, Imported, Outcome, import_events
from events.verification import find_differences
from tests.api.history import added, events, past_events

pytestmark = pytest.mark.django_db
ADA = "ada@example.com"
EVENT = {"event_key": "checkout", "title": "Order placed", "email": ADA, "value": "1"}
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
LATER = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def contact(ada: Subscriber) -> Subscriber:
    """The contact of EVENT."""
    return ada


def row(counter: int, source_id: str = "1", **fields: Any) -> ImportedCount:
    """Return a row of another store."""
    last = fields.pop("last", LAST)
    return ImportedCount(source_id, parse_event(EVENT | fields), counter, FIRST, last)


def count(*rows: ImportedCount, source: str = "fluentcrm") -> list[Outcome]:
    """Import rows."""
    return import_counts(rows, source)


def test_a_counter_becomes_unlogged() -> None:
    assert count(row(47, provider="shop")) == [Imported(47)]
    assert events() == [("checkout", "Order placed", "1", 47, 47)]
    event = TrackedEvent.objects.get()
    assert (event.provider, event.created_at, event.updated_at) == ("shop", FIRST, LAST)
    assert [name.name for name in EventName.objects.all()] == ["checkout"]
    assert find_differences() == []


def test_the_same_row_again_changes_nothing() -> None:
    count(row(47))
    assert count(row(47)) == [Imported(0)]
    assert events() == [("checkout", "Order placed", "1", 47, 47)]


def test_a_row_that_has_grown_adds_the_difference() -> None:
    count(row(47))
    track(EVENT | {"value": "2", "occurred_at": "2024-02-15 00:00:00"})
    assert count(row(50, value="3", last=LATER)) == [Imported(3)]
    assert events() == [("checkout", "Order placed", "3", 51, 50)]
    assert TrackedEvent.objects.get().updated_at == LATER


def test_the_value_of_a_later_event_here_stays() -> None:
    track(EVENT | {"value": "2"})
    count(row(47))
    assert events() == [("checkout", "Order placed", "2", 48, 47)]


def test_a_row_that_has_shrunk_changes_nothing_and_is_reported() -> None:
    count(row(47))
    [outcome] = count(row(40))
    assert outcome == Imported(
        0, "The source has counted 40, and 47 were imported before. Nothing was changed."
    )
    assert added(count(row(48))) == [1]


def test_rows_of_one_event_are_added_up() -> None:
    rows = [row(5, "1"), row(3, "2", value="2", last=LATER), row(2, "3", title="Another")]
    assert added(count(*rows)) == [5, 3, 2]
    assert events() == [
        ("checkout", "Order placed", "2", 8, 8),
        ("checkout", "Another", "1", 2, 2),
    ]
    assert added(count(row(6, "2"), row(5, "1"))) == [3, 0]


def test_a_row_that_is_there_twice_is_imported_in_its_order() -> None:
    assert added(count(row(5), row(7), row(7))) == [5, 2, 0]
    assert events()[0][3] == 7


def test_rows_that_do_not_repeat_have_events_of_their_own() -> None:
    count(row(1, "1", repeatable=False), row(1, "2", repeatable=False), row(1, "3"))
    assert [event[3] for event in events()] == [1, 1, 1]
    assert added(count(row(3, "2", repeatable=False, value="9", last=LATER))) == [2]
    assert sorted(event[2:] for event in events()) == [("1", 1, 1), ("1", 1, 1), ("9", 3, 3)]


def test_rows_of_another_source_are_others() -> None:
    count(row(5))
    assert added(count(row(5), source="another")) == [5]


def test_a_row_without_a_counter_makes_no_event() -> None:
    assert count(row(0)) == [Imported(0)]
    assert events() == []


def test_a_row_without_a_contact_is_reported() -> None:
    rows = [row(5, email="eve@example.com"), row(5, "2")]
    assert added(count(*rows)) == ["SubscriberNotFound", 5]
    create({"email": "eve@example.com"})
    assert added(count(*rows)) == [5, 0]


def test_a_counter_that_sums_cannot_hold_is_rejected() -> None:
    too_large, outcome = count(row(MAX_COUNTER + 1), row(MAX_COUNTER, "2"))
    assert isinstance(too_large, InvalidFields)
    assert outcome == Imported(MAX_COUNTER)


def test_times_that_the_source_does_not_have_are_those_of_the_row() -> None:
    fields = parse_event(EVENT | {"occurred_at": LAST})
    import_counts([ImportedCount("1", fields, 5)], "fluentcrm")
    event = TrackedEvent.objects.get()
    assert (event.created_at, event.updated_at) == (LAST, LAST)


def test_a_row_stays_with_its_contact(contact: Subscriber) -> None:
    count(row(5))
    update(contact, {"email": "countess@example.com"})
    create({"email": ADA})
    assert added(count(row(6))) == [1]
    assert TrackedEvent.objects.get().subscriber_id == contact.pk


def test_a_row_adds_to_the_survivor_of_a_merge(contact: Subscriber) -> None:
    bob = create({"email": "bob@example.com"})
    count(row(5), row(2, "2", email="bob@example.com"))
    merge_contacts(bob.pk, ("contact", str(contact.pk)))
    assert added(count(row(6), row(2, "2", email="bob@example.com"))) == [1, 0]
    assert events() == [("checkout", "Order placed", "1", 8, 8)]


def test_a_contact_that_is_deleted_takes_what_was_imported_with_it(contact: Subscriber) -> None:
    count(row(5))
    delete_contacts([contact.pk])
    assert not ImportedEvent.objects.exists()
    create({"email": ADA})
    assert added(count(row(5))) == [5]


def log(*values: str, event: str = "1", counter: int | None = None) -> list[Outcome]:
    """Import occurrences of the event whose counter was imported, one an hour."""
    rows = [
        EVENT | {"value": value, "occurred_at": f"2024-01-01 {int(value):02}:00:00"}
        for value in values
    ]
    chunk = [each._replace(event=event, counter=counter) for each in past_events(rows)]
    return import_events(EventChunk(chunk, "fluentcrm"))


def test_occurrences_move_from_the_imported_counter_into_the_log() -> None:
    count(row(5))
    assert added(log("2", "3")) == [1, 1]
    assert events() == [("checkout", "Order placed", "1", 5, 3)]
    assert added(log("2", "3")) == [0, 0]
    assert events() == [("checkout", "Order placed", "1", 5, 3)]
    assert find_differences() == []


def test_occurrences_beyond_the_imported_counter_count_up() -> None:
    count(row(2))
    count(row(10), source="another")
    log("1", "2", "3")
    assert events()[0][3:] == (13, 10)
    # The source counts the third now, too.
    assert added(count(row(3))) == [0]
    assert added(count(row(4))) == [1]


def test_an_occurrence_that_the_source_has_pruned_since_counts_once() -> None:
    count(row(3))
    log("1", "2", "3")
    # The source has pruned the first, and counted a fourth.
    assert added(count(row(4))) == [1]
    assert added(log("2", "3", "4")) == [0, 0, 1]
    assert events()[0][3:] == (4, 0)


def test_occurrences_of_rows_that_do_not_repeat_find_their_event() -> None:
    count(row(1, "1", repeatable=False), row(1, "2", repeatable=False))
    log("1", event="2")
    first, second = TrackedEvent.objects.order_by("id")
    assert (first.unlogged, second.unlogged) == (1, 0)
    assert EventOccurrence.objects.get().event_id == second.pk


def test_occurrences_go_to_the_contact_of_their_event(contact: Subscriber) -> None:
    count(row(2))
    update(contact, {"email": "countess@example.com"})
    create({"email": ADA})
    assert added(log("1")) == [1]
    assert EventOccurrence.objects.get().subscriber_id == contact.pk


def test_occurrences_of_an_event_that_was_not_imported_make_one() -> None:
    assert added(log("1", "2")) == [1, 1]
    assert events() == [("checkout", "Order placed", "2", 2, 0)]


def test_an_event_that_was_taken_back_as_a_whole_grows_again(contact: Subscriber) -> None:
    count(row(1))
    log("1")
    take_back(contact.pk, [EventOccurrence.objects.get().pk])
    assert events() == []
    assert added(count(row(1))) == [0]
    assert added(log("1")) == [0]
    assert added(count(row(2))) == [1]
    assert added(log("1", "2")) == [0, 1]
    assert events()[0][3:] == (1, 0)


def test_taking_back_and_pruning_leave_right_counters(contact: Subscriber) -> None:
    count(row(5))
    log("1", "2")
    take_back(contact.pk, [EventOccurrence.objects.earliest("id").pk])
    assert events()[0][3:] == (4, 3)
    # Keys of imports are kept, so a tracked occurrence is pruned.
    track(EVENT | {"occurred_at": "2024-01-02 00:00:00"})
    assert prune_occurrences(LATER, None, lambda *_: None) == 1
    assert events()[0][3:] == (5, 4)
    assert find_differences() == []
