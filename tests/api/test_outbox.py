"""What is watched is recorded by the statement that writes it, whatever door it came through."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from config.database import fetch_one
from crm.merging import merge_contacts
from crm.models import List, OutboxEntry, OutboxKind, Subscriber, Tag
from crm.models.outbox import QUIET
from crm.outbox import set_cause, set_watches
from events.models import EventOccurrence
from events.tracking.corrections import take_back
from events.tracking.watching import set_watched_keys
from tests.api.statements import count_statements

EVENT = {"event_key": "checkout", "title": "Order", "email": "ada@example.com"}
LABELS = {"tags": Tag, "lists": List}


def recorded() -> list[tuple[str, str]]:
    return list(OutboxEntry.objects.order_by("id").values_list("kind", "key"))


def label(kind: str) -> int:
    pk: int = LABELS[kind].objects.create(title="Gold", slug="gold").pk
    return pk


@pytest.mark.parametrize(
    "send",
    [
        lambda api: api.post("/subscribers/track-event", EVENT),
        lambda api: api.post("/subscribers/track-events", {"events": [EVENT]}),
        lambda api: api.post("/subscribers/track-events", {"events": [EVENT], "atomic": True}),
    ],
    ids=["single", "batch", "atomic"],
)
def test_a_watched_event_is_recorded_with_its_occurrence(
    api: APIClient, ada: Subscriber, send: Callable[[APIClient], Any]
) -> None:
    set_watched_keys(["checkout"])
    assert send(api).status_code == 200
    entry, occurrence = OutboxEntry.objects.get(), EventOccurrence.objects.get()
    assert (entry.subscriber_id, entry.kind, entry.key) == (ada.pk, "event", "checkout")
    assert (entry.title, entry.counter, entry.amount) == ("Order", 1, 1)
    assert (entry.occurrence_id, entry.occurred_at) == (occurrence.pk, occurrence.occurred_at)
    assert (entry.quiet, entry.cause) == (False, [])


def test_an_event_of_another_key_is_not_recorded(api: APIClient, ada: Subscriber) -> None:
    set_watched_keys(["login"])
    api.post("/subscribers/track-event", EVENT)
    assert recorded() == []


@pytest.mark.parametrize("watched", [[], ["login"], ["checkout"]])
def test_an_event_costs_two_statements_whatever_is_watched(
    api: APIClient, ada: Subscriber, watched: list[str]
) -> None:
    set_watched_keys(watched)
    # The first request of a password notes when it was used.
    api.post("/subscribers/track-event", EVENT)
    number = count_statements(lambda: api.post("/subscribers/track-event", EVENT))
    assert number == 2
    assert len(recorded()) == (2 if "checkout" in watched else 0)


def test_a_retry_is_recorded_once(api: APIClient, ada: Subscriber) -> None:
    set_watched_keys(["checkout"])
    for _ in range(2):
        api.post("/subscribers/track-event", EVENT, headers={"Idempotency-Key": "order-1"})
    assert len(recorded()) == 1


def test_each_event_of_a_batch_is_recorded_with_its_own_counter(
    api: APIClient, ada: Subscriber
) -> None:
    set_watched_keys(["checkout"])
    api.post("/subscribers/track-events", {"events": [EVENT] * 3})
    assert [*OutboxEntry.objects.order_by("id").values_list("counter", flat=True)] == [1, 2, 3]


def test_an_atomic_batch_with_an_error_records_nothing(api: APIClient, ada: Subscriber) -> None:
    set_watched_keys(["checkout"])
    events = [EVENT, {**EVENT, "email": "unknown@example.com"}]
    api.post("/subscribers/track-events", {"events": events, "atomic": True})
    assert recorded() == []


def test_the_entry_of_an_occurrence_that_is_taken_back_is_deleted(
    api: APIClient, ada: Subscriber
) -> None:
    set_watched_keys(["checkout"])
    api.post("/subscribers/track-event", EVENT)
    take_back(ada.pk, [EventOccurrence.objects.get().pk])
    assert recorded() == []


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("door", ["update", "bulk"])
def test_a_watched_label_that_is_attached_and_detached_is_recorded(
    api: APIClient, ada: Subscriber, kind: str, door: str
) -> None:
    label_id, noun = label(kind), kind[:-1]
    added, removed = OutboxKind(f"{noun}_added"), OutboxKind(f"{noun}_removed")
    set_watches([(added, str(label_id)), (removed, str(label_id))])
    for action in ("attach", "detach"):
        if door == "update":
            call = api.put(f"/subscribers/{ada.pk}", {f"{action}_{kind}": [label_id]})
        else:
            verb = "add_to" if action == "attach" else "remove_from"
            call = api.post(
                "/subscribers/do-bulk-action",
                {
                    "action_name": f"{verb}_{kind}",
                    "action_options": [label_id],
                    "subscriber_ids": [ada.pk],
                },
            )
        assert call.status_code == 200, call.content
    assert recorded() == [(added, str(label_id)), (removed, str(label_id))]


def test_a_label_that_the_contact_has_is_not_recorded_again(
    api: APIClient, ada: Subscriber
) -> None:
    label_id = label("tags")
    set_watches([(OutboxKind.TAG_ADDED, str(label_id))])
    for _ in range(2):
        api.put(f"/subscribers/{ada.pk}", {"attach_tags": [label_id]})
    assert len(recorded()) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/subscribers", {"email": "bo@example.com", "status": "subscribed"}),
        ("/subscribers/bulk-add-update", {"contacts": [{"email": "bo@example.com"}]}),
        ("/subscribers/track-event", {**EVENT, "email": "bo@example.com"}),
    ],
)
def test_a_new_contact_is_recorded_once(
    api: APIClient, settings: Any, path: str, body: dict[str, Any]
) -> None:
    settings.NEW_CONTACTS = "pending"
    set_watches([(OutboxKind.CREATED, "")])
    for _ in range(2):
        api.post(path, body)
    assert recorded() == [("created", "")]


@pytest.mark.parametrize("door", ["update", "bulk"])
def test_a_watched_status_is_recorded(api: APIClient, ada: Subscriber, door: str) -> None:
    set_watches([(OutboxKind.STATUS, "unsubscribed")])
    for status in ("unsubscribed", "unsubscribed", "pending"):
        if door == "update":
            api.put(f"/subscribers/{ada.pk}", {"status": status, "force_update": "yes"})
        else:
            body = {"action_name": "change_contact_status", "new_status": status}
            api.post("/subscribers/do-bulk-action", {**body, "subscriber_ids": [ada.pk]})
    assert recorded() == [("status", "unsubscribed")]


def test_what_a_quiet_transaction_writes_is_not_recorded(api: APIClient, ada: Subscriber) -> None:
    label_id = label("tags")
    set_watches([(OutboxKind.TAG_ADDED, str(label_id))])
    fetch_one("SELECT set_config(%(name)s, 'on', true)", {"name": QUIET})
    api.put(f"/subscribers/{ada.pk}", {"attach_tags": [label_id]})
    assert recorded() == []


def test_an_entry_names_the_automations_that_led_to_it(api: APIClient, ada: Subscriber) -> None:
    set_watched_keys(["checkout"])
    set_cause([7, 9])
    api.post("/subscribers/track-event", EVENT)
    assert OutboxEntry.objects.get().cause == [7, 9]


def test_a_deleted_contact_leaves_no_entries(api: APIClient, ada: Subscriber) -> None:
    set_watched_keys(["checkout"])
    api.post("/subscribers/track-event", EVENT)
    api.delete(f"/subscribers/{ada.pk}")
    assert recorded() == []


def test_the_entries_of_a_merged_contact_become_those_of_the_survivor(
    api: APIClient, ada: Subscriber
) -> None:
    survivor = Subscriber.objects.create(email="survivor@example.com")
    set_watched_keys(["checkout"])
    api.post("/subscribers/track-event", EVENT)
    merge_contacts(survivor.pk, ("contact", str(ada.pk)))
    assert OutboxEntry.objects.get().subscriber_id == survivor.pk
