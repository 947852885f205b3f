"""Python API for Django programs in the same process: track(), track_many() and two signals."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, models, transaction

from config.api.errors import ApiError, InvalidFields
from config.api.warnings import Warnings
from crm.contacts import delete_contacts, set_user_id
from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent, TrackingSwitch
from events.signals import event_tracked, track_event_activity
from events.tracking import track
from events.tracking.batches import Tracked, track_many
from events.tracking.errors import (
    CurrentSubscriberNotFound,
    IdempotencyMismatch,
    NotEnabled,
    SubscriberNotFound,
)
from tests.api.counts import counted

EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}
ANONYMOUS_EVENT = {"event_key": "k", "title": "t"}
UNKNOWN = EVENT | {"email": "unknown@example.com"}
OCCURRED_AT = datetime(2024, 1, 17, 14, 27, 35, 5, tzinfo=UTC)

CaptureOnCommit = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def signals() -> Iterator[list[dict[str, Any]]]:
    """The arguments of each event_tracked signal that was sent."""
    received: list[dict[str, Any]] = []

    def receive(**arguments: Any) -> None:
        received.append(arguments)

    event_tracked.connect(receive)
    yield received
    event_tracked.disconnect(receive)


@pytest.fixture
def commit(django_capture_on_commit_callbacks: CaptureOnCommit) -> Callable[[], Any]:
    """Run what waits for the commit at the end of `with commit():`."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def counters_of(signals: list[dict[str, Any]]) -> list[tuple[int, Subscriber]]:
    """Return the counter and the contact of each signal."""
    return [(signal["event"].counter, signal["subscriber"]) for signal in signals]


def stored_counters() -> list[int]:
    """Return the counters of all events in the order of their ids."""
    return list(TrackedEvent.objects.order_by("id").values_list("counter", flat=True))


@pytest.mark.parametrize("field", [field.attname for field in TrackedEvent._meta.concrete_fields])
def test_track_returns_the_event_as_it_is_stored(ada: Subscriber, field: str) -> None:
    track({**EVENT, "value": 1, "provider": "first"})
    event = track({**EVENT, "value": 2, "provider": "second"})
    assert getattr(event, field) == getattr(TrackedEvent.objects.get(), field)


def test_track_returns_the_new_counter_and_value_and_the_first_provider(ada: Subscriber) -> None:
    track({**EVENT, "value": 1, "provider": "first"})
    event = track({**EVENT, "value": 2, "provider": "second"})
    assert (event.counter, event.value, event.provider) == (2, "2", "first")
    assert event.subscriber == ada


def test_repeatable_false_creates_a_row_as_argument_and_as_field(ada: Subscriber) -> None:
    track(EVENT, False)
    track({**EVENT, "repeatable": False})
    track(EVENT, repeatable=True)
    assert stored_counters() == [1, 1, 1]


def test_an_unknown_contact_raises_with_fluentcrms_code(ada: Subscriber) -> None:
    with pytest.raises(SubscriberNotFound) as error:
        track(UNKNOWN)
    assert error.value.code == "subscriber_not_found"
    assert not TrackedEvent.objects.exists()


def test_an_event_without_a_contact_raises(ada: Subscriber) -> None:
    with pytest.raises(CurrentSubscriberNotFound, match="Current Subscriber could not be found"):
        track(ANONYMOUS_EVENT)
    assert not TrackedEvent.objects.exists()


def test_invalid_fields_raise_with_every_field(ada: Subscriber) -> None:
    with pytest.raises(InvalidFields) as error:
        track({"email": "ada@example.com"})
    assert set(error.value.detail) == {"event_key", "title"}
    assert not TrackedEvent.objects.exists()


def test_tracking_that_is_switched_off_raises_with_fluentcrms_code(ada: Subscriber) -> None:
    TrackingSwitch.set_enabled(False)
    with pytest.raises(NotEnabled) as error:
        track(EVENT)
    assert error.value.code == "not_enabled"
    assert not TrackedEvent.objects.exists()


def test_created_by_means_the_users_own_contact_when_none_is_named(ada: Subscriber) -> None:
    user = User.objects.create_user("ada", "ADA@example.com")
    event = track(ANONYMOUS_EVENT, created_by=user.pk)
    assert (event.subscriber_id, event.created_by_id) == (ada.pk, user.pk)


