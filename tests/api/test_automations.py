"""Automations start once by what happens, and do each step once."""

import json
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from automations.models import Automation, AutomationStatus, Refusal, Run, RunStatus, RunStep
from automations.starting import start_by_hand
from automations.upkeep import own_runs, prune_details
from automations.writing import create_automation, pause, publish, update_automation
from config.api.errors import InvalidFields, Unprocessable
from crm.attachments import attach, detach
from crm.bulk_columns import set_column
from crm.contacts import create, delete_contacts
from crm.merging import merge_contacts
from crm.models import OutboxEntry, Segment, Subscriber, Tag
from events.models import EventOccurrence, TrackedEvent
from events.personal_data import erase_contact
from tests.api.automation import CHECKOUT, HOUR, MARK, happens, outcomes, pass_time, published, work

pytestmark = pytest.mark.django_db
CITY = {"source": ["subscriber", "city"], "operator": "=", "value": "Rome"}


@pytest.fixture
def vip() -> Tag:
    return Tag.objects.create(title="VIP", slug="vip")


def tagging(tag: Tag) -> dict[str, Any]:
    return {"type": "add_tags", "tags": [tag.pk]}


def started() -> int:
    return Run.objects.count()


def marks() -> int:
    return EventOccurrence.objects.filter(event_key="marked").count()


def inside() -> Run:
    return Run.objects.get(status=RunStatus.ACTIVE)


def test_an_event_starts_an_automation_once(ada: Subscriber) -> None:
    published(MARK)
    happens(ada)
    work()
    work()
    assert (started(), marks()) == (1, 1)
    assert Run.objects.get().status == RunStatus.COMPLETED
    assert not OutboxEntry.objects.exists()


def test_an_event_of_another_key_or_title_starts_nothing(ada: Subscriber) -> None:
    published(MARK, trigger={**CHECKOUT, "title": "Refund"})
    happens(ada)
    happens(ada, "login")
    work()
    assert started() == 0


def test_a_draft_and_a_paused_automation_start_nothing(ada: Subscriber) -> None:
    create_automation({"title": "Draft", "trigger": CHECKOUT, "steps": [MARK]})
    pause(published(MARK).pk)
    happens(ada)
    work()
    assert started() == 0


def test_what_happened_before_it_was_published_starts_nothing(ada: Subscriber) -> None:
    first = published(MARK)
    happens(ada)
    second = published(MARK, title="Second")
    work()
    assert [*Run.objects.values_list("automation_id", flat=True)] == [first.pk]
    assert second.armed_at


@pytest.mark.parametrize(
    ("when", "expected"),
    [("from", [3, 4, 5, 6]), ("at", [3]), ("every", [3, 6])],
)
def test_the_times_of_an_event_decide(ada: Subscriber, when: str, expected: list[int]) -> None:
    published(trigger={**CHECKOUT, "times": 3, "when": when}, reentry="after_end")
    starts = []
    for number in range(1, 7):
        happens(ada, title=f"Order {number % 2}")
        before = started()
        work()
        starts += [number] * (started() - before)
    assert starts == expected


def test_a_batch_that_crosses_the_number_starts_once(ada: Subscriber) -> None:
    published(trigger={**CHECKOUT, "times": 3, "when": "at"})
    for number in range(5):
        happens(ada, title=f"Order {number}")
    work()
    assert started() == 1
    third = EventOccurrence.objects.order_by("id")[2]
    assert Run.objects.get().occurrence_id == third.pk


def test_with_a_title_its_own_counter_decides(ada: Subscriber) -> None:
    published(trigger={**CHECKOUT, "title": "Order", "times": 2, "when": "at"})
    happens(ada, title="Other")
    happens(ada)
    work()
    assert started() == 0
    happens(ada)
    work()
    assert started() == 1


def test_an_old_event_starts_nothing_and_says_why(ada: Subscriber) -> None:
    published(MARK)
    happens(ada, occurred_at=timezone.now() - timedelta(days=3))
    work()
    assert started() == 0
    assert Refusal.objects.get().reason == "too_old"


@pytest.mark.parametrize(
    ("reentry", "while_inside", "after"),
    [("once", 1, 1), ("after_end", 1, 2), ("every_time", 2, 3)],
)
def test_the_rule_of_reentry_is_kept(
    ada: Subscriber, reentry: str, while_inside: int, after: int
) -> None:
    published(HOUR, reentry=reentry)
    happens(ada)
    work()
    happens(ada)
    work()
    assert started() == while_inside
    pass_time(inside())
    work()
    happens(ada)
    work()
    assert started() == after
    assert Run.objects.filter(status=RunStatus.ACTIVE).count() <= 1


