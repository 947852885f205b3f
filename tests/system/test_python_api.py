"""track() and track_many() in threads: a deadlock, and a key that is pruned during its retry."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from crm.contacts import create
from crm.models import Subscriber
from events.models import IdempotencyKey, TrackedEvent
from events.tracking import track
from events.tracking.batches import Tracked, track_many
from events.tracking.retries import earlier_results
from tests.system.database import waiting_for_locks
from tests.system.server import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}
KEYED = EVENT | {"idempotency_key": "a"}


@pytest.fixture
def contact() -> Subscriber:
    """The contact of EVENT."""
    return create({"email": "ada@example.com"})


def in_another_connection(work: Callable[[], object]) -> threading.Thread:
    """Start a thread that works on a database connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def pruned_keys(contact: Subscriber, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Track KEYED, and prune its key just before the first retry reads the earlier result.

    That is between the statement that finds the key claimed and the one that reads its event. The
    list fills with the keys that retries look up.
    """
    track(KEYED)
    looked_up: list[str] = []

    def prune_first(credential: str, keys: list[str]) -> Any:
        if not looked_up:
            in_another_connection(IdempotencyKey.objects.all().delete).join()
        looked_up.extend(keys)
        return earlier_results(credential, keys)

    monkeypatch.setattr("events.tracking.writing.earlier_results", prune_first)
    monkeypatch.setattr("events.tracking.batches.earlier_results", prune_first)
    return looked_up


def test_a_key_that_is_pruned_during_its_retry_counts_again(pruned_keys: list[str]) -> None:
    assert track(KEYED).replayed is False
    assert pruned_keys == ["a"]
    event = TrackedEvent.objects.get()
    assert event.counter == event.occurrences.count() == 2


@pytest.mark.parametrize("atomic", [False, True])
def test_a_key_that_is_pruned_during_the_retry_of_a_batch_counts_again(
    pruned_keys: list[str], atomic: bool
) -> None:
    outcomes = track_many([EVENT, KEYED], atomic=atomic)
    assert all(isinstance(outcome, Tracked) and not outcome.replayed for outcome in outcomes)
    assert pruned_keys == ["a"]
    event = TrackedEvent.objects.get()
    assert event.counter == event.occurrences.count() == 3


def test_track_repeats_a_transaction_that_postgresql_ends_for_a_deadlock(
    contact: Subscriber,
) -> None:
    track(EVENT)
    event_is_locked = threading.Event()
    with connection.cursor() as cursor:
        # This connection's timeout is the shorter one, so PostgreSQL ends its transaction.
        cursor.execute("SET deadlock_timeout = '50ms'")

    def lock_in_the_opposite_order() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '10s'")
            cursor.execute("SELECT FROM events_trackedevent FOR UPDATE")
            event_is_locked.set()
            wait_until(lambda: waiting_for_locks(connection.connection), 5)
            # track() holds the contact and waits for the event.
            cursor.execute("SELECT FROM crm_subscriber WHERE id = %s FOR UPDATE", [contact.pk])

    thread = in_another_connection(lock_in_the_opposite_order)
    assert event_is_locked.wait(5)
    event = track(EVENT)
    thread.join()
    assert event.counter == 2
    with connection.cursor() as cursor:
        cursor.execute("RESET deadlock_timeout")
