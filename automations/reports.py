"""Count what became of the contacts of automations, by automation and by step."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Sum

from automations.models import Refusal, Run, RunStatus, RunStep

# Outcomes of a step that let a contact pass.
PASSED = ("done", "yes", "no")


@dataclass
class Totals:
    """How many runs of an automation there are by status, and when the last one started."""

    inside: int = 0
    completed: int = 0
    left: int = 0
    failed: int = 0
    last_start: datetime | None = None

    @property
    def started(self) -> int:
        """The number of all runs."""
        return self.inside + self.completed + self.left + self.failed


@dataclass
class StepCounts:
    """How many runs have entered a step, and where they are since.

    Attributes:
        passed: those for which the step was done.
        yes: those of them that went into its first branch.
        skipped: those for which it could not be done.
        inside: those that wait at it or are about to do it.
        left: those that ended at it.
        failed: those whose step failed too often.
    """

    passed: int = 0
    yes: int = 0
    skipped: int = 0
    inside: int = 0
    left: int = 0
    failed: int = 0

    @property
    def entered(self) -> int:
        """The number of runs that came to the step."""
        return self.passed + self.skipped + self.inside + self.left + self.failed


def totals(automation_ids: Collection[int]) -> dict[int, Totals]:
    """Return the totals of automations by their ids."""
    found = {automation_id: Totals() for automation_id in automation_ids}
    runs = Run.objects.filter(automation_id__in=automation_ids).order_by()
    groups = runs.values_list("automation_id", "status").annotate(Count("id"), Max("created_at"))
    names = {RunStatus.ACTIVE: "inside", RunStatus.CANCELLED: "left"}
    for automation_id, status, number, last in groups:
        row = found[automation_id]
        setattr(row, names.get(RunStatus(status), status), number)
        row.last_start = max(last, row.last_start or last)
    return found


def step_counts(automation_id: int) -> dict[int, StepCounts]:
    """Return the numbers of an automation's steps by their ids, also of removed steps."""
    found: dict[int, StepCounts] = defaultdict(StepCounts)
    done = RunStep.objects.filter(automation_id=automation_id).order_by()
    for step_id, outcome, number in done.values_list("step_id", "outcome").annotate(Count("id")):
        row = found[step_id]
        if outcome in PASSED:
            row.passed += number
        else:
            row.skipped += number
        if outcome == "yes":
            row.yes += number
    at = Run.objects.filter(automation_id=automation_id, step_id__isnull=False).order_by()
    at = at.exclude(status=RunStatus.COMPLETED)
    names = {RunStatus.ACTIVE: "inside", RunStatus.CANCELLED: "left"}
    for step_id, status, number in at.values_list("step_id", "status").annotate(Count("id")):
        setattr(found[step_id], names.get(RunStatus(status), status), number)
    return found


def refusals(automation_id: int) -> list[Any]:
    """Return why contacts did not start: each reason with contacts and times, most times first."""
    rows = Refusal.objects.filter(automation_id=automation_id).order_by()
    counted = rows.values("reason").annotate(contacts=Count("id"), times=Sum("times"))
    return sorted(counted, key=lambda row: -row["times"])
