"""Why a contact does or does not start, and what an automation would do with it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from automations.explaining import dry_run, explain
from automations.health import lateness
from automations.models import Heartbeat, Run, RunStep
from automations.restores import pause_restored
from automations.worker import run_once
from automations.writing import create_automation, pause
from config.api.errors import ObjectNotFound
from crm.attachments import attach
from crm.bulk_columns import set_column
from crm.models import OutboxEntry, Subscriber, Tag
from events.models import TrackedEvent
from tests.api.automation import CHECKOUT, MARK, happens, published, work

pytestmark = pytest.mark.django_db
CITY = {"source": ["subscriber", "city"], "operator": "=", "value": "Rome"}
WAIT = {"type": "wait", "wait": {"days": 2}}


def test_every_condition_has_its_result_and_the_value_of_the_contact(ada: Subscriber) -> None:
    vip = Tag.objects.create(title="VIP", slug="vip")
    attach("tags", [ada.pk], [vip.pk])
    tagged = {"source": ["segment", "tags"], "operator": "in", "value": [vip.pk]}
    automation = published(conditions=[[CITY, tagged]])
    found = explain(automation.pk, ada.pk)
    assert [(each.matches, each.value) for each in found.conditions] == [
        (False, ""),
        (True, "VIP"),
    ]
    assert (found.conditions_match, found.would_start) == (False, False)


def test_a_condition_on_a_deleted_tag_says_so_and_matches_nothing(ada: Subscriber) -> None:
    vip = Tag.objects.create(title="VIP", slug="vip")
    tagged = {"source": ["segment", "tags"], "operator": "not_in", "value": [vip.pk]}
    automation = published(conditions=[[tagged]])
    vip.delete()
    [condition] = explain(automation.pk, ada.pk).conditions
    assert not condition.matches
    assert "do not exist" in condition.error


def test_who_would_start_is_told(ada: Subscriber) -> None:
    automation = published()
    assert explain(automation.pk, ada.pk).would_start


@pytest.mark.parametrize("obstacle", ["status", "pause", "before"])
def test_what_keeps_a_contact_out_is_told(ada: Subscriber, obstacle: str) -> None:
    automation = published()
    if obstacle == "status":
        set_column([ada.pk], "status", "unsubscribed")
    elif obstacle == "pause":
        pause(automation.pk)
    else:
        happens(ada)
        work()
    found = explain(automation.pk, ada.pk)
    assert not found.would_start
    assert (found.status_allows, found.automation_status, found.reentry_allows) == (
        obstacle != "status",
        "paused" if obstacle == "pause" else "published",
        obstacle != "before",
    )


def test_the_number_of_events_and_the_refusals_are_told(ada: Subscriber) -> None:
    automation = published(conditions=[[CITY]])
    happens(ada, title="A")
    happens(ada, title="B")
    work()
    found = explain(automation.pk, ada.pk)
    assert found.count == 2
    assert [(each.reason, each.times) for each in found.refusals] == [("conditions", 2)]


def test_an_unknown_contact_or_automation_is_not_found(ada: Subscriber) -> None:
    with pytest.raises(ObjectNotFound):
        explain(published().pk, 10**9)
    with pytest.raises(ObjectNotFound):
        dry_run(10**9, ada.pk)


def test_a_dry_run_has_the_path_and_the_effects_and_does_nothing(ada: Subscriber) -> None:
    happens(ada, value="12")
    title = {**MARK, "title": "Paid {{event.value}}"}
    draft = create_automation({"title": "Draft", "trigger": CHECKOUT, "steps": [WAIT, title]})
    found = dry_run(draft.pk, ada.pk)
    assert [(each.type, each.outcome) for each in found.steps] == [
        ("wait", "done"),
        ("track_event", "done"),
    ]
    assert found.steps[1].detail["title"] == "Paid 12"
    assert (found.steps[1].at - timezone.now()).days == 1
    assert found.status == "completed"
    assert not Run.objects.exists()
    assert not RunStep.objects.exists()
    assert not TrackedEvent.objects.filter(event_key="marked").exists()


@pytest.mark.parametrize(("is_happening", "expected"), [(True, ["yes"]), (False, ["no", "done"])])
def test_a_dry_run_shows_either_branch_of_a_wait(
    ada: Subscriber, is_happening: bool, expected: list[str]
) -> None:
    until = {
        "type": "wait_until",
        "happens": {"type": "event", "event_key": "paid"},
        "timeout": {"hours": 2},
        "else": [MARK],
    }
    found = dry_run(published(until).pk, ada.pk, happens=is_happening)
    assert [each.outcome for each in found.steps] == expected


def test_a_dry_run_of_a_contact_inside_leaves_its_run(ada: Subscriber) -> None:
    automation = published(WAIT)
    happens(ada)
    work()
    dry_run(automation.pk, ada.pk)
    assert Run.objects.get().status == "active"


def test_a_restored_store_starts_nothing(ada: Subscriber) -> None:
    automation = published(MARK)
    happens(ada)
    assert [*pause_restored(None)] == [
        "Automations that are paused: 1. Resume them in the admin when you want."
    ]
    work()
    assert not Run.objects.exists()
    automation.refresh_from_db()
    assert automation.paused_reason.endswith("Look at the contacts inside, then resume it.")


def test_automations_without_a_process_are_late() -> None:
    assert lateness() == ""
    published()
    assert "No process runs automations" in lateness()
    run_once("host:1")
    assert lateness() == ""
    Heartbeat.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert "for 60 seconds" in lateness()


def test_an_entry_that_waits_for_a_minute_is_late(ada: Subscriber) -> None:
    published()
    run_once("host:1")
    happens(ada)
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert lateness() == "Automations are 120 seconds late."
