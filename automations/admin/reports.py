"""The report of an automation: its steps with the numbers of contacts, and its refusals."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Sum
from django.utils.safestring import SafeString

from automations.models import Automation, AutomationStatus, Refusal
from automations.reports import StepReport, count_runs, report_steps
from automations.rights import SEE_RUNS
from automations.sentences import REASONS, REENTRIES, Describer, step_number
from automations.writing import document_of, overdue
from crm.filters.types import HasPerm


@dataclass(frozen=True)
class ReportedStep:
    """A step of the report, with those of its branches by their headings."""

    step_id: int
    number: str
    sentence: SafeString
    counts: StepReport
    branches: list[tuple[str, list["ReportedStep"]]]


def report_context(automation: Automation, has_perm: HasPerm) -> dict[str, Any]:
    """Return the context of the report.

    Args:
        automation: the automation.
        has_perm: tells whether the admin user has a permission.
    """
    document = document_of(automation)
    describer = Describer(has_perm)
    describer.learn([document])
    counts = {report.step_id: report for report in report_steps(automation)}
    is_paused = automation.status == AutomationStatus.PAUSED
    return {
        "totals": count_runs([automation.pk])[automation.pk],
        "trigger": describer.trigger(document["trigger"]),
        "conditions": document["conditions"] and describer.conditions(document["conditions"]),
        "reentry": REENTRIES[document["reentry"]],
        "only_subscribed": document["only_subscribed"],
        "steps": _steps(document["steps"], counts, describer),
        # What became of runs at steps that are no more.
        "removed": sum(report.entered for report in counts.values() if not report.type),
        "refusals": [
            {**row, "reason": REASONS.get(row["reason"], row["reason"])}
            for row in _refusals(automation)
        ],
        "overdue": overdue(automation) if is_paused else 0,
        "sees_runs": all(map(has_perm, SEE_RUNS)),
    }


def _refusals(automation: Automation) -> Any:
    """Return why contacts did not start: each reason with contacts and times, the most first."""
    rows = Refusal.objects.filter(automation=automation).order_by().values("reason")
    return rows.annotate(contacts=Count("id"), sum=Sum("times")).order_by("-sum")


def _steps(
    steps: list[dict[str, Any]], counts: dict[int, StepReport], describer: Describer
) -> list[ReportedStep]:
    return [
        ReportedStep(
            step["id"],
            step_number(counts[step["id"]].place),
            describer.step(step),
            counts[step["id"]],
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