def test_a_contact_that_is_not_subscribed_does_not_start(ada: Subscriber) -> None:
    published(MARK)
    set_column([ada.pk], "status", "unsubscribed")
    happens(ada)
    work()
    assert started() == 0
    assert Refusal.objects.get().reason == "status"


def test_an_automation_for_all_starts_for_who_is_not_subscribed(ada: Subscriber) -> None:
    published(MARK, only_subscribed=False)
    set_column([ada.pk], "status", "unsubscribed")
    happens(ada)
    work()
    assert marks() == 1


def test_who_unsubscribes_leaves(ada: Subscriber) -> None:
    published(HOUR, MARK)
    happens(ada)
    work()
    set_column([ada.pk], "status", "unsubscribed")
    work()
    run = Run.objects.get()
    assert (run.status, run.reason) == (RunStatus.CANCELLED, "The contact is unsubscribed.")


def test_conditions_let_in_who_matches(ada: Subscriber) -> None:
    bo = create({"email": "bo@example.com"})
    condition = {"source": ["subscriber", "email"], "operator": "=", "value": "bo@example.com"}
    published(MARK, conditions=[[condition]])
    happens(ada)
    happens(bo)
    work()
    assert [*Run.objects.values_list("subscriber_id", flat=True)] == [bo.pk]
    refusal = Refusal.objects.get()
    assert (refusal.subscriber_id, refusal.reason) == (ada.pk, "conditions")


@pytest.mark.parametrize("match", ["any", "all"])
def test_added_tags_start(ada: Subscriber, vip: Tag, match: str) -> None:
    gold = Tag.objects.create(title="Gold", slug="gold")
    trigger = {"type": "tag_added", "tags": ["VIP", gold.pk], "match": match}
    published(trigger=trigger)
    attach("tags", [ada.pk], [vip.pk])
    work()
    assert started() == (match == "any")
    attach("tags", [ada.pk], [gold.pk])
    work()
    assert started() == 1


def test_a_removed_tag_starts(ada: Subscriber, vip: Tag) -> None:
    published(trigger={"type": "tag_removed", "tags": [vip.pk]})
    attach("tags", [ada.pk], [vip.pk])
    work()
    assert started() == 0
    detach("tags", [ada.pk], [vip.pk])
    work()
    assert started() == 1


def test_a_new_contact_starts() -> None:
    published(trigger={"type": "contact_created"})
    create({"email": "new@example.com"})
    work()
    assert started() == 1


def test_a_changed_status_starts(ada: Subscriber) -> None:
    published(trigger={"type": "status_changed", "statuses": ["bounced"]}, only_subscribed=False)
    set_column([ada.pk], "status", "bounced")
    work()
    assert started() == 1


def test_who_enters_a_segment_starts_and_who_was_in_it_does_not(ada: Subscriber, vip: Tag) -> None:
    bo = create({"email": "bo@example.com"})
    attach("tags", [ada.pk], [vip.pk])
    condition = {"source": ["segment", "tags"], "operator": "in", "value": [vip.pk]}
    segment = Segment.objects.create(title="VIP", slug="vip", filters=[[condition]])  # type: ignore[misc]  # a JSON field
    automation = published(trigger={"type": "segment_entered", "segment": segment.pk})
    work()
    attach("tags", [bo.pk], [vip.pk])
    read_at = timezone.now() - timedelta(hours=1)
    Automation.objects.filter(pk=automation.pk).update(segment_read_at=read_at)
    work()
    assert [*Run.objects.values_list("subscriber_id", flat=True)] == [bo.pk]


def test_contacts_start_by_hand(ada: Subscriber) -> None:
    automation = published(MARK)
    assert start_by_hand([ada.pk, 10**9], automation.pk) == {"started": 1}
    assert start_by_hand([ada.pk], automation.pk) == {"inside": 1}
    work()
    assert marks() == 1


def test_a_draft_is_not_started_by_hand(ada: Subscriber) -> None:
    draft = create_automation({"title": "Draft", "trigger": {"type": "manual"}, "steps": []})
    with pytest.raises(Unprocessable):
        start_by_hand([ada.pk], draft.pk)


def test_steps_change_the_contact(ada: Subscriber, vip: Tag) -> None:
    published(
        {"type": "add_tags", "tags": ["VIP"]},
        {
            "type": "set_fields",
            "fields": {"city": "{{event.value}}", "custom_values.plan": "gold {{contact.email}}"},
        },
    )
    happens(ada, value="Berlin")
    work()
    contact = Subscriber.objects.get(pk=ada.pk)
    assert contact.city == "Berlin"
    assert contact.custom_values == {"plan": "gold ada@example.com"}
    assert [*contact.tags.all()] == [vip]


