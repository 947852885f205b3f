"""Sequences of events, retries, taking back, merging, pruning and deletion, beside a model."""

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
from crm.contacts import EmailTaken, create, delete_contacts
from crm.merge_plans import Choice
from crm.merging import merge_contacts
from crm.models import Subscriber
from events.maintenance import prune_occurrences
from events.tracking import track
from events.tracking.batches import RolledBack, Tracked, track_many
from events.tracking.corrections import take_back
from events.tracking.errors import IdempotencyMismatch, SubscriberNotFound, TrackingError
from events.verification import find_differences

SEQUENCES = {"short": 100, "long": 2_000}
STEPS = 20
START = datetime(2024, 1, 1, tzinfo=UTC)
EMAILS = ("ada@example.com", "bob@example.com", "cyd@example.com")

# The store is read after each of 2,000 steps. Querysets would make that a third of the test's time.
EVENTS = """
SELECT e.id, s.email, event_key, title, value, repeatable, e.created_at, e.updated_at, counter,
       unlogged
FROM events_trackedevent e JOIN crm_subscriber s ON s.id = subscriber_id
"""
LOG = "SELECT event_id, occurred_at FROM events_eventoccurrence"
IDS = "SELECT id, subscriber_id FROM events_eventoccurrence ORDER BY id"
KEYS = "SELECT key FROM events_idempotencykey"

