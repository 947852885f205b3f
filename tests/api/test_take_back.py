"""Take an occurrence back: what follows, what a retry receives, and what is not there."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from crm.contacts import create, delete_contacts
from crm.models import Subscriber
from events.maintenance import prune_occurrences
from events.models import EventOccurrence, IdempotencyKey, TrackedEvent, TrackingSwitch
from events.personal_data import erase_contact
from events.tracking import track as track_in_python
from events.tracking.corrections import take_back, take_back_by_key
from events.verification import find_differences, find_orphans
from tests.api.conftest import MakePassword, basic
from tests.api.statements import count_statements

TRACK = "/subscribers/track-event"
BY_KEY = "/subscribers/take-back-event"
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}


def track(api: APIClient, hour: int, **fields: Any) -> EventOccurrence:
    """Track the event at an hour, with the hour as its value, and return its occurrence."""
    sent = {"value": str(hour), "occurred_at": f"2024-01-01T{hour:02}:00:00Z", **EVENT, **fields}
    assert api.post(TRACK, sent).status_code == 200
    return EventOccurrence.objects.latest("id")


def delete(api: APIClient, occurrence: EventOccurrence) -> Any:
    """Take the occurrence back."""
    event = f"/subscribers/{occurrence.subscriber_id}/tracking-events/{occurrence.event_id}"
    return api.delete(f"{event}/occurrences/{occurrence.pk}")


def state() -> tuple[int, str, int, int]:
    """Return counter, value, and the hours of the first and the last time of the only event."""
    event = TrackedEvent.objects.get()
    return event.counter, event.value, event.created_at.hour, event.updated_at.hour


@pytest.fixture(autouse=True)
def consistent(ada: Subscriber) -> Any:
    """Verify after each test that counters agree with the log, and that no row is orphaned."""
    yield
    assert find_differences() == []
    assert [fault for fault in find_orphans() if fault.number] == []


@pytest.mark.parametrize(
    ("hour", "expected"), [(1, (2, "3", 2, 3)), (2, (2, "3", 1, 3)), (3, (2, "2", 1, 2))]
)
def test_the_event_becomes_what_the_remaining_occurrences_say(
    api: APIClient, hour: int, expected: tuple[int, str, int, int]
) -> None:
    occurrences = {number: track(api, number) for number in (2, 1, 3)}
    response = delete(api, occurrences[hour])
    assert response.status_code == 200
    assert response.json() == {
        "message": "Event has been taken back",
        "id": occurrences[hour].event_id,
        "counter": "2",
    }
    assert state() == expected


def test_of_two_at_the_same_time_the_later_one_gives_the_value(api: APIClient) -> None:
    track(api, 1, value="a")
    track(api, 1, value="b")
    delete(api, track(api, 1, value="c"))
    assert state() == (2, "b", 1, 1)


@pytest.mark.parametrize("repeatable", [True, False])
def test_an_event_without_occurrences_is_deleted(api: APIClient, repeatable: bool) -> None:
    response = delete(api, track(api, 1, repeatable=repeatable))
    assert response.json()["counter"] == "0"
    assert not TrackedEvent.objects.exists()
    assert not EventOccurrence.objects.exists()


def test_an_event_that_is_tracked_again_begins_at_1(api: APIClient) -> None:
    delete(api, track(api, 1))
    assert track(api, 2).counter == 1


def test_other_occurrences_keep_the_counter_that_they_made(api: APIClient) -> None:
    first, second = track(api, 1), track(api, 2)
    delete(api, first)
    assert EventOccurrence.objects.get().counter == second.counter == 2


def test_first_time_value_and_last_time_stay_where_the_log_was_pruned(api: APIClient) -> None:
    pruned = track(api, 1)
    last = track(api, 2)
    prune_occurrences(last.occurred_at, None, lambda *_: None)
    assert delete(api, pruned).status_code == 404
    assert delete(api, last).json()["counter"] == "1"
    assert state() == (1, "2", 1, 2)


def test_an_occurrence_is_taken_back_once(api: APIClient) -> None:
    track(api, 1)
    second = track(api, 2)
    delete(api, second)
    response = delete(api, second)
    assert (response.status_code, response.json()) == (404, {"message": "Occurrence not found"})
    assert state() == (1, "1", 1, 1)


@pytest.mark.parametrize(
    "path",
    [
        "/subscribers/{contact}/tracking-events/{event}/occurrences/999999999",
        "/subscribers/{contact}/tracking-events/999999999/occurrences/{occurrence}",
        "/subscribers/999999999/tracking-events/{event}/occurrences/{occurrence}",
        f"/subscribers/{{contact}}/tracking-events/{{event}}/occurrences/{'9' * 18}",
    ],
)
def test_what_is_not_there_is_404_and_changes_nothing(api: APIClient, path: str) -> None:
    one = track(api, 1)
    path = path.format(contact=one.subscriber_id, event=one.event_id, occurrence=one.pk)
    response = api.delete(path)
    assert (response.status_code, response.json()) == (404, {"message": "Occurrence not found"})
    assert state() == (1, "1", 1, 1)


def test_an_occurrence_is_taken_back_while_tracking_is_switched_off(api: APIClient) -> None:
    occurrence = track(api, 1)
    TrackingSwitch.set_enabled(False)
    assert delete(api, occurrence).status_code == 200


def test_several_occurrences_of_several_events_are_taken_back_together(
    api: APIClient, ada: Subscriber
) -> None:
    ids = [track(api, hour, title=title).pk for hour in (1, 2, 3) for title in "ab"]
    bob = create({"email": "bob@example.com"})
    bobs = track(api, 1, email=bob.email)
    corrected = take_back(ada.pk, [*ids[:3], bobs.pk])
    assert [one.counter for one in corrected] == [1, 2]
    assert take_back(ada.pk, ids[:3]) == []
    assert EventOccurrence.objects.count() == 4


def test_by_key_the_occurrence_of_that_key_is_taken_back(api: APIClient) -> None:
    track(api, 1, idempotency_key="a")
    track(api, 2, idempotency_key="b")
    response = api.post(BY_KEY, {"idempotency_key": "b"})
    assert (response.status_code, response.json()["counter"]) == (200, "1")
    assert state() == (1, "1", 1, 1)


@pytest.mark.parametrize("key", ["other", "taken back"])
def test_a_key_without_an_occurrence_is_404(api: APIClient, key: str) -> None:
    track(api, 1, idempotency_key="taken back")
    api.post(BY_KEY, {"idempotency_key": "taken back"})
    response = api.post(BY_KEY, {"idempotency_key": key})
    assert (response.status_code, response.json()) == (404, {"message": "Occurrence not found"})


def test_the_key_of_another_application_password_is_404(
    api: APIClient, admin: User, make_password: MakePassword
) -> None:
    track(api, 1, idempotency_key="a")
    other = APIClient()
    other.credentials(HTTP_AUTHORIZATION=basic("admin", make_password(admin)))
    assert other.post(BY_KEY, {"idempotency_key": "a"}).status_code == 404
    assert state() == (1, "1", 1, 1)


@pytest.mark.parametrize("key", [None, "", "  ", ["a"], "a\0", "k" * 256])
def test_an_invalid_key_is_422_by_field(api: APIClient, key: Any) -> None:
    response = api.post(BY_KEY, {"idempotency_key": key})
    assert (response.status_code, list(response.json())) == (422, ["idempotency_key"])


@pytest.mark.parametrize("before", [0, 1])
def test_a_retry_receives_the_first_response_and_counts_nothing(
    api: APIClient, before: int
) -> None:
    for hour in range(before):
        track(api, hour)
    sent = {**EVENT, "value": "5"}
    headers = {"Idempotency-Key": "a"}
    first = api.post(TRACK, sent, headers=headers)
    batch = {"events": [{**sent, "idempotency_key": "a"}]}
    in_batch = api.post("/subscribers/track-events", batch)
    delete(api, EventOccurrence.objects.latest("id"))
    again = api.post(TRACK, sent, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert api.post("/subscribers/track-events", batch).json() == in_batch.json()
    assert EventOccurrence.objects.count() == before
    changed = api.post(TRACK, {**sent, "value": "6"}, headers=headers)
    assert changed.json()["error_code"] == "idempotency_mismatch"


def test_in_python_a_retry_of_the_only_occurrence_returns_the_event_as_it_was_sent(
    ada: Subscriber,
) -> None:
    data = {**EVENT, "value": "5", "provider": "shop", "occurred_at": "2024-01-01T01:00:00Z"}
    first = track_in_python(data, idempotency_key="a")
    take_back_by_key("python", "a")
    again = track_in_python(data, idempotency_key="a")
    assert again.replayed
    columns = [field.attname for field in TrackedEvent._meta.concrete_fields]
    assert [getattr(again, name) for name in columns] == [getattr(first, name) for name in columns]
    assert again.subscriber == ada


def test_deleting_the_contact_frees_the_keys_of_what_was_taken_back(
    api: APIClient, ada: Subscriber
) -> None:
    track(api, 1, idempotency_key="a")
    api.post(BY_KEY, {"idempotency_key": "a"})
    delete_contacts([ada.pk])
    assert not IdempotencyKey.objects.exists()
    create({"email": ada.email})
    assert track(api, 1, idempotency_key="a").counter == 1


def test_an_erasure_counts_the_keys_of_what_was_taken_back(api: APIClient, ada: Subscriber) -> None:
    for key in "ab":
        track(api, 1, idempotency_key=key)
    api.post(BY_KEY, {"idempotency_key": "a"})
    assert erase_contact(ada.pk, by="admin").counts["deleted"]["idempotency_keys"] == 2
    assert not IdempotencyKey.objects.exists()


def test_the_number_of_statements_is_that_of_the_events(api: APIClient, ada: Subscriber) -> None:
    ids = [track(api, 1).pk for _ in range(9)]
    one = count_statements(lambda: take_back(ada.pk, ids[:1]))
    assert count_statements(lambda: take_back(ada.pk, ids[1:8])) == one > 5