def test_a_step_does_not_subscribe_who_opted_out(ada: Subscriber) -> None:
    published(
        {"type": "set_fields", "fields": {"status": "subscribed", "city": "Rome"}},
        only_subscribed=False,
    )
    set_column([ada.pk], "status", "unsubscribed")
    happens(ada)
    work()
    contact = Subscriber.objects.get(pk=ada.pk)
    assert (contact.status, contact.city) == ("unsubscribed", "Rome")


def test_a_tracked_event_has_values_of_the_contact_and_of_the_event(ada: Subscriber) -> None:
    published(
        {
            "type": "track_event",
            "event_key": "thanked",
            "title": "Thanks {{contact.first_name|friend}}",
            "value": "{{event.properties.order.total}}",
        }
    )
    happens(ada, properties={"order": {"total": 12.5}})
    work()
    event = TrackedEvent.objects.get(event_key="thanked")
    assert (event.title, event.value, event.provider) == ("Thanks friend", "12.5", "automation")


def test_a_webhook_whose_texts_are_too_long_is_skipped_in_bounded_memory(ada: Subscriber) -> None:
    text = "{{event.properties.text}}" * 38
    url = "https://hook.example/"
    published({"type": "webhook", "url": url, "data": {f"text {n}": text for n in range(50)}})
    happens(ada, properties={"text": "x" * 60_000})
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcomes(Run.objects.get()) == ["skipped"]
    assert "131,072 bytes at most" in RunStep.objects.get().detail["reason"]
    assert peak < 10_000_000


def test_a_deleted_tag_is_skipped(ada: Subscriber, vip: Tag) -> None:
    published({"type": "add_tags", "tags": [vip.pk]}, MARK)
    vip.delete()
    happens(ada)
    work()
    assert outcomes(Run.objects.get()) == ["skipped", "done"]


def test_a_wait_ends_after_its_time(ada: Subscriber) -> None:
    published(HOUR, MARK)
    happens(ada)
    work()
    run = inside()
    assert run.due_at
    assert run.entered_at
    assert run.due_at - run.entered_at == timedelta(hours=1)
    assert marks() == 0
    pass_time(run)
    work()
    assert marks() == 1


@pytest.mark.parametrize("is_gold", [True, False])
def test_a_condition_chooses_the_branch(ada: Subscriber, vip: Tag, is_gold: bool) -> None:
    condition = {"source": ["segment", "tags"], "operator": "in", "value": [vip.pk]}
    automation = published(
        {"type": "if", "conditions": [[condition]], "then": [MARK], "else": [HOUR]}, MARK
    )
    if is_gold:
        attach("tags", [ada.pk], [vip.pk])
    happens(ada)
    work()
    assert marks() == (2 if is_gold else 0)
    assert outcomes(Run.objects.get(automation=automation))[0] == ("yes" if is_gold else "no")


def test_stop_ends_a_run_before_the_other_steps(ada: Subscriber) -> None:
    published({"type": "stop"}, MARK)
    happens(ada)
    work()
    assert (Run.objects.get().status, marks()) == (RunStatus.COMPLETED, 0)


def until(**more: Any) -> dict[str, Any]:
    return {
        "type": "wait_until",
        "happens": {"type": "event", "event_key": "paid"},
        "timeout": {"hours": 2},
        "then": [],
        "else": [MARK],
        **more,
    }


def test_what_is_awaited_ends_the_wait(ada: Subscriber) -> None:
    published(until())
    happens(ada)
    work()
    happens(ada, "paid")
    work()
    assert (outcomes(Run.objects.get()), marks()) == (["yes"], 0)


def test_the_time_out_takes_the_other_branch(ada: Subscriber) -> None:
    published(until())
    happens(ada)
    work()
    pass_time(inside())
    work()
    assert (outcomes(Run.objects.get()), marks()) == (["no", "done"], 1)


@pytest.mark.parametrize(("since", "expected"), [("start", ["done", "yes"]), ("here", ["done"])])
def test_what_happened_during_an_earlier_wait_counts_since_the_start(
    ada: Subscriber, since: str, expected: list[str]
) -> None:
    published(HOUR, until(since=since))
    happens(ada)
    work()
    happens(ada, "paid")
    work()
    pass_time(inside())
    work()
    assert outcomes(Run.objects.get()) == expected