# Few values of each field, so that events often share a row and a key.
ITEMS = st.fixed_dictionaries(
    {
        "email": st.sampled_from((*EMAILS, "unknown@example.com")),
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
    """The expected row of an event."""

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
class Claim:
    """The expected claim of an idempotency key: the item, and the response to it."""

    email: str
    item: dict[str, Any]
    event_id: int
    counter: int


@dataclass
class Model:
    """The store as dicts: contacts, events by id, their occurrences, and idempotency keys."""

    # The e-mail of the contact that each e-mail finds. It is another one if that is an alias.
    emails: dict[str, str] = field(default_factory=lambda: {email: email for email in EMAILS})
    rows: dict[int, Row] = field(default_factory=dict)
    # Each occurrence, by id: the event's id, the datetime, the idempotency key or None, the value.
    log: list[tuple[int, datetime, str | None, str]] = field(default_factory=list)
    keys: dict[str, Claim] = field(default_factory=dict)

    def track(self, item: dict[str, Any], new_id: int) -> tuple[int, int, bool]:
        """Return the event's id, its counter, and whether it was replayed.

        Args:
            item: the fields of the event.
            new_id: the id of the event if it is new.

        Raises:
            TrackingError: the error that track() should raise.
        """
        key = item.get("idempotency_key")
        if key in self.keys:
            claim = self.keys[key]
            if claim.item != item:
                raise IdempotencyMismatch
            return claim.event_id, claim.counter, True
        if item["email"] not in self.emails:
            raise SubscriberNotFound
        columns = {name: item[name] for name in ("event_key", "title", "repeatable")}
        columns["email"] = self.emails[item["email"]]
        event_id = self._repeated(columns) or new_id
        occurred_at = item["occurred_at"]
        row = self.rows.setdefault(
            event_id, Row(**columns, value=item["value"], first=occurred_at, last=occurred_at)
        )
        row.counter += 1
        row.first = min(row.first, occurred_at)
        if occurred_at >= row.last:
            row.last, row.value = occurred_at, item["value"]
        self.log.append((event_id, occurred_at, key, item["value"]))
        if key:
            self.keys[key] = Claim(row.email, item, event_id, row.counter)
        return event_id, row.counter, False

    def _repeated(self, columns: dict[str, Any]) -> int | None:
        """Return the id of the event that an item with these columns counts up."""
        for event_id, row in self.rows.items():
            is_same = all(getattr(row, name) == value for name, value in columns.items())
            if is_same and row.repeatable:
                return event_id
        return None

    def prune(self, before: datetime) -> int:
        """Delete the occurrences before a datetime that have no key, and return their number."""
        pruned = [entry for entry in self.log if entry[1] < before and entry[2] not in self.keys]
        for entry in pruned:
            self.log.remove(entry)
            self.rows[entry[0]].unlogged += 1
        return len(pruned)

    def take_back(self, index: int) -> None:
        """Delete an occurrence, and let its event follow those that remain."""
        event_id, occurred_at, *_ = self.log.pop(index)
        row = self.rows[event_id]
        row.counter -= 1
        rest = [entry for entry in self.log if entry[0] == event_id]
        if row.counter == 0:
            del self.rows[event_id]
        elif rest:
            # The later one of two at the same time.
            last = max(reversed(rest), key=lambda entry: entry[1])
            if occurred_at >= row.last:
                row.last, row.value = last[1], last[3]
            if row.unlogged == 0:
                row.first = min(entry[1] for entry in rest)

    def merge(self, survivor: str, other: str) -> int:
        """Add the events of a contact to those of another one. Returns how many were joined."""
        kept_ids: dict[int, int] = {}
        for event_id, row in list(self.rows.items()):
            if row.email != other:
                continue
            columns = {name: getattr(row, name) for name in ("event_key", "title", "repeatable")}
            kept_id = self._repeated({**columns, "email": survivor})
            if kept_id is None:
                row.email = survivor
                continue
            kept, kept_ids[event_id] = self.rows[kept_id], kept_id
            kept.value = row.value if row.last > kept.last else kept.value
            kept.first, kept.last = min(kept.first, row.first), max(kept.last, row.last)
            kept.counter += row.counter
            kept.unlogged += row.unlogged
            del self.rows[event_id]
        self.log = [(kept_ids.get(entry[0], entry[0]), *entry[1:]) for entry in self.log]
        for claim in self.keys.values():
            if claim.email == other:
                claim.email = survivor
                claim.event_id = kept_ids.get(claim.event_id, claim.event_id)
        self._rename(other, survivor)
        return len(kept_ids)

    def exchange(self, email: str, alias: str) -> None:
        """Let an alias of a contact become its e-mail."""
        for row in self.rows.values():
            row.email = alias if row.email == email else row.email
        for claim in self.keys.values():
            claim.email = alias if claim.email == email else claim.email
        self._rename(email, alias)

    def _rename(self, before: str, after: str) -> None:
        owners = self.emails.items()
        self.emails = {email: after if owner == before else owner for email, owner in owners}

    def delete(self, email: str) -> None:
        """Delete a contact with its events and their keys."""
        self.emails = {each: owner for each, owner in self.emails.items() if owner != email}
        self.keys = {key: claim for key, claim in self.keys.items() if claim.email != email}
        self.rows = {event_id: row for event_id, row in self.rows.items() if row.email != email}
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
                "DELETE FROM events_idempotencykey; DELETE FROM crm_identity; "
                "DELETE FROM crm_subscriber"
            )
        for email in EMAILS:
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
    def track_batch(self, items: list[dict[str, Any]], atomic: bool) -> Any:
        self.send_batch(items, atomic)
        return multiple(*items)

    @rule(items=st.lists(sent, min_size=1, max_size=6), atomic=st.booleans())
    def retry_batch(self, items: list[dict[str, Any]], atomic: bool) -> None:
        self.send_batch(items, atomic)

    @rule(hours=st.integers(-2, 6))
    def prune(self, hours: int) -> None:
        before = START + timedelta(hours=hours)
        assert prune_occurrences(before, None, lambda *_: None) == self.model.prune(before)

    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        if not self.model.log:
            return
        index = data.draw(st.integers(0, len(self.model.log) - 1))
        occurrence_id, contact_id = fetch_rows(IDS, {})[index]
        [corrected] = take_back(contact_id, [occurrence_id])
        assert corrected.event_id == self.model.log[index][0]
        self.model.take_back(index)
        row = self.model.rows.get(corrected.event_id)
        assert corrected.counter == (row.counter if row else 0)

    @rule(email=st.sampled_from(EMAILS))
    def delete(self, email: str) -> None:
        delete_contacts(Subscriber.objects.filter(email=email).values_list("id", flat=True))
        self.model.delete(email)

    @rule(
        emails=st.permutations(EMAILS),
        items=st.lists(ITEMS, min_size=1, max_size=3),
        hours=st.integers(-2, 6),
        takes=st.booleans(),
    )
    def merge(
        self, emails: list[str], items: list[dict[str, Any]], hours: int, takes: bool
    ) -> None:
        # With events of both contacts, because only few sequences lead to some.
        self.create_again(emails[0])
        self.create_again(emails[1])
        both = [item | {"email": email} for item in items for email in emails[:2]]
        self.send_batch(both, atomic=False)
        self.prune(hours)
        survivor, other = (self.model.emails[email] for email in emails[:2])
        if survivor == other:
            return
        contact = Subscriber.objects.get(email=survivor)
        choice = Choice(("email",) if takes else ())
        counts = merge_contacts(contact.pk, ("email", other), choice).counts
        rows = self.model.rows
        number = sum(rows[event_id].email == other for event_id, *_ in self.model.log)
        assert counts["occurrences"] == number
        assert counts["events_joined"] == self.model.merge(survivor, other)
        if takes:
            self.model.exchange(survivor, other)

    @rule(email=st.sampled_from(EMAILS))
    def create_again(self, email: str) -> None:
        if email not in self.model.emails:
            create({"email": email})
            self.model.emails[email] = email
        elif self.model.emails[email] != email:
            with pytest.raises(EmailTaken):
                create({"email": email})

    @invariant()
    def every_counter_is_unlogged_plus_occurrences(self) -> None:
        assert find_differences() == []

    @invariant()
    def the_store_equals_the_model(self) -> None:
        events = {event_id: Row(*columns) for event_id, *columns in fetch_rows(EVENTS, {})}
        assert events == self.model.rows
        assert sorted(fetch_rows(LOG, {})) == sorted(entry[:2] for entry in self.model.log)
        assert {key for (key,) in fetch_rows(KEYS, {})} == set(self.model.keys)

    def send(self, item: dict[str, Any]) -> None:
        """Track an item in both, and compare the results."""
        try:
            event = track(item)
        except TrackingError as error:
            with pytest.raises(type(error)):
                self.model.track(item, -1)
            return
        assert self.model.track(item, event.id) == (event.id, event.counter, event.replayed)

    def send_batch(self, items: list[dict[str, Any]], atomic: bool) -> None:
        """Track items in both, and compare the outcomes."""
        outcomes = track_many(items, atomic=atomic)
        before = deepcopy(self.model)
        is_rejected = False
        for item, outcome in zip(items, outcomes, strict=True):
            new_id = outcome.event_id if isinstance(outcome, Tracked) else -1
            try:
                expected: Tracked | type = Tracked(*self.model.track(item, new_id))
            except TrackingError as error:
                is_rejected, expected = True, type(error)
            if not isinstance(outcome, RolledBack):
                assert expected == (outcome if isinstance(outcome, Tracked) else type(outcome))
        if atomic and is_rejected:
            assert not any(isinstance(outcome, Tracked) for outcome in outcomes)
            self.model = before


# Inside one transaction the deleted rows of all sequences would stay, and slow the test down.
@pytest.mark.django_db(transaction=True)
def test_sequences_of_20_steps_leave_the_store_that_the_model_expects() -> None:
    sequences = SEQUENCES[settings.get_current_profile_name()]
    Store.sequences = 0
    run_state_machine_as_test(
        Store,
        settings=settings(max_examples=sequences, stateful_step_count=STEPS),
    )
    assert Store.sequences >= sequences
