"""Any sequence of track, batch, retry, backdate, prune and delete leaves what a dict would hold."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from config.database import fetch_rows
from crm.contacts import create, delete_contacts
from crm.models import Subscriber
from events.maintenance import find_differences, prune_occurrences
from events.tracking import IdempotencyMismatch, SubscriberNotFound, TrackingError, track
from events.tracking.batches import RolledBack, Tracked, track_many

SEQUENCES = {"short": 300, "long": 2_000}
STEPS = 20
START = datetime(2024, 1, 1, tzinfo=UTC)
PEOPLE = ("ada@example.com", "bob@example.com")

EVENTS = """
SELECT e.id, s.email, event_key, title, value, repeatable, e.created_at, e.updated_at, counter,
       unlogged
FROM events_trackedevent e JOIN crm_subscriber s ON s.id = subscriber_id
"""
LOG = "SELECT event_id, occurred_at FROM events_eventoccurrence"
KEYS = "SELECT key FROM events_idempotencykey"

# Few of each, so that they meet.
ITEMS = st.fixed_dictionaries(
    {
        "email": st.sampled_from((*PEOPLE, "nobody@example.com")),
        "event_key": st.sampled_from("kl"),
        "title": st.sampled_from("tu"),
        "value": st.sampled_from("123"),
        "occurred_at": st.integers(0, 5).map(lambda hours: START + timedelta(hours=hours)),
        "repeatable": st.sampled_from((True, True, True, False)),
    },
    optional={"idempotency_key": st.sampled_from("abcd")},
)


@dataclass
class Row:
    """What the store should have of an event."""

    email: str
    event_key: str
    title: str
    value: str
    repeatable: bool
    first: datetime
    last: datetime
    counter: int = 0
    unlogged: int = 0


@dataclass
class Model:
    """The store as dicts: events by id, their occurrences, and keys with what they stand for."""

    people: set[str] = field(default_factory=lambda: set(PEOPLE))
    rows: dict[int, Row] = field(default_factory=dict)
    # Event, time, and the idempotency key or None.
    log: list[tuple[int, datetime, str | None]] = field(default_factory=list)
    # Content, event and counter.
    keys: dict[str, tuple[dict[str, Any], int, int]] = field(default_factory=dict)

    def track(self, item: dict[str, Any], made: int | None) -> tuple[int, int, bool]:
        """Event, counter, and whether it is a replay; a new event gets the id that was `made`.

        Raises what the store should raise.
        """
        key = item.get("idempotency_key")
        if key in self.keys:
            content, event, counter = self.keys[key]
            if content != item:
                raise IdempotencyMismatch
            if event not in self.rows:
                raise SubscriberNotFound
            return event, counter, True
        if item["email"] not in self.people:
            raise SubscriberNotFound
        event = next(
            (
                number
                for number, row in self.rows.items()
                if item["repeatable"]
                and row.repeatable
                and (row.email, row.event_key, row.title)
                == (item["email"], item["event_key"], item["title"])
            ),
            made if made is not None else -1,
        )
        when = item["occurred_at"]
        kept = {name: item[name] for name in ("email", "event_key", "title", "repeatable")}
        row = self.rows.setdefault(event, Row(**kept, value=item["value"], first=when, last=when))
        row.counter += 1
        row.first = min(row.first, when)
        if when >= row.last:
            row.last, row.value = when, item["value"]
        self.log.append((event, when, key))
        if key:
            self.keys[key] = (item, event, row.counter)
        return event, row.counter, False

    def prune(self, before: datetime) -> int:
        """How many occurrences should go."""
        going = [
            entry
            for entry in self.log
            if entry[1] < before and not (entry[2] and entry[2] in self.keys)
        ]
        for entry in going:
            self.log.remove(entry)
            self.rows[entry[0]].unlogged += 1
        return len(going)

    def delete(self, email: str) -> None:
        """The contact goes with its events; its keys stay, and stand for nothing."""
        self.people.discard(email)
        self.rows = {number: row for number, row in self.rows.items() if row.email != email}
        self.log = [entry for entry in self.log if entry[0] in self.rows]


class Store(RuleBasedStateMachine):
    """The store and the model, side by side."""

    sequences = 0
    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        type(self).sequences += 1
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM events_trackedevent; DELETE FROM events_eventoccurrence; "
                "DELETE FROM events_idempotencykey; DELETE FROM crm_subscriber"
            )
        for email in PEOPLE:
            create({"email": email})
        self.model = Model()

    @rule(target=sent, item=ITEMS)
    def track(self, item: dict[str, Any]) -> dict[str, Any]:
        self.send(item)
        return item

    @rule(item=sent)
    def retry(self, item: dict[str, Any]) -> None:
        self.send(item)

    @rule(item=sent, hours=st.integers(1, 5))
    def backdate(self, item: dict[str, Any], hours: int) -> None:
        self.send(item | {"occurred_at": START - timedelta(hours=hours)})

    @rule(target=sent, items=st.lists(ITEMS, min_size=1, max_size=6), atomic=st.booleans())
    def batch(self, items: list[dict[str, Any]], atomic: bool) -> Any:
        self.send_many(items, atomic)
        return multiple(*items)

    @rule(items=st.lists(sent, min_size=1, max_size=6), atomic=st.booleans())
    def batch_again(self, items: list[dict[str, Any]], atomic: bool) -> None:
        self.send_many(items, atomic)

    @rule(hours=st.integers(-2, 6))
    def prune(self, hours: int) -> None:
        before = START + timedelta(hours=hours)
        removed = prune_occurrences(before, None, lambda *_: None)
        assert removed == self.model.prune(before)

    @rule(email=st.sampled_from(PEOPLE))
    def delete(self, email: str) -> None:
        delete_contacts(Subscriber.objects.filter(email=email).values_list("id", flat=True))
        self.model.delete(email)

    @rule(email=st.sampled_from(PEOPLE))
    def come_back(self, email: str) -> None:
        if email not in self.model.people:
            create({"email": email})
            self.model.people.add(email)

    @invariant()
    def counters_are_unlogged_plus_occurrences(self) -> None:
        assert find_differences() == []

    @invariant()
    def the_store_is_what_the_model_is(self) -> None:
        events = {number: Row(*columns) for number, *columns in fetch_rows(EVENTS, {})}
        assert events == self.model.rows
        logged = sorted(fetch_rows(LOG, {}))
        assert logged == sorted(entry[:2] for entry in self.model.log)
        assert {key for (key,) in fetch_rows(KEYS, {})} == set(self.model.keys)

    def send(self, item: dict[str, Any]) -> None:
        try:
            event = track(item)
        except TrackingError as error:
            with pytest.raises(type(error)):
                self.model.track(item, None)
            return
        assert self.model.track(item, event.id) == (event.id, event.counter, event.replayed)

    def send_many(self, items: list[dict[str, Any]], atomic: bool) -> None:
        outcomes = track_many(items, atomic=atomic)
        before = deepcopy(self.model)
        refused = False
        for item, outcome in zip(items, outcomes, strict=True):
            made = outcome.event_id if isinstance(outcome, Tracked) else None
            try:
                expected: Tracked | type = Tracked(*self.model.track(item, made))
            except TrackingError as error:
                refused, expected = True, type(error)
            if not isinstance(outcome, RolledBack):
                assert expected == (outcome if isinstance(outcome, Tracked) else type(outcome))
        if atomic and refused:
            assert not any(isinstance(outcome, Tracked) for outcome in outcomes)
            self.model = before


@pytest.mark.django_db(transaction=True)
def test_sequences_of_20_steps_leave_what_a_dict_would_hold() -> None:
    sequences = SEQUENCES[settings.get_current_profile_name()]
    Store.sequences = 0
    with connection.cursor() as cursor:
        # Nothing is killed here: waiting for the disk would be half of the time.
        cursor.execute("SET synchronous_commit = off")
    run_state_machine_as_test(
        Store,
        settings=settings(max_examples=sequences, stateful_step_count=STEPS),
    )
    assert Store.sequences >= sequences