def test_the_event_that_started_it_is_not_the_one_that_is_awaited(ada: Subscriber) -> None:
    published(until(happens={"type": "event", "event_key": "checkout"}))
    happens(ada)
    work()
    assert inside()
    happens(ada)
    work()
    assert outcomes(Run.objects.get()) == ["yes"]


@pytest.mark.parametrize(("cart", "expected"), [("c1", ["yes"]), ("c2", [])])
def test_an_event_with_another_property_is_not_awaited(
    ada: Subscriber, cart: str, expected: list[str]
) -> None:
    published(until(same="cart.id"))
    happens(ada, properties={"cart": {"id": "c1"}})
    work()
    happens(ada, "paid", properties={"cart": {"id": cart}})
    work()
    assert outcomes(Run.objects.get()) == expected


def test_a_late_worker_notices_what_was_awaited_before_the_time_ended(ada: Subscriber) -> None:
    published(until())
    happens(ada)
    work()
    happens(ada, "paid")
    run = inside()
    run.due_at = timezone.now() + timedelta(milliseconds=1)
    Run.objects.filter(pk=run.pk).update(due_at=run.due_at)
    work()
    assert outcomes(Run.objects.get()) == ["yes"]


def test_two_automations_that_start_each_other_end(ada: Subscriber) -> None:
    published({"type": "track_event", "event_key": "login", "title": "Login"}, reentry="after_end")
    published(
        {"type": "track_event", "event_key": "checkout", "title": "Order"},
        title="Second",
        trigger={"type": "event", "event_key": "login"},
        reentry="after_end",
    )
    happens(ada)
    work()
    assert started() == 2
    assert Refusal.objects.get().reason == "loop"


def test_a_flood_pauses_the_automation() -> None:
    automation = published(max_starts_per_hour=2)
    for number in range(3):
        happens(create({"email": f"{number}@example.com"}))
    work()
    automation.refresh_from_db()
    assert automation.status == AutomationStatus.PAUSED
    assert "more than 2 times" in automation.paused_reason


def edited(automation: Automation, *steps: dict[str, Any]) -> None:
    assert automation.version
    update_automation(automation.pk, {**automation.version.document, "steps": list(steps)})


def test_a_step_that_is_added_behind_a_wait_is_done(ada: Subscriber) -> None:
    automation = published(HOUR)
    happens(ada)
    work()
    assert automation.version
    edited(automation, automation.version.document["steps"][0], MARK)
    pass_time(inside())
    work()
    assert marks() == 1


def test_a_step_that_is_removed_is_not_done(ada: Subscriber) -> None:
    automation = published(HOUR, MARK, {**MARK, "event_key": "second"})
    happens(ada)
    work()
    assert automation.version
    wait, _, second = automation.version.document["steps"]
    edited(automation, wait, second)
    pass_time(inside())
    work()
    assert marks() == 0
    assert TrackedEvent.objects.filter(event_key="second").exists()


def test_who_waits_at_a_step_that_is_removed_goes_on_behind_it(ada: Subscriber) -> None:
    automation = published(HOUR, MARK)
    happens(ada)
    work()
    assert automation.version
    edited(automation, automation.version.document["steps"][1])
    work()
    assert (outcomes(Run.objects.get()), marks()) == (["removed", "done"], 1)


def test_a_step_that_is_moved_behind_is_not_done_again(ada: Subscriber) -> None:
    automation = published(MARK, HOUR)
    happens(ada)
    work()
    assert automation.version
    mark, wait = automation.version.document["steps"]
    edited(automation, wait, mark)
    pass_time(inside())
    work()
    assert (marks(), Run.objects.get().status) == (1, RunStatus.COMPLETED)


def test_a_step_of_another_automation_is_rejected(ada: Subscriber) -> None:
    other = published(MARK)
    automation = published(HOUR, title="Second")
    assert other.version
    with pytest.raises(InvalidFields) as error:
        edited(automation, *other.version.document["steps"])
    assert [*error.value.detail] == ["steps.0.id"]


def test_contacts_inside_a_paused_automation_stay_and_notice_what_they_wait_for(
    ada: Subscriber,
) -> None:
    automation = published(until(), MARK)
    happens(ada)
    work()
    pause(automation.pk)
    happens(ada, "paid")
    work()
    assert outcomes(inside()) == []
    publish(automation.pk)
    work()
    assert outcomes(Run.objects.get()) == ["yes", "done"]


