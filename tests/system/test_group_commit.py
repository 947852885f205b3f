"""Events that threads track at the same moment are written by one statement."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DataError, connection, transaction

from config.database import fetch_rows
from config.groups import Group
from crm.contacts import create
from crm.models import Identity, Subscriber
from events.models import EventOccurrence, TrackedEvent, TrackingSwitch
from events.tracking import track, writing
from events.tracking.errors import IdempotencyMismatch, NotEnabled, SubscriberNotFound
from tests.system.database import waiting_for_locks
from tests.system.server import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}
OTHER = EVENT | {"email": "grace@example.com"}
FIRST = EVENT | {"email": "first@example.com"}
# What an event has beside its data.
OPTIONS = ("created_by", "user_source")
# Events, or their errors.
Outcomes = list[Any]
TrackTogether = Callable[..., Outcomes]


@pytest.fixture
def contacts() -> list[Subscriber]:
    """The contacts of the events."""
    return [create({"email": event["email"]}) for event in (EVENT, OTHER, FIRST)]


@pytest.fixture
def together(
    contacts: list[Subscriber], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrackTogether]:
    """Track events so that one statement writes all of them: while another event waits for a lock.

    Returns the events or their errors.
    """
    monkeypatch.setattr("config.groups.PATIENCE_SECONDS", 10)
    group: Group[Any, Any] = Group(writing._write_together)
    monkeypatch.setattr(writing, "_together", group)
    with ThreadPoolExecutor(20) as threads:

        def in_thread(event: dict[str, Any]) -> TrackedEvent:
            try:
                options = {name: event[name] for name in OPTIONS if name in event}
                return track(event, **options)
            finally:
                connection.close()

        def track_together(
            *events: dict[str, Any], meanwhile: Callable[[], object] = bool
        ) -> Outcomes:
            track(FIRST)
            with transaction.atomic():
                TrackedEvent.objects.select_for_update().get(subscriber__email=FIRST["email"])
                first = threads.submit(in_thread, FIRST)
                wait_until(lambda: waiting_for_locks(connection.connection))
                futures: list[Future[TrackedEvent]] = []
                for event in events:
                    futures.append(threads.submit(in_thread, event))
                    wait_until(lambda: len(group._waiting) == len(futures))
                in_thread_of_its_own(meanwhile)
            first.result(10)
            return [future.exception(10) or future.result() for future in futures]

        def in_thread_of_its_own(work: Callable[[], object]) -> None:
            def run() -> None:
                work()
                connection.close()

            threads.submit(run).result(10)

        yield track_together


def test_events_of_one_moment_are_written_by_one_statement(
    together: TrackTogether, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def fetch_and_count(statement: str, parameters: Any) -> Any:
        statements.append(statement)
        return fetch_rows(statement, parameters)

    monkeypatch.setattr("events.tracking.writing.fetch_rows", fetch_and_count)
    events = together(*[EVENT | {"title": f"t{number}"} for number in range(10)])
    assert [event.title for event in events] == [f"t{number}" for number in range(10)]
    assert len(statements) == 1


def test_each_of_them_has_its_own_counter_in_the_order_in_which_they_came(
    together: TrackTogether,
) -> None:
    events = together(*[EVENT | {"value": str(number)} for number in range(5)], OTHER)
    assert [event.counter for event in events] == [1, 2, 3, 4, 5, 1]
    stored = TrackedEvent.objects.get(subscriber__email=EVENT["email"])
    assert (stored.counter, stored.value) == (5, "4")
    values = EventOccurrence.objects.filter(event=stored).order_by("counter")
    assert [occurrence.value for occurrence in values] == ["0", "1", "2", "3", "4"]


def test_an_event_of_an_unknown_contact_is_refused_alone(together: TrackTogether) -> None:
    unknown = EVENT | {"email": "unknown@example.com"}
    tracked, refused, other = together(EVENT, unknown, OTHER)
    assert [tracked.counter, other.counter] == [1, 1]
    assert isinstance(refused, SubscriberNotFound)


def test_an_event_that_breaks_the_statement_fails_alone(together: TrackTogether) -> None:
    tracked, broken, other = together(EVENT, EVENT | {"title": "new", "created_by": 2**40}, OTHER)
    assert [tracked.counter, other.counter] == [1, 1]
    assert isinstance(broken, DataError)


def test_a_retry_in_the_same_moment_counts_once(together: TrackTogether) -> None:
    keyed = EVENT | {"idempotency_key": "a"}
    first, retry, other = together(keyed, keyed, keyed | {"value": "other"})
    assert (first.replayed, retry.replayed) == (False, True)
    assert (first.id, first.counter) == (retry.id, retry.counter)
    assert isinstance(other, IdempotencyMismatch)
    assert TrackedEvent.objects.get(id=first.id).counter == 1


def test_equal_keys_of_two_owners_count_both(together: TrackTogether) -> None:
    keyed = EVENT | {"idempotency_key": "a"}
    track(keyed, credential="another")
    (event,) = together(keyed)
    assert (event.replayed, event.counter) == (False, 2)


def test_equal_user_ids_of_several_sources_reach_their_own_contacts(
    together: TrackTogether, contacts: list[Subscriber]
) -> None:
    for contact, source in zip(contacts, ("", "shop"), strict=False):
        Identity.objects.create(subscriber=contact, kind="user", source=source, value="57")
    event = EVENT | {"email": "", "user_id": "57"}
    sent = [event | {"user_source": source} for source in ("shop", "", "forum")]
    of_shop, of_none, of_forum = together(*sent)
    owners = [of_shop.subscriber_id, of_none.subscriber_id]
    assert owners == [contacts[1].pk, contacts[0].pk]
    assert isinstance(of_forum, SubscriberNotFound)


def test_all_are_refused_as_soon_as_tracking_is_switched_off(together: TrackTogether) -> None:
    outcomes = together(EVENT, OTHER, meanwhile=lambda: TrackingSwitch.set_enabled(False))
    assert [type(outcome) for outcome in outcomes] == [NotEnabled, NotEnabled]
