"""The report of an automation: its steps with the numbers of contacts, and its refusals."""

from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from automations.documents import walk
from automations.models import Automation, AutomationStatus
from automations.reports import StepCounts, refusals, step_counts, totals
from automations.sentences import REASONS, REENTRIES, Describer
from automations.writing import document_of, overdue
from crm.filters.types import HasPerm


@dataclass(frozen=True)
class ReportedStep:
    """A step of the report, with those of its branches by their headings."""

    step_id: int
    sentence: SafeString
    counts: StepCounts
    branches: list[tuple[str, list["ReportedStep"]]]


def report_context(automation: Automation, has_perm: HasPerm) -> dict[str, Any]:
    """Return the context of the report.

    Args:
        automation: the automation.
        has_perm: tells whether the admin user has a permission.
    """
    document = document_of(automation)
    describer = Describer(has_perm)
    counts = step_counts(automation.pk)
    current = {step["id"] for step in walk(document["steps"])}
    is_paused = automation.status == AutomationStatus.PAUSED
    return {
        "totals": totals([automation.pk])[automation.pk],
        "trigger": describer.trigger(document["trigger"]),
        "conditions": document["conditions"] and describer.conditions(document["conditions"]),
        "reentry": REENTRIES[document["reentry"]],
        "only_subscribed": document["only_subscribed"],
        "steps": _steps(document["steps"], counts, describer),
        # What became of runs at steps that are no more.
        "removed": sum(row.entered for step, row in counts.items() if step not in current),
        "refusals": [
            {**row, "reason": REASONS.get(row["reason"], row["reason"])}
            for row in refusals(automation.pk)
        ],
        "overdue": overdue(automation) if is_paused else 0,
        "sees_runs": has_perm("automations.view_run"),
        "may_ask_why": has_perm("crm.view_subscriber"),
    }


def _steps(
    steps: list[dict[str, Any]], counts: dict[int, StepCounts], describer: Describer
) -> list[ReportedStep]:
    return [
        ReportedStep(
            step["id"],
            describer.step(step),
            counts.get(step["id"], StepCounts()),
            [
                (title, _steps(step[name], counts, describer))
                for name, title in branch_titles(step).items()
            ],
        )
        for step in steps
    ]


def branch_titles(step: dict[str, Any]) -> dict[str, str]:
    """Return the headings of the branches of a step, by the names of the branches."""
    if "then" not in step:
        return {}
    if step["type"] == "if":
        return {"then": "If they match", "else": "If not"}
    return {"then": "If it happens", "else": "If the time ends before"}
