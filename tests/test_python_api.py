"""track() and the two signals, for Django programs that live in the same process."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from config.api.errors import InvalidFields
from crm.contacts import create, delete_contacts
from crm.models import Subscriber
from events.models import EventOccurrence, IdempotencyKey, TrackedEvent, TrackingSwitch
from events.signals import event_tracked, track_event_activity
from events.tracking import (
    CurrentSubscriberNotFound,
    IdempotencyMismatch,
    NotEnabled,
    SubscriberNotFound,
    earlier_results,
    track,
)
from events.tracking.batches import Tracked, track_many

pytestmark = pytest.mark.django_db(transaction=True)
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}


@pytest.fixture
def ada() -> Subscriber:
    return create({"email": "ada@example.com"})


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """What event_tracked says."""
    sent: list[dict[str, Any]] = []

    def listen(**said: Any) -> None:
        sent.append(said)

    event_tracked.connect(listen)
    yield sent
    event_tracked.disconnect(listen)


def test_track_returns_the_event_as_it_is_stored(ada: Subscriber) -> None:
    track({**EVENT, "value": 1, "provider": "first"})
    event = track({**EVENT, "value": 2, "provider": "second"})
    stored = TrackedEvent.objects.get()
    for field in TrackedEvent._meta.concrete_fields:
        assert getattr(event, field.attname) == getattr(stored, field.attname), field
    assert (event.counter, event.value, event.provider) == (2, "2", "first")
    assert event.subscriber == ada


def test_repeatable_false_makes_a_row_of_its_own_wherever_it_is_said(ada: Subscriber) -> None:
    track(EVENT, False)
    track({**EVENT, "repeatable": False})
    track(EVENT, repeatable=True)
    assert list(TrackedEvent.objects.values_list("counter", flat=True)) == [1, 1, 1]


def test_errors_are_named_and_carry_fluentcrms_code(ada: Subscriber) -> None:
    with pytest.raises(SubscriberNotFound) as unknown:
        track({**EVENT, "email": "nobody@example.com"})
    assert unknown.value.code == "subscriber_not_found"
    with pytest.raises(CurrentSubscriberNotFound, match="Current Subscriber could not be found"):
        track({"event_key": "k", "title": "t"})
    with pytest.raises(InvalidFields) as invalid:
        track({"email": "ada@example.com"})
    assert set(invalid.value.body) == {"event_key", "title"}
    TrackingSwitch.set_enabled(False)
    with pytest.raises(NotEnabled) as off:
        track(EVENT)
    assert off.value.code == "not_enabled"
    assert not TrackedEvent.objects.exists()


def test_created_by_names_the_caller_and_their_contact_if_nobody_else_is_named(
    ada: Subscriber,
) -> None:
    user = User.objects.create_user("ada", "ADA@example.com")
    event = track({"event_key": "k", "title": "t"}, created_by=user.pk)
    assert (event.subscriber_id, event.created_by_id) == (ada.pk, user.pk)
    assert track({**EVENT, "email": None, "user_id": user.pk}).created_by_id is None


def test_a_retry_with_a_key_returns_the_first_event_and_is_not_announced(
    ada: Subscriber, heard: list[dict[str, Any]]
) -> None:
    first = track(EVENT, idempotency_key="a")
    track(EVENT)
    again = track({**EVENT, "idempotency_key": "a"})
    assert (again.pk, again.counter, again.replayed) == (first.pk, 1, True)
    assert first.replayed is False
    assert len(heard) == 2
    with pytest.raises(IdempotencyMismatch) as mismatch:
        track(EVENT, repeatable=False, idempotency_key="a")
    assert mismatch.value.code == "idempotency_mismatch"
    # Another credential's key is another key.
    assert track(EVENT, idempotency_key="a", credential="mine").counter == 3


def test_python_values_are_taken_as_properties_and_times(ada: Subscriber) -> None:
    moment = datetime(2024, 1, 17, 14, 27, 35, 5, tzinfo=UTC)
    track({**EVENT, "properties": {"n": [1, None]}, "occurred_at": moment})
    occurrence = EventOccurrence.objects.get()
    assert (occurrence.properties, occurrence.occurred_at) == ({"n": [1, None]}, moment)
    for wrong in ({"n": 2**70}, {"n": object()}, {1: "n"}, {"n": "\ud800"}):
        with pytest.raises(InvalidFields):
            track({**EVENT, "properties": wrong})
    with pytest.raises(InvalidFields):
        track({**EVENT, "occurred_at": moment.date()})


def test_many_are_tracked_and_announced_each_with_its_count(
    ada: Subscriber, heard: list[dict[str, Any]]
) -> None:
    items = [{**EVENT, "idempotency_key": str(number)} for number in range(3)]
    first = track_many([*items, {"email": "ada@example.com"}])
    assert [outcome.counter for outcome in first if isinstance(outcome, Tracked)] == [1, 2, 3]
    assert isinstance(first[3], InvalidFields)
    assert [(said["event"].counter, said["subscriber"]) for said in heard] == [
        (1, ada),
        (2, ada),
        (3, ada),
    ]
    again = track_many(items)
    assert [outcome.replayed for outcome in again if isinstance(outcome, Tracked)] == [True] * 3
    undone = track_many([EVENT, {}], atomic=True)
    assert [getattr(outcome, "status", None) for outcome in undone] == [424, 422]
    assert len(heard) == 3


@pytest.mark.parametrize("way", ["alone", "in a batch", "in an atomic batch"])
def test_a_key_that_is_pruned_while_its_retry_is_on_the_way_counts_anew(
    ada: Subscriber, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Between the statement that finds the key taken and the one that asks what it stands for."""
    keyed = {**EVENT, "idempotency_key": "a"}
    track(keyed)
    asked: list[str] = []

    def pruned_first(credential: str, keys: list[str]) -> Any:
        if not asked:
            thread = threading.Thread(target=forget_keys)
            thread.start()
            thread.join()
        asked.extend(keys)
        return earlier_results(credential, keys)

    module = "events.tracking" if way == "alone" else "events.tracking.batches"
    monkeypatch.setattr(f"{module}.earlier_results", pruned_first)
    if way == "alone":
        assert track(keyed).replayed is False
    else:
        outcomes = track_many([EVENT, keyed], atomic=way == "in an atomic batch")
        assert all(isinstance(outcome, Tracked) and not outcome.replayed for outcome in outcomes)
    assert asked == ["a"]
    event = TrackedEvent.objects.get()
    assert event.counter == event.occurrences.count() == (2 if way == "alone" else 3)


