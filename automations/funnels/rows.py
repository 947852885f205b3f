"""Automations and runs as FluentCRM's funnels, sequences and funnel subscribers.

Numbers besides `id` are texts, as FluentCRM reads them from its tables. See FluentCRM's
app/Models/Funnel.php, FunnelSequence.php, FunnelSubscriber.php and FunnelMetric.php.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from automations.funnels.names import (
    BRANCH_NAMES,
    STEP_NAMES,
    span_of,
    step_settings,
    trigger_conditions,
    trigger_name,
    trigger_settings,
)
from automations.kinds import BRANCHES, STEPS
from automations.models import Automation, AutomationStatus, Run, RunStatus, RunStep
from automations.programs import Program, program
from automations.reports import RunCounts, StepReport
from automations.rights import without_secrets
from config.api.pagination import PageTooLarge
from config.api.serializers import format_datetime
from crm.api.serializers import serialize_contacts
from crm.filters.types import HasPerm
from crm.selectors import read_contacts

# On one page.
MAX_METRICS = 20_000
FunnelRow = dict[str, Any]
# FluentCRM has no pause: an automation that is paused starts nothing, as a draft.
FUNNEL_STATUSES = ("published", "draft")
STATUSES = {AutomationStatus.PUBLISHED: "published"}
RUN_STATUSES = {
    RunStatus.COMPLETED: "completed",
    RunStatus.CANCELLED: "cancelled",
    RunStatus.FAILED: "cancelled",
}
# The statuses of FluentCRM by which runs are filtered, with ours.
FILTERS = {
    "active": [RunStatus.ACTIVE],
    "waiting": [RunStatus.ACTIVE],
    "pending": [RunStatus.ACTIVE],
    "completed": [RunStatus.COMPLETED],
    "cancelled": [RunStatus.CANCELLED, RunStatus.FAILED],
}


def funnel_status(status: str) -> str:
    """Return FluentCRM's status of an automation: published or draft."""
    return STATUSES.get(AutomationStatus(status), "draft")


def times_of(created_at: Any, updated_at: Any) -> dict[str, str]:
    """Return FluentCRM's columns of times."""
    return {
        "created_at": format_datetime(created_at),
        "updated_at": format_datetime(updated_at),
    }


def funnel_row(automation: Automation, document: Mapping[str, Any]) -> FunnelRow:
    """Return an automation as a funnel.

    Args:
        automation: the automation.
        document: its trigger, conditions and rules. The steps may be missing.
    """
    return {
        "id": automation.pk,
        "type": "funnels",
        "title": automation.title,
        "trigger_name": trigger_name(document["trigger"]["type"]),
        "status": funnel_status(automation.status),
        "conditions": trigger_conditions(document),
        "settings": trigger_settings(document),
        "created_by": str(automation.created_by_id or 0),
        **times_of(automation.created_at, automation.updated_at),
    }


