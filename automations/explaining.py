"""Tell why a contact did or did not start, and what an automation would do with it.

Both use the code that starts and moves runs. A dry run is rolled back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Sum

from automations.models import Automation, Refusal, Run, RunStatus, RunStep
from automations.moving import Mover
from automations.programs import Program, program
from automations.values import contact_values
from config.api.errors import ApiError, ObjectNotFound
from config.database import clock
from crm.filters import read_filters, those_matching
from crm.labels import LABEL_MODELS
from crm.models import Status, Subscriber
from crm.outbox import set_cause
from events.models import EventOccurrence, TrackedEvent

# Of one dry run, because waits pass at once.
MAX_TRANSACTIONS = 200


@dataclass(frozen=True)
class ConditionResult:
    """A condition, whether the contact matches it, and the value that it compares.

    `value` is a text for people, and "" where a condition compares no single value. `error` is why
    the condition is invalid, or "".
    """

    group: int
    item: dict[str, Any]
    matches: bool
    value: str
    error: str = ""


@dataclass(frozen=True)
class Explanation:
    """What decides whether a contact starts.

    Attributes:
        automation_status: draft, published or paused.
        contact_status: the status of the contact.
        status_allows: whether the automation takes contacts of this status.
        count: how often the event of the trigger has happened, or None for other triggers.
        last_at: when it happened last.
        conditions: every condition.
        conditions_match: whether a group of conditions matches. Without conditions, it does.
        runs: the runs of the contact, the newest first.
        reentry_allows: whether the rule of re-entry lets the contact start now.
        refusals: why it did not start before, by reason: how often, when last, and the detail.
    """

    automation_status: str
    contact_status: str
    status_allows: bool
    count: int | None
    last_at: datetime | None
    conditions: list[ConditionResult]
    conditions_match: bool
    runs: list[Run]
    reentry_allows: bool
    refusals: list[Refusal]

    @property
    def would_start(self) -> bool:
        """Whether the contact would start if the trigger happened now."""
        return (
            self.automation_status == "published"
            and self.status_allows
            and self.conditions_match
            and self.reentry_allows
        )


def explain(automation_id: int, contact_id: int) -> Explanation:
    """Return what decides whether a contact starts an automation.

    Raises:
        ObjectNotFound: the automation or the contact does not exist.
    """
    automation, contact = _find(automation_id, contact_id)
    document = program(automation.version_id or 0).document
    runs = list(automation.runs.filter(subscriber_id=contact_id).order_by("-number")[:20])
    is_inside = any(run.status == RunStatus.ACTIVE for run in runs)
    allowed = {"once": not runs, "after_end": not is_inside, "every_time": True}
    count, last_at = _happened(document["trigger"], contact_id)
    conditions = _conditions(document["conditions"], contact)
    groups = {result.group for result in conditions}
    return Explanation(
        automation_status=automation.status,
        contact_status=contact.status,
        status_allows=not document["only_subscribed"] or contact.status == Status.SUBSCRIBED,
        count=count,
        last_at=last_at,
        conditions=conditions,
        conditions_match=not conditions
        or any(all(each.matches for each in conditions if each.group == g) for g in groups),
        runs=runs,
        reentry_allows=allowed[document["reentry"]],
        refusals=list(
            Refusal.objects.filter(automation=automation, subscriber_id=contact_id).order_by(
                "-last_at"
            )
        ),
    )


def _find(automation_id: int, contact_id: int) -> tuple[Automation, Subscriber]:
    automation = Automation.objects.filter(pk=automation_id).first()
    if automation is None:
        raise ObjectNotFound("Automation")
    contact = Subscriber.objects.filter(pk=contact_id).first()
    if contact is None:
        raise ObjectNotFound("Subscriber")
    return automation, contact


def _happened(trigger: Mapping[str, Any], contact_id: int) -> tuple[int | None, datetime | None]:
    if trigger["type"] != "event":
        return None, None
    events = TrackedEvent.objects.filter(subscriber_id=contact_id, event_key=trigger["event_key"])
    if trigger["title"]:
        events = events.filter(title=trigger["title"])
    count = events.aggregate(count=Sum("counter"))["count"] or 0
    last = events.order_by("-updated_at").values_list("updated_at", flat=True).first()
    return count, last


def _conditions(filters: list[list[dict[str, Any]]], contact: Subscriber) -> list[ConditionResult]:
    """Return the result of each condition, each alone, so that an invalid one spoils no other."""
    values = contact_values(contact.pk) if filters else {}
    results = []
    for number, group in enumerate(filters):
        for item in group:
            error, is_match = "", False
            try:
                groups = read_filters([[item]], "conditions")
                is_match = those_matching([contact.pk], groups).exists()
            except ApiError as exception:
                error = str(exception)
            value = _value_of(item, contact.pk, values)
            results.append(ConditionResult(number, item, is_match, value, error))
    return results


def _value_of(item: Mapping[str, Any], contact_id: int, values: Mapping[str, Any]) -> str:
    """Return the value of a contact that a condition compares, for people."""
    provider, name = item["source"]
    if provider == "subscriber":
        return _text(values.get(name))
    if provider == "custom_fields":
        return _text(values["custom_values"].get(name))
    if provider == "segment" and name in LABEL_MODELS:
        labels = LABEL_MODELS[name].objects.filter(subscribers=contact_id).order_by("title")
        return ", ".join(labels.values_list("title", flat=True)[:50])
    if provider == "event_tracking" and (key := item.get("extra_value")):
        events = TrackedEvent.objects.filter(subscriber_id=contact_id, event_key=key)
        number = events.aggregate(count=Sum("counter"))["count"] or 0
        newest = events.order_by("-updated_at").first()
        return f"{number} times, {newest.value!r} last" if newest else "never"
    return ""


def _text(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return ", ".join(str(each) for each in values if each is not None)


@dataclass(frozen=True)
class DryStep:
    """A step of a dry run: when it would be done, what it would do, and its effects."""

    step_id: int
    type: str
    outcome: str
    detail: dict[str, Any]
    at: datetime


@dataclass(frozen=True)
class DryRun:
    """What an automation would do with a contact: its steps, and how it would end."""

    steps: list[DryStep]
    status: str
    reason: str


def dry_run(automation_id: int, contact_id: int, *, happens: bool = True) -> DryRun:
    """Return what an automation would do with a contact now, and do nothing.

    Waits pass at once. The newest event of the trigger's key is the one that started it.

    Args:
        automation_id: id of an automation, which may be a draft.
        contact_id: id of the contact.
        happens: whether what the automation waits for happens in time.

    Raises:
        ObjectNotFound: the automation or the contact does not exist.
    """
    automation, _ = _find(automation_id, contact_id)
    version = program(automation.version_id or 0)
    with _rolled_back():
        contact = Subscriber.objects.select_for_update(no_key=True).filter(pk=contact_id).first()
        if contact is None:  # deleted since it was read
            raise ObjectNotFound("Subscriber")
        now = clock()
        run = _begin(automation, version, contact_id, now)
        set_cause([automation.pk])
        done: list[RunStep] = []
        for _ in range(MAX_TRANSACTIONS):
            mover = Mover(run, version, now, contact.status, [row.step_id for row in done])
            mover.move()
            done += mover.steps
            if run.status != RunStatus.ACTIVE:
                break
            step = version.steps.get(run.step_id or 0, {})
            run.happened = step.get("type") == "wait_until" and happens
            now = now if run.happened or run.due_at is None else max(run.due_at, now)
            if step.get("type") == "wait_until" and run.due_at is None and not happens:
                run.reason = "It would wait for ever."
                break
            if run.attempts:
                run.reason = run.error
                break
        steps = [
            DryStep(
                row.step_id,
                version.steps[row.step_id]["type"],
                row.outcome,
                row.detail,
                row.at,
            )
            for row in done
        ]
        return DryRun(steps, run.status, run.reason)


@contextmanager
def _rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _begin(automation: Automation, version: Program, contact_id: int, now: datetime) -> Run:
    runs = Run.objects.filter(automation=automation, subscriber_id=contact_id)
    runs.filter(status=RunStatus.ACTIVE).update(status=RunStatus.CANCELLED, due_at=None)
    newest = runs.order_by("-number").first()
    trigger = version.document["trigger"]
    source = (
        EventOccurrence.objects.filter(subscriber_id=contact_id, event_key=trigger["event_key"])
        .order_by("-occurred_at", "-id")
        .first()
        if trigger["type"] == "event"
        else None
    )
    return Run.objects.create(
        automation=automation,
        subscriber_id=contact_id,
        number=newest.number + 1 if newest else 1,
        version_id=version.version_id,
        step_id=version.first,
        due_at=now,
        source_kind=trigger["type"],
        occurrence_id=source.pk if source else None,
        source_at=now,
        created_at=now,
    )
