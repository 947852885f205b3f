"""Count the runs of automations, and what happened at each step, by indexes alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from automations.documents import places, walk
from automations.models import Automation, RunStatus
from config.database import fetch_one, fetch_rows

# By the index automations_run_report.
RUNS = """
SELECT automation_id, status, count(*) FROM automations_run
WHERE automation_id = ANY(%(automations)s::bigint[]) GROUP BY automation_id, status
"""
# By the index automations_run_newest.
LAST_STARTS = """
SELECT a.id, (
    SELECT created_at FROM automations_run r
    WHERE r.automation_id = a.id ORDER BY created_at DESC LIMIT 1)
FROM unnest(%(automations)s::bigint[]) a(id)
"""
# Runs that have completed are at no step any more.
AT_STEPS = """
SELECT step_id, status, count(*) FROM automations_run
WHERE automation_id = %(automation)s AND status IN ('active', 'cancelled', 'failed')
    AND step_id IS NOT NULL
GROUP BY step_id, status
"""
OUTCOMES = """
SELECT step_id, outcome, count(*) FROM automations_runstep
WHERE automation_id = %(automation)s GROUP BY step_id, outcome
"""
WEBHOOKS = """
SELECT count(*) FROM automations_runstep
WHERE automation_id = %(automation)s AND step_id = ANY(%(steps)s::bigint[]) AND outcome = 'done'
"""
# By the index of the unique constraint.
REASONS = """
SELECT reason, count(*) FROM automations_refusal
WHERE automation_id = %(automation)s GROUP BY reason ORDER BY reason
"""


@dataclass
class RunCounts:
    """The runs of an automation by their status, and when it started last."""

    inside: int = 0
    completed: int = 0
    cancelled: int = 0
    failed: int = 0
    last_started_at: datetime | None = None

    @property
    def started(self) -> int:
        """How many runs have started."""
        return self.inside + self.completed + self.cancelled + self.failed


# The field of RunCounts for each status.
FIELDS = {status: status.value for status in RunStatus} | {RunStatus.ACTIVE: "inside"}


def count_runs(automation_ids: Iterable[int]) -> dict[int, RunCounts]:
    """Return the counts of automations by their ids."""
    ids = {"automations": [*automation_ids]}
    counts = {automation_id: RunCounts() for automation_id in ids["automations"]}
    for automation_id, status, number in fetch_rows(RUNS, ids):
        setattr(counts[automation_id], FIELDS[RunStatus(status)], number)
    for automation_id, started_at in fetch_rows(LAST_STARTS, ids):
        counts[automation_id].last_started_at = started_at
    return counts


@dataclass
class StepReport:
    """What happened at a step.

    Attributes:
        step_id: id of the step.
        type: its type, or "" if the current version has it no more.
        place: where it stands in the document, such as `steps.2.then.0`.
        outcomes: the numbers of runs that passed it, by their outcomes there.
        inside: the number of runs that are at it now.
        left: the number of runs that ended there before it was done.
        failed: the number of runs that ended there because it failed.
    """

    step_id: int
    type: str = ""
    place: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    left: int = 0
    failed: int = 0

    @property
    def passed(self) -> int:
        """How many runs have passed the step."""
        return self.outcomes.total()

    @property
    def entered(self) -> int:
        """How many runs have come to the step."""
        return self.passed + self.inside + self.left + self.failed


def report_steps(automation: Automation) -> list[StepReport]:
    """Return a report of each step, in the order of the document, and of removed ones last."""
    assert automation.version
    reports = {
        step["id"]: StepReport(step["id"], step["type"], place)
        for place, step in places(automation.version.document["steps"])
    }
    ids = {"automation": automation.pk}
    others: dict[int, StepReport] = {}
    for step_id, outcome, number in fetch_rows(OUTCOMES, ids):
        _report(reports, others, step_id).outcomes[outcome] = number
    fields = {RunStatus.ACTIVE: "inside", RunStatus.CANCELLED: "left", RunStatus.FAILED: "failed"}
    for step_id, status, number in fetch_rows(AT_STEPS, ids):
        setattr(_report(reports, others, step_id), fields[RunStatus(status)], number)
    return [*reports.values(), *(others[step_id] for step_id in sorted(others))]


def _report(
    reports: Mapping[int, StepReport], others: dict[int, StepReport], step_id: int
) -> StepReport:
    return reports.get(step_id) or others.setdefault(step_id, StepReport(step_id))


def count_refusals(automation_id: int) -> dict[str, int]:
    """Return the numbers of contacts that did not start, by the reason."""
    return dict(fetch_rows(REASONS, {"automation": automation_id}))


def count_webhooks(automation: Automation) -> int:
    """Return how many webhooks the steps of an automation have created, in all its versions."""
    steps = {
        step["id"]
        for version in automation.versions.iterator(100)
        for step in walk(version.document["steps"])
        if step["type"] == "webhook"
    }
    number: int = fetch_one(WEBHOOKS, {"automation": automation.pk, "steps": [*steps]})[0]
    return number