def sequence_tree(automation: Automation, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of an automation as sequences: those of branches in `children`."""
    times = times_of(automation.created_at, automation.updated_at)
    number, seconds = 0, 0

    def rows(
        steps: list[dict[str, Any]], parent: int = 0, branch: str | None = None
    ) -> list[dict[str, Any]]:
        nonlocal number, seconds
        found = []
        for step in steps:
            number += 1
            delay = int(span_of(step).total_seconds())
            is_conditional = bool(STEPS[step["type"]].branches)
            row: dict[str, Any] = {
                "id": step["id"],
                "funnel_id": str(automation.pk),
                "parent_id": str(parent),
                "action_name": STEP_NAMES[step["type"]],
                "condition_type": branch,
                "type": "conditional" if is_conditional else "action",
                "title": STEPS[step["type"]].verbose_name,
                "description": "",
                "status": "published",
                "conditions": [],
                "settings": step_settings(step) or [],
                "note": None,
                "delay": str(delay),
                "c_delay": str(seconds),
                "sequence": str(number),
                "created_by": str(automation.created_by_id or 0),
                **times,
            }
            seconds += delay
            if is_conditional:
                row["children"] = {
                    BRANCH_NAMES[name]: rows(step[name], step["id"], BRANCH_NAMES[name])
                    for name in BRANCHES
                }
            found.append(row)
        return found

    return rows(document["steps"])


def flatten(tree: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return all sequences of a tree by their number, without their children."""
    found = []
    for row in tree:
        found.append({name: value for name, value in row.items() if name != "children"})
        for children in row.get("children", {}).values():
            found += flatten(children)
    return found


class Sequences:
    """The sequences of automations by the ids of their steps, each read once."""

    def __init__(self, has_perm: HasPerm) -> None:
        self._has_perm = has_perm
        self._rows: dict[int, dict[int, dict[str, Any]]] = {}

    def find(self, automation: Automation, version: Program, step_id: int | None) -> Any:
        """Return the sequence of a step, or None."""
        if version.version_id not in self._rows:
            document = without_secrets(version.document, self._has_perm)
            rows = flatten(sequence_tree(automation, document))
            self._rows[version.version_id] = {row["id"]: row for row in rows}
        return self._rows[version.version_id].get(step_id or 0)


def run_rows(
    runs: Collection[Run], has_perm: HasPerm, *, contacts: bool = True
) -> list[dict[str, Any]]:
    """Return runs, read with their automations, as funnel subscribers.

    Args:
        runs: the runs.
        has_perm: tells what the user may see.
        contacts: whether each has its contact.

    Raises:
        PageTooLarge: 422, the runs have too many steps.
    """
    steps: dict[int, list[RunStep]] = defaultdict(list)
    found = RunStep.objects.filter(run__in=[run.pk for run in runs]).order_by("id")
    for step in list(found[: MAX_METRICS + 1]):
        steps[step.run_id].append(step)
    if sum(map(len, steps.values())) > MAX_METRICS:
        raise PageTooLarge
    of_contacts = {}
    if contacts:
        ids = sorted({run.subscriber_id for run in runs})
        of_contacts = {row["id"]: row for row in serialize_contacts(read_contacts(ids))}
    sequences = Sequences(has_perm)
    rows = []
    for run in runs:
        version = program(run.version_id)
        done = steps[run.pk]
        last = done[-1] if done else None
        next_item = sequences.find(run.automation, version, run.step_id)
        row = {
            **_run_row(run, version, last, next_item),
            "last_sequence": last and sequences.find(run.automation, version, last.step_id),
            "next_sequence_item": next_item if run.status == RunStatus.ACTIVE else None,
            "metrics": [metric_row(step) for step in done],
        }
        if contacts:
            row["subscriber"] = of_contacts.get(run.subscriber_id)
        rows.append(row)
    return rows


def _run_row(
    run: Run, version: Program, last: RunStep | None, next_item: Mapping[str, Any] | None
) -> dict[str, Any]:
    is_active = run.status == RunStatus.ACTIVE
    step = version.steps.get(run.step_id or 0, {})
    is_waiting = is_active and step.get("type") == "wait_until" and run.entered_at is not None
    executed_at = run.ended_at or (last and last.at) or run.created_at
    source = run.source_kind if run.source_kind in ("segment", "manual") else None
    names = {"manual": "fcrm_manual_attach", "segment": trigger_name("segment_entered")}
    return {
        "id": run.pk,
        "funnel_id": str(run.automation_id),
        "starting_sequence_id": str(version.first or 0),
        "next_sequence": next_item["sequence"] if next_item and is_active else None,
        "subscriber_id": str(run.subscriber_id),
        "last_sequence_id": str(last.step_id) if last else None,
        "next_sequence_id": str(run.step_id) if run.step_id and is_active else None,
        "last_sequence_status": "complete" if last else "pending",
        "status": ("waiting" if is_waiting else RUN_STATUSES.get(RunStatus(run.status), "active")),
        "type": "funnel",
        "last_executed_time": format_datetime(executed_at),
        "next_execution_time": format_datetime(run.due_at) if run.due_at else None,
        "notes": run.reason or run.error or None,
        "source_trigger_name": names[source]
        if source
        else trigger_name(version.document["trigger"]["type"]),
        "source_ref_id": str(run.occurrence_id or 0),
        **times_of(run.created_at, executed_at),
    }


def metric_row(step: RunStep) -> dict[str, Any]:
    """Return what a step did as a metric."""
    return {
        "id": step.pk,
        "funnel_id": str(step.automation_id),
        "sequence_id": str(step.step_id),
        "subscriber_id": str(step.subscriber_id),
        "benchmark_value": "0",
        "benchmark_currency": "USD",
        "status": "skipped" if step.outcome == "skipped" else "completed",
        "notes": step.detail.get("reason"),
        **times_of(step.at, step.at),
    }


def report_stats(counts: RunCounts, steps: Iterable[StepReport]) -> dict[str, Any]:
    """Return the report of a funnel. A step that no contact has passed is left out."""
    metrics = [_metric("Entrance", counts.started, counts.started, counts.started, 0, "root")]
    previous = counts.started
    for step in steps:
        if not step.passed or not step.type:
            continue
        kind = STEPS[step.type]
        metric_type = "conditional" if kind.branches else "action"
        row = _metric(
            kind.verbose_name, step.passed, previous, counts.started, step.step_id, metric_type
        )
        metrics.append(row)
        previous = step.passed
    return {
        "metrics": metrics,
        "total_revenue": 0,
        "total_revenue_formatted": "0.00",
        "revenue_currency": "USD",
    }


def _metric(
    label: str, count: int, previous: int, entrance: int, step_id: int, metric_type: str
) -> dict[str, Any]:
    percent = round(100 * count / entrance, 2) if entrance else 100
    dropped = max(previous - count, 0)
    return {
        "label": label,
        "count": count,
        "sequence_id": step_id,
        "type": metric_type,
        "percent": percent,
        "percent_text": percent,
        "previous_step_count": previous,
        "drop_count": dropped,
        "drop_percent": round(100 * dropped / previous, 2) if previous else 0,
    }