def forget_keys() -> None:
    """As another process would."""
    IdempotencyKey.objects.all().delete()
    connection.close()


def test_a_user_without_an_email_is_no_contact(ada: Subscriber) -> None:
    user = User.objects.create_user("nobody")
    with pytest.raises(CurrentSubscriberNotFound):
        track({"event_key": "k", "title": "t"}, created_by=user.pk)


def test_the_signal_tracks_and_raises_where_it_was_sent(ada: Subscriber) -> None:
    track_event_activity.send(sender=None, data=EVENT)
    track_event_activity.send(sender=None, data=EVENT, repeatable=False)
    assert list(TrackedEvent.objects.order_by("id").values_list("counter", flat=True)) == [1, 1]
    with pytest.raises(SubscriberNotFound):
        track_event_activity.send(sender=None, data={**EVENT, "email": "nobody@example.com"})


def test_event_tracked_is_sent_after_commit_with_the_event_and_the_contact(
    ada: Subscriber, heard: list[dict[str, Any]]
) -> None:
    with transaction.atomic():
        track(EVENT)
        assert heard == []
    assert [(said["event"].counter, said["subscriber"]) for said in heard] == [(1, ada)]


def test_event_tracked_is_not_sent_for_what_is_rolled_back(
    ada: Subscriber, heard: list[dict[str, Any]]
) -> None:
    with transaction.atomic():
        track(EVENT)
        transaction.set_rollback(True)
    assert heard == []
    assert not EventOccurrence.objects.exists()


def test_the_contact_is_deleted_with_its_events_through_one_door(ada: Subscriber) -> None:
    track(EVENT)
    assert delete_contacts([ada.pk, ada.pk, 987654])["contacts"] == 1
    for model in (Subscriber, TrackedEvent, EventOccurrence):
        assert not model.objects.exists()


def test_a_deletion_that_skips_the_door_is_refused_by_the_database(ada: Subscriber) -> None:
    track(EVENT)
    with pytest.raises(IntegrityError):
        Subscriber.objects.filter(pk=ada.pk).delete()


def test_a_deadlock_is_tried_again(ada: Subscriber) -> None:
    """Two transactions wait for each other; PostgreSQL ends track's, and it counts all the same."""
    bob = create({"email": "bob@example.com"})
    track(EVENT)
    other_has_contact, done = threading.Event(), threading.Event()
    with connection.cursor() as cursor:
        # Ours is the one that PostgreSQL finds waiting first, and ends.
        cursor.execute("SET deadlock_timeout = '50ms'")

    def other() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '10s'")
                cursor.execute("SELECT FROM events_trackedevent FOR UPDATE")
                other_has_contact.set()
                wait_for_a_waiter(cursor)
                # Now the other way round: the contact that track() holds.
                cursor.execute("SELECT FROM crm_subscriber WHERE id = %s FOR UPDATE", [ada.pk])
        finally:
            connection.close()
            done.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert other_has_contact.wait(5)
    event = track(EVENT)
    thread.join()
    assert event.counter == 2
    assert bob.pk
    with connection.cursor() as cursor:
        cursor.execute("RESET deadlock_timeout")


def wait_for_a_waiter(cursor: Any) -> None:
    from tests.system.server import wait_until

    def waiting() -> bool:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])

    wait_until(waiting, 5)