def test_a_failed_step_is_tried_again(ada: Subscriber, monkeypatch: pytest.MonkeyPatch) -> None:
    from automations import actions

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    published(MARK)
    happens(ada)
    with monkeypatch.context() as patch:
        patch.setitem(actions.ACTIONS, "track_event", fail)
        work()
    run = inside()
    assert (run.attempts, run.error, outcomes(run)) == (1, "RuntimeError: broken", [])
    pass_time(run)
    work()
    assert outcomes(Run.objects.get()) == ["done"]


def test_a_deleted_contact_leaves_nothing(ada: Subscriber) -> None:
    published(HOUR)
    happens(ada)
    work()
    assert delete_contacts([ada.pk])["automation_runs"] == 1
    assert not Run.objects.exists()


def test_the_run_of_a_merged_contact_goes_on_for_the_survivor(ada: Subscriber) -> None:
    bo = create({"email": "bo@example.com"})
    published(HOUR, MARK)
    happens(ada)
    work()
    merge_contacts(bo.pk, ("contact", str(ada.pk)))
    pass_time(inside())
    work()
    assert Run.objects.get().subscriber_id == bo.pk
    assert EventOccurrence.objects.get(event_key="marked").subscriber_id == bo.pk


def test_labels_that_a_merge_joins_start_nothing(ada: Subscriber) -> None:
    vip = Tag.objects.create(title="VIP", slug="vip")
    published(MARK, trigger={"type": "tag_added", "tags": [vip.pk]}, reentry="every_time")
    bo = create({"email": "bo@example.com"})
    attach("tags", [ada.pk], [vip.pk])
    work()
    merge_contacts(bo.pk, ("contact", str(ada.pk)))
    work()
    assert bo.tags.get() == vip
    assert Run.objects.count() == 1


def test_an_opt_out_that_a_merge_gives_is_acted_on(ada: Subscriber) -> None:
    published(HOUR, only_subscribed=True)
    bo = create({"email": "bo@example.com", "status": "subscribed"})
    happens(bo)
    work()
    Subscriber.objects.filter(pk=ada.pk).update(status="unsubscribed")
    merge_contacts(bo.pk, ("contact", str(ada.pk)))
    work()
    assert Run.objects.get().reason == "The contact is unsubscribed."


def test_a_contact_is_inside_once_after_a_merge(ada: Subscriber) -> None:
    bo = create({"email": "bo@example.com"})
    published(HOUR)
    happens(ada)
    happens(bo)
    work()
    merge_contacts(bo.pk, ("contact", str(ada.pk)))
    assert Run.objects.filter(status=RunStatus.ACTIVE).count() == 1
    assert started() == 2


def test_the_personal_data_of_a_contact_have_its_runs(ada: Subscriber) -> None:
    published(MARK)
    happens(ada)
    work()
    [run] = map(json.loads, own_runs(ada.pk))
    assert (run["automation"], run["status"]) == ("Test", "completed")
    assert [step["outcome"] for step in run["steps"]] == ["done"]


def test_an_erasure_replaces_the_email_in_conditions(ada: Subscriber) -> None:
    condition = {"source": ["subscriber", "email"], "operator": "=", "value": "ADA@example.com"}
    automation = published(MARK, conditions=[[condition]])
    receipt = erase_contact(ada.pk, "admin")
    assert automation.version
    automation.version.refresh_from_db()
    assert automation.version.document["conditions"][0][0]["value"] == "(erased)"
    assert receipt.counts["made_nameless"]["automations"] == 1


def test_old_details_are_pruned_and_steps_stay(ada: Subscriber) -> None:
    published(MARK)
    happens(ada)
    work()
    RunStep.objects.update(at=timezone.now() - timedelta(days=91))
    assert prune_details() == 1
    assert RunStep.objects.get().detail == {}


@pytest.mark.parametrize("place", ["trigger", "step", "condition"])
def test_the_deletion_of_a_tag_pauses_the_automations_that_name_it(
    api: APIClient, vip: Tag, place: str
) -> None:
    condition = {"source": ["segment", "tags"], "operator": "in", "value": [vip.pk]}
    if place == "trigger":
        automation = published(trigger={"type": "tag_added", "tags": [vip.pk]})
    elif place == "step":
        automation = published({"type": "if", "conditions": [[CITY]], "then": [tagging(vip)]})
    else:
        automation = published({"type": "if", "conditions": [[condition]]})
    other = published(title="Other")
    assert api.delete(f"/tags/{vip.pk}").status_code == 200
    automation.refresh_from_db()
    other.refresh_from_db()
    assert (automation.status, other.status) == ("paused", "published")
    assert automation.paused_reason == "The tag “VIP” was deleted."