def test_user_id_names_the_contact_and_not_the_creator(ada: Subscriber) -> None:
    set_user_id(ada, "57")
    event = track({**EVENT, "email": None, "user_id": 57})
    assert (event.subscriber_id, event.created_by_id) == (ada.pk, None)


def test_a_user_without_an_email_is_no_contact(ada: Subscriber) -> None:
    user = User.objects.create_user("bob")
    with pytest.raises(CurrentSubscriberNotFound):
        track(ANONYMOUS_EVENT, created_by=user.pk)


def test_a_retry_with_a_key_returns_the_first_event_and_sends_no_signal(
    ada: Subscriber, signals: list[dict[str, Any]], commit: Callable[[], Any]
) -> None:
    with commit():
        first = track(EVENT, idempotency_key="a")
        track(EVENT)
        retry = track({**EVENT, "idempotency_key": "a"})
    assert (retry.pk, retry.counter, retry.replayed) == (first.pk, 1, True)
    assert first.replayed is False
    assert len(signals) == 2


def test_a_key_with_other_content_raises_with_its_code(ada: Subscriber) -> None:
    track(EVENT, idempotency_key="a")
    with pytest.raises(IdempotencyMismatch) as error:
        track(EVENT, repeatable=False, idempotency_key="a")
    assert error.value.code == "idempotency_mismatch"


def test_the_same_key_of_another_credential_counts(ada: Subscriber) -> None:
    track(EVENT, idempotency_key="a")
    event = track(EVENT, idempotency_key="a", credential="mine")
    assert (event.counter, event.replayed) == (2, False)


def test_a_dict_and_a_datetime_are_accepted(ada: Subscriber) -> None:
    track({**EVENT, "properties": {"n": [1, None]}, "occurred_at": OCCURRED_AT})
    occurrence = EventOccurrence.objects.get()
    assert (occurrence.properties, occurrence.occurred_at) == ({"n": [1, None]}, OCCURRED_AT)


@pytest.mark.parametrize(
    "fields",
    [
        {"properties": {"n": 2**70}},
        {"properties": {"n": object()}},
        {"properties": {1: "n"}},
        {"properties": {"n": "\ud800"}},
        {"occurred_at": OCCURRED_AT.date()},
    ],
    ids=["number over 64 bits", "no JSON", "key that is no text", "lone surrogate", "date"],
)
def test_python_values_that_are_no_json_or_datetime_are_rejected(
    ada: Subscriber, fields: dict[str, Any]
) -> None:
    with pytest.raises(InvalidFields):
        track({**EVENT, **fields})
    assert not TrackedEvent.objects.exists()


def test_a_batch_sends_a_signal_for_each_event_with_its_counter(
    ada: Subscriber, signals: list[dict[str, Any]], commit: Callable[[], Any]
) -> None:
    items = [{**EVENT, "idempotency_key": str(number)} for number in range(3)]
    with commit():
        outcomes = track_many([*items, {"email": "ada@example.com"}])
    assert [outcome.counter for outcome in outcomes if isinstance(outcome, Tracked)] == [1, 2, 3]
    assert isinstance(outcomes[3], InvalidFields)
    assert counters_of(signals) == [(1, ada), (2, ada), (3, ada)]


def test_a_retried_batch_is_replayed_and_sends_no_signal(
    ada: Subscriber, signals: list[dict[str, Any]], commit: Callable[[], Any]
) -> None:
    items = [{**EVENT, "idempotency_key": str(number)} for number in range(3)]
    track_many(items)
    with commit():
        outcomes = track_many(items)
    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Tracked)] == [True] * 3
    assert signals == []


