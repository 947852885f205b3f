"""Taking back waits for an event that is being tracked, and follows it too."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from crm.contacts import create, delete_contacts
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track
from events.tracking.corrections import Corrected, take_back
from events.verification import find_differences, find_orphans
from tests.system.database import waiting_for_locks
from tests.system.server import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def track_at(hour: int) -> TrackedEvent:
    """Track the event at an hour, which is its value."""
    event = {"event_key": "k", "title": "t", "email": "ada@example.com", "value": str(hour)}
    return track({**event, "occurred_at": f"2024-01-01T{hour:02}:00:00Z"})


def take_back_during(work: Callable[[], object]) -> list[Corrected]:
    """Take the first occurrence back while a transaction that did `work` is open."""
    first = EventOccurrence.objects.earliest("id")

    def in_thread() -> list[Corrected]:
        try:
            return take_back(first.subscriber_id, [first.pk])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            work()
            corrected = threads.submit(in_thread)
            wait_until(lambda: waiting_for_locks(connection.connection))
        return corrected.result(10)


@pytest.mark.parametrize("hour", [1, 3])
def test_an_event_that_is_tracked_meanwhile_is_not_lost(hour: int) -> None:
    create({"email": "ada@example.com"})
    event = track_at(2)
    assert take_back_during(lambda: track_at(hour)) == [(event.pk, 1, 1)]
    left = TrackedEvent.objects.get()
    state = (left.pk, left.counter, left.value, left.created_at.hour, left.updated_at.hour)
    assert state == (event.pk, 1, str(hour), hour, hour)
    assert find_differences() == []


def test_a_contact_that_is_deleted_meanwhile_has_nothing_to_take_back() -> None:
    contact = create({"email": "ada@example.com"})
    track_at(2)
    assert take_back_during(lambda: delete_contacts([contact.pk])) == []
    assert [fault for fault in find_orphans() if fault.number] == []
