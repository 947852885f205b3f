"""Automations while others write: each start once, each step once, and nothing is orphaned."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from automations import starting, taking
from automations.deletion import prune_deleted
from automations.models import Automation, Run, RunStatus, RunStep
from automations.taking import take, take_all
from automations.writing import (
    cancel_overdue,
    create_automation,
    delete_automation,
    pause,
    publish,
    update_automation,
)
from config.database import fetch_rows
from crm.contacts import create, delete_contacts
from crm.merging import merge_contacts
from crm.models import OutboxEntry, Subscriber
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track
from events.tracking.errors import SubscriberNotFound
from tests.long import long
from tests.system.automations import (
    CHECKOUT,
    MARK,
    armed,
    on_own_connection,
    orphans,
    wait_for_runs,
    work_off,
    working,
)
from tests.system.database import waiting_for_locks
from tests.system.server import wait_until
from tests.system.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = {"type": "wait", "wait": {"hours": 1}}
PAID = {"type": "event", "event_key": "paid"}


def published(*steps: dict[str, Any], **document: Any) -> Automation:
    """An automation that may start."""
    automation = create_automation(
        {"title": "Test", "trigger": CHECKOUT, "steps": list(steps), **document}
    )
    return armed(publish(automation.pk))


def contacts(number: int) -> list[int]:
    return [create({"email": f"c{index}@example.com"}).pk for index in range(number)]


def happens(contact_id: int, event_key: str = "checkout", **fields: Any) -> None:
    track({"subscriber_id": contact_id, "event_key": event_key, "title": "Order", **fields})


def marks() -> int:
    return EventOccurrence.objects.filter(event_key="marked").count()


def outcomes(step_id: int) -> list[str]:
    return [*RunStep.objects.filter(step_id=step_id).values_list("outcome", flat=True)]


def step_ids(automation: Automation) -> list[int]:
    assert automation.version
    return [step["id"] for step in automation.version.document["steps"]]


def begin(work: Callable[[], Any]) -> Any:
    """Begin work on another connection."""
    pool = ThreadPoolExecutor(1)
    result = pool.submit(on_own_connection(work))
    pool.shutdown(wait=False)
    return result


def test_an_event_that_is_committed_while_others_are_counted_shifts_no_count() -> None:
    third = {**CHECKOUT, "times": 3, "when": "at"}
    automation = published(MARK, trigger=third, reentry="after_end")
    [ada] = contacts(1)
    happens(ada)
    work_off()
    is_tracked, may_commit = threading.Event(), threading.Event()

    @transaction.atomic
    def track_slowly() -> None:
        happens(ada, title="Slow")
        is_tracked.set()
        may_commit.wait(10)

    slow = begin(track_slowly)
    is_tracked.wait(10)
    happens(ada, title="Fast")
    with transaction.atomic():
        # The worker has read the entries when it waits for this lock, and counts behind it.
        Automation.objects.select_for_update().get(pk=automation.pk)
        taken = begin(take_all)
        wait_until(lambda: waiting_for_locks(connection.connection))
        may_commit.set()
        slow.result(10)
    taken.result(10)
    work_off()
    assert Run.objects.count() == marks() == 1


def test_entries_of_a_contact_that_is_merged_just_then_start_the_survivor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published(MARK)
    ada, bob = contacts(2)
    happens(bob)

    def merge_first(statement: str, parameters: Any) -> Any:
        if statement == starting.LOCK_CONTACTS and Subscriber.objects.filter(pk=bob).exists():
            begin(partial(merge_contacts, ada, ("contact", str(bob)))).result(10)
        return fetch_rows(statement, parameters)

    monkeypatch.setattr(taking, "fetch_rows", merge_first)
    work_off()
    assert [*Run.objects.values_list("subscriber_id", flat=True)] == [ada]
    assert orphans() == []


def test_a_locked_contact_does_not_stop_the_others() -> None:
    published(MARK, HOUR, MARK)
    ada, *others = contacts(4)
    for each in (ada, *others, ada):
        happens(each)
    with transaction.atomic():
        Subscriber.objects.select_for_update(no_key=True).get(pk=ada)
        begin(work_off).result(10)
        assert marks() == 3
        assert OutboxEntry.objects.filter(subscriber_id=ada).count() == 2
    work_off()
    assert marks() == 4
    Run.objects.update(due_at=timezone.now())
    with transaction.atomic():
        Subscriber.objects.select_for_update(no_key=True).get(pk=ada)
        begin(work_off).result(10)
        assert marks() == 7


def test_a_locked_row_of_an_event_delays_its_run_alone() -> None:
    published(MARK)
    ada, *others = contacts(3)
    happens(ada, "marked", title="Marked")
    for each in (ada, *others):
        happens(each)
    with transaction.atomic():
        TrackedEvent.objects.select_for_update().get(event_key="marked")
        begin(work_off).result(10)
        assert marks() == 3
    run = Run.objects.get(subscriber_id=ada)
    assert (run.status, run.attempts) == (RunStatus.ACTIVE, 1)
    assert "lock timeout" in run.error
    Run.objects.update(due_at=timezone.now())
    work_off()
    assert marks() == 4


def test_a_run_that_is_cancelled_just_then_is_not_opened_again() -> None:
    automation = published({"type": "wait_until", "happens": PAID, "timeout": {"hours": 1}}, MARK)
    [ada] = contacts(1)
    happens(ada)
    work_off()
    happens(ada, "paid")
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    OutboxEntry.objects.update(occurred_at=timezone.now())
    with transaction.atomic():
        Run.objects.update(due_at=timezone.now())
        assert cancel_overdue(automation, "Cancelled by hand.") == 1
        taken = begin(take)
        wait_until(lambda: waiting_for_locks(connection.connection))
    taken.result(10)
    work_off()
    run = Run.objects.get()
    assert (run.status, run.reason, marks()) == (RunStatus.CANCELLED, "Cancelled by hand.", 0)


@pytest.mark.parametrize("number", [40, pytest.param(1_000, marks=long)])
def test_two_processes_start_each_contact_once(number: int) -> None:
    automation = published(MARK, {**MARK, "event_key": "second"}, MARK, reentry="after_end")
    ids = contacts(number)
    with working(2):
        for each in ids:
            happens(each)
        wait_for_runs(120)
    assert Run.objects.filter(status=RunStatus.COMPLETED).count() == number
    assert [len(outcomes(each)) for each in step_ids(automation)] == [number] * 3
    assert marks() == 2 * number


@pytest.mark.parametrize("number", [50, pytest.param(1_000, marks=long)])
def test_what_is_awaited_and_the_end_of_the_time_choose_one_branch(number: int) -> None:
    automation = published(
        {
            "type": "wait_until",
            "happens": PAID,
            "timeout": {"hours": 1},
            "then": [MARK],
            "else": [{**MARK, "event_key": "late"}],
        }
    )
    ids = contacts(number)
    for each in ids:
        happens(each)
    work_off()
    due = timezone.now() + timedelta(seconds=0.1)
    for index, each in enumerate(ids):
        ends = due + timedelta(milliseconds=5 * index)
        Run.objects.filter(subscriber_id=each).update(due_at=ends)

    def pay(quarter: int) -> None:
        for index in range(quarter, number, 4):
            ends = due + timedelta(milliseconds=5 * index)
            time.sleep(max(0, (ends - timezone.now()).total_seconds()))
            happens(ids[index], "paid")

    with working(2):
        in_threads(4, lambda index: on_own_connection(partial(pay, index))())
        wait_for_runs(60)
    [step_id] = step_ids(automation)
    found = outcomes(step_id)
    assert len(found) == number
    late = EventOccurrence.objects.filter(event_key="late").count()
    assert (found.count("yes"), found.count("no")) == (marks(), late)
    print(f"{found.count('yes')} of {number} in time")


@pytest.mark.parametrize("number", [40, pytest.param(1_000, marks=long)])
def test_an_automation_is_edited_while_many_wait(number: int) -> None:
    removed = {**MARK, "event_key": "removed"}
    automation = published(HOUR, MARK, HOUR, removed, {**MARK, "event_key": "second"})
    for each in contacts(number):
        happens(each)
    work_off()
    assert automation.version
    first, mark, wait, _, second = automation.version.document["steps"]
    document = automation.version.document
    # Waits are removed and put back, and a mark is moved.
    edits = ([mark, first, wait, second], [first, second], [first, wait, mark, second], [second])
    with working(2):
        for edit in edits:
            update_automation(automation.pk, {**document, "steps": edit})
            active = Run.objects.filter(status=RunStatus.ACTIVE)
            some = [*active.order_by("?").values_list("pk", flat=True)[: number // 5]]
            active.filter(pk__in=some).update(due_at=timezone.now())

        wait_until(lambda: not Run.objects.filter(status=RunStatus.ACTIVE).exists(), 60)
    assert Run.objects.filter(status=RunStatus.COMPLETED).count() == number
    assert not TrackedEvent.objects.filter(counter__gt=1).exclude(event_key="checkout").exists()
    assert not TrackedEvent.objects.filter(event_key="removed").exists()
    assert TrackedEvent.objects.filter(event_key="second").count() == number


@pytest.fixture
def tracked() -> Iterator[list[tuple[int, Any, Any]]]:
    """Contacts that check out in four threads: the id, and the time before and after the call."""
    found: list[tuple[int, Any, Any]] = []
    is_over = threading.Event()

    def clock() -> Any:
        return fetch_rows("SELECT clock_timestamp()", {})[0][0]

    def work() -> None:
        while not is_over.is_set():
            contact = create({"email": f"{time.monotonic_ns()}@example.com"}).pk
            began = clock()
            happens(contact)
            found.append((contact, began, clock()))
            is_over.wait(0.02)

    threads = [threading.Thread(target=on_own_connection(work)) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield found
    is_over.set()
    for thread in threads:
        thread.join()


def wait_for_more(tracked: list[Any], more: int = 40) -> None:
    number = len(tracked)
    wait_until(lambda: len(tracked) >= number + more)


def test_what_is_tracked_while_an_automation_is_published_starts_from_then_on(
    tracked: list[tuple[int, Any, Any]],
) -> None:
    automation = create_automation({"title": "Test", "trigger": CHECKOUT, "steps": [MARK]})
    wait_for_more(tracked)
    with working():
        began = fetch_rows("SELECT clock_timestamp()", {})[0][0]
        publish(automation.pk)
        wait_until(lambda: Automation.objects.filter(armed_at__isnull=False).exists())
        wait_for_more(tracked)
        seen = list(tracked)
        # Of these alone, because the others arrive until the test ends.
        entries = OutboxEntry.objects.filter(subscriber_id__in=[contact for contact, *_ in seen])
        wait_until(lambda: not entries.exists(), 30)
    automation.refresh_from_db()
    assert automation.armed_at
    started = {*Run.objects.values_list("subscriber_id", flat=True)}
    before = {contact for contact, _, ended in seen if ended < began}
    after = {contact for contact, start, _ in seen if start > automation.armed_at}
    assert len(before) >= 40
    assert len(after) >= 20
    assert started & before == set()
    assert after - started == set()


def test_a_pause_during_a_flood_lets_nothing_start_and_no_step_be_done(
    tracked: list[tuple[int, Any, Any]],
) -> None:
    automation = published(MARK)
    with working():
        wait_for_more(tracked)
        pause(automation.pk)
        [paused_at] = fetch_rows("SELECT clock_timestamp()", {})[0]
        wait_for_more(tracked)
    assert Run.objects.exists()
    assert not Run.objects.filter(created_at__gt=paused_at).exists()
    assert not EventOccurrence.objects.filter(
        event_key="marked", received_at__gt=paused_at + timedelta(seconds=0.2)
    ).exists()


@pytest.mark.parametrize("number", [40, pytest.param(400, marks=long)])
def test_deletions_and_merges_meanwhile_leave_no_orphans(number: int) -> None:
    automations = [
        published(MARK, HOUR, MARK),
        published(HOUR, title="Second"),
        published(MARK, title="Third", trigger={**CHECKOUT, "event_key": "marked"}),
    ]
    ids = contacts(number)
    merged, deleted = ids[: number // 4], ids[number // 4 : number // 2]
    survivors = ids[number // 2 :]

    def track_all() -> None:
        for turn in range(3):
            for each in ids:
                with suppress(SubscriberNotFound):
                    happens(each, title=f"Order {turn}")

    def merge() -> None:
        for each, survivor in zip(merged, survivors, strict=False):
            merge_contacts(survivor, ("contact", str(each)))

    def delete() -> None:
        for each in deleted:
            delete_contacts([each])
        delete_automation(automations[1].pk)

    with working(2):
        works = (track_all, merge, delete)
        in_threads(3, lambda index: on_own_connection(works[index])())
        wait_until(lambda: not OutboxEntry.objects.exists(), 60)
    work_off()
    prune_deleted()
    assert orphans() == []
    assert {*Run.objects.values_list("subscriber_id", flat=True)} <= {*survivors}
    assert Subscriber.objects.count() == len(survivors)
    assert {*Run.objects.order_by().values_list("automation_id", flat=True).distinct()} == {
        automations[0].pk,
        automations[2].pk,
    }
