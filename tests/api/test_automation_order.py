"""Entries and due runs alternate in the order of their times, and none stops the others."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from automations.models import Automation, AutomationStatus, Refusal, Run, RunStatus, Version
from automations.worker import run_once
from crm.contacts import create
from crm.models import OutboxEntry, Segment, Subscriber
from events.models import EventOccurrence
from events.tracking.batches import track_many
from tests.api.automation import CHECKOUT, HOUR, MARK, happens, published, work
from tests.api.statements import count_statements

pytestmark = pytest.mark.django_db


def marks() -> int:
    return EventOccurrence.objects.filter(event_key="marked").count()


def minutes_ago(minutes: int) -> Any:
    return timezone.now() - timedelta(minutes=minutes)


@pytest.mark.parametrize(("trigger", "expected"), [({}, 6), ({"times": 3, "when": "every"}, 2)])
@pytest.mark.parametrize("reentry", ["after_end", "every_time"])
def test_a_batch_starts_as_often_as_its_events_one_by_one(
    ada: Subscriber, trigger: dict[str, Any], expected: int, reentry: str
) -> None:
    published(MARK, trigger={**CHECKOUT, **trigger}, reentry=reentry)
    event = {"subscriber_id": ada.pk, "event_key": "checkout"}
    track_many([{**event, "title": f"Order {number}"} for number in range(6)])
    work()
    assert (Run.objects.count(), marks()) == (expected, expected)


@pytest.mark.parametrize(("minutes", "expected"), [(40, 1), (20, 2)])
def test_a_late_worker_ends_a_wait_before_what_happened_after_it(
    ada: Subscriber, minutes: int, expected: int
) -> None:
    published(HOUR, MARK, reentry="after_end")
    happens(ada)
    work()
    Run.objects.update(entered_at=minutes_ago(90), due_at=minutes_ago(30))
    happens(ada)
    OutboxEntry.objects.update(created_at=minutes_ago(minutes))
    Automation.objects.update(armed_at=minutes_ago(100))
    work()
    assert (Run.objects.count(), marks()) == (expected, 1)


def test_a_late_worker_restarts_a_wait_by_what_happened_before_its_end(ada: Subscriber) -> None:
    published(HOUR, MARK, reentry="every_time")
    happens(ada)
    work()
    Run.objects.update(entered_at=minutes_ago(90), due_at=minutes_ago(30))
    happens(ada)
    OutboxEntry.objects.update(created_at=minutes_ago(40))
    Automation.objects.update(armed_at=minutes_ago(100))
    work()
    assert marks() == 0
    assert [*Run.objects.order_by("id").values_list("status", flat=True)] == ["cancelled", "active"]


def test_events_of_a_batch_before_the_one_that_starts_are_not_awaited(ada: Subscriber) -> None:
    happening = {"type": "event", "event_key": "checkout"}
    until = {"type": "wait_until", "happens": happening, "then": [MARK], "else": []}
    published(until, trigger={**CHECKOUT, "times": 2, "when": "at"})
    event = {"subscriber_id": ada.pk, "event_key": "checkout"}
    track_many([{**event, "title": f"Order {number}"} for number in range(2)])
    work()
    assert (Run.objects.get().status, marks()) == (RunStatus.ACTIVE, 0)
    happens(ada)
    work()
    assert marks() == 1


def test_what_an_earlier_step_has_tracked_is_not_awaited_here(ada: Subscriber) -> None:
    happening = {"type": "event", "event_key": "marked"}
    until = {"type": "wait_until", "since": "here", "happens": happening, "then": [MARK]}
    published(MARK, until)
    happens(ada)
    work()
    assert (Run.objects.get().status, marks()) == (RunStatus.ACTIVE, 1)
    happens(ada, "marked")
    work()
    assert marks() == 3


def broken(automation: Automation, **changed: Any) -> None:
    """Store a document that no version of the program can have written."""
    assert automation.version
    document = {**automation.version.document, **changed}
    document = {name: value for name, value in document.items() if value is not None}
    Version.objects.filter(pk=automation.version.pk).update(document=document)


def test_an_entry_that_cannot_be_acted_on_does_not_stop_the_others(
    ada: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    published(MARK)
    broken(published(trigger={**CHECKOUT, "event_key": "login"}), only_subscribed=None)
    for number in range(40):
        key = "login" if number % 8 == 5 else "checkout"
        happens(create({"email": f"{number}@example.com"}), key)
    work()
    assert marks() == 35
    assert not OutboxEntry.objects.exists()
    assert len(caplog.records) == 5


def test_a_run_that_cannot_be_moved_on_does_not_stop_the_others(
    ada: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    first = published(HOUR, MARK)
    published(MARK, title="Second", trigger={**CHECKOUT, "event_key": "login"})
    happens(ada)
    work()
    Run.objects.update(due_at=minutes_ago(1))
    broken(first, only_subscribed=None)
    happens(ada, "login")
    work()
    assert marks() == 1
    run = Run.objects.get(automation=first)
    assert (run.status, run.attempts, run.error) == (
        RunStatus.ACTIVE,
        1,
        "KeyError: 'only_subscribed'",
    )
    assert run.due_at
    assert run.due_at > timezone.now()


def test_a_segment_that_cannot_be_read_pauses_its_automation_alone(ada: Subscriber) -> None:
    segment = Segment.objects.create(title="Rome", slug="rome")
    first = published(trigger={"type": "segment_entered", "segment": segment.pk})
    broken(first, trigger={"type": "segment_entered"})
    published(MARK, title="Second")
    happens(ada)
    work()
    first.refresh_from_db()
    assert first.status == AutomationStatus.PAUSED
    assert "could not be read: 'segment'" in first.paused_reason
    assert marks() == 1


def test_a_condition_that_postgresql_rejects_lets_no_one_in(ada: Subscriber) -> None:
    automation = published(MARK)
    condition = {"source": ["subscriber", "city"], "operator": "=", "value": "Rome"}
    broken(automation, conditions=[[{**condition, "source": ["subscriber", "gone"]}]])
    happens(ada)
    work()
    assert marks() == 0
    assert Refusal.objects.get().reason == "error"


def test_an_idle_process_asks_one_statement(ada: Subscriber) -> None:
    published(HOUR)
    published(HOUR, title="Second", trigger={"type": "manual"})
    happens(ada)
    work()
    assert count_statements(run_once) == 1