def test_a_rejected_atomic_batch_counts_nothing_and_sends_no_signal(
    ada: Subscriber, signals: list[dict[str, Any]], commit: Callable[[], Any]
) -> None:
    with commit():
        outcomes = track_many([EVENT, {}], atomic=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    assert [error.status_code for error in errors] == [424, 422]
    assert signals == []
    assert not TrackedEvent.objects.exists()


def test_the_signal_track_event_activity_tracks(ada: Subscriber) -> None:
    track_event_activity.send(sender=None, data=EVENT)
    track_event_activity.send(sender=None, data=EVENT, repeatable=False)
    assert stored_counters() == [1, 1]


def test_the_signal_track_event_activity_raises_where_it_was_sent(ada: Subscriber) -> None:
    with pytest.raises(SubscriberNotFound):
        track_event_activity.send(sender=None, data=UNKNOWN)


def test_event_tracked_is_sent_after_the_commit_with_event_and_contact(
    ada: Subscriber, signals: list[dict[str, Any]], commit: Callable[[], Any]
) -> None:
    with commit(), transaction.atomic():
        track(EVENT)
        assert signals == []
    assert counters_of(signals) == [(1, ada)]


def test_event_tracked_is_not_sent_for_an_event_that_is_rolled_back(
    ada: Subscriber, signals: list[dict[str, Any]], commit: Callable[[], Any]
) -> None:
    with commit(), transaction.atomic():
        track(EVENT)
        transaction.set_rollback(True)
    assert signals == []
    assert not EventOccurrence.objects.exists()


@pytest.mark.parametrize("model", [Subscriber, TrackedEvent, EventOccurrence])
def test_delete_contacts_deletes_the_contact_with_its_events(
    ada: Subscriber, model: type[models.Model]
) -> None:
    track(EVENT)
    assert delete_contacts([ada.pk, ada.pk, 987654])["contacts"] == 1
    assert not model._default_manager.exists()


def test_another_deletion_of_a_contact_with_events_is_rejected_by_the_database(
    ada: Subscriber,
) -> None:
    track(EVENT)
    with pytest.raises(IntegrityError), transaction.atomic():
        Subscriber.objects.filter(pk=ada.pk).delete()
    assert Subscriber.objects.filter(pk=ada.pk).exists()


@pytest.mark.parametrize("field", ["timestamp", "time", "created_at", "counter"])
def test_a_field_that_another_program_means_is_rejected(ada: Subscriber, field: str) -> None:
    with pytest.raises(InvalidFields) as raised:
        track({**EVENT, field: "2020-01-01T00:00:00Z"})
    assert list(raised.value.detail) == [field]
    assert not TrackedEvent.objects.exists()


def test_a_text_that_is_cut_is_told(ada: Subscriber) -> None:
    warnings: Warnings = []
    track({**EVENT, "title": "t" * 193}, warnings=warnings)
    assert [warning["field"] for warning in warnings] == ["title"]


NO_EVENTS: list[Any] = [
    None,
    "checkout",
    EVENT | {"title": "cut \ud83d"},
    EVENT | {"event_key": "\udc00"},
    EVENT | {"value": "\ud83d"},
    EVENT | {"value": {"a": "\ud83d"}},
    EVENT | {"value": {1: "a"}},
    EVENT | {"value": float("nan")},
    EVENT | {"email": "ada\ud83d@example.com"},
    EVENT | {"email": None, "user_id": "\ud83d"},
    EVENT | {"provider": "\ud83d"},
    EVENT | {"idempotency_key": "\ud83d"},
    EVENT | {"properties": {"a": float("nan")}},
    EVENT | {"properties": {"a": [float("inf")]}},
    EVENT | {"properties": {"a": (float("-inf"),)}},
    EVENT | {"properties": {"a": ("\0",)}},
    EVENT | {"context": {"a": "\ud83d"}},
]


@pytest.mark.parametrize("data", NO_EVENTS, ids=ascii)
def test_an_event_that_json_cannot_hold_is_rejected(ada: Subscriber, data: Any) -> None:
    with pytest.raises(InvalidFields):
        track(data)
    assert counted() == (0, 0)


@pytest.mark.parametrize("data", NO_EVENTS, ids=ascii)
def test_an_event_of_a_batch_that_json_cannot_hold_costs_itself(ada: Subscriber, data: Any) -> None:
    rejected, tracked = track_many([data, EVENT])
    assert isinstance(rejected, InvalidFields)
    assert isinstance(tracked, Tracked)
    assert counted() == (1, 1)


@pytest.mark.parametrize("word", ["Pending", "yes", "subscribed"])
def test_a_word_that_is_no_choice_for_new_contacts_is_rejected(db: None, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        track(UNKNOWN, new_contacts=word)
    with pytest.raises(ValueError, match=word):
        track_many([UNKNOWN], new_contacts=word)
    assert not Subscriber.objects.exists()
