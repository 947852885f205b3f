"""Do the steps of a run. automations/stepping.py finds the runs, and locks their contacts."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from automations.actions import ACTIONS, Context, Outcome
from automations.due import due_at
from automations.models import Run, RunStatus, RunStep
from automations.programs import Program, program
from automations.waits import CUSTOM_PREFIX, parse_wait
from automations.waking import happened_before
from config.api.errors import ApiError
from config.database import clock, fetch_one, fetch_rows, is_disconnected
from crm.filters import matches
from crm.models import Status, Subscriber

logger = logging.getLogger(__name__)

# Steps of one transaction, so that the contact is not locked for long.
STEPS = 20
# When a step that has failed is tried again, and after which it is given up.
RETRIES = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *[timedelta(hours=2)] * 2,
    *[timedelta(hours=12)] * 2,
)
STATUS = "SELECT status FROM crm_subscriber WHERE id = %(contact)s"
# The columns of a run that a step changes, with their types.
COLUMNS = {
    "version_id": "bigint",
    "status": "text",
    "reason": "text",
    "step_id": "bigint",
    "entered_at": "timestamptz",
    "due_at": "timestamptz",
    "happened": "boolean",
    "attempts": "smallint",
    "error": "text",
    "ended_at": "timestamptz",
}
ARRAYS = ", ".join(f"%({name})s::{kind}[]" for name, kind in COLUMNS.items())
STORE = f"""
UPDATE automations_run r SET {", ".join(f"{name} = sent.{name}" for name in COLUMNS)}
FROM unnest(%(id)s::bigint[], {ARRAYS}) sent(id, {", ".join(COLUMNS)})
WHERE r.id = sent.id RETURNING r.id
"""  # noqa: S608


def store(movers: Iterable["Mover"]) -> None:
    """Write where runs are, and what they have done."""
    runs = [mover.run for mover in movers]
    fetch_rows(STORE, {name: [getattr(run, name) for run in runs] for name in ("id", *COLUMNS)})
    RunStep.objects.bulk_create(step for mover in movers for step in mover.steps)


class Mover:
    """Moves one run on, whose contact the caller's transaction has locked."""

    def __init__(
        self, run: Run, version: Program, now: datetime, status: str, done: Iterable[int]
    ) -> None:
        """Begin where the run is.

        Args:
            run: the run.
            version: the current version of its automation.
            now: PostgreSQL's time, or in a dry run a later one.
            status: the status of the contact.
            done: ids of the steps that the run has done.
        """
        self.run, self.version, self.now, self.status = run, version, now, status
        self.context = Context(run)
        self.done = {*done}
        # What `move` has done. `store` writes it.
        self.steps: list[RunStep] = []

    def move(self, *, has_savepoints: bool = True) -> None:
        """Do steps until the run waits or ends. The caller calls `store` then.

        Args:
            has_savepoints: whether a step that fails is undone alone, and tried again later.
                Without savepoints, which take half of the time, the error is raised.
        """
        run = self.run
        if run.version_id != self.version.version_id:
            self._change_version()
        steps = 0
        run.due_at = self.now
        while run.status == RunStatus.ACTIVE and run.due_at == self.now:
            if self.version.document["only_subscribed"] and self.status != Status.SUBSCRIBED:
                self.end(RunStatus.CANCELLED, f"The contact is {self.status}.")
            elif run.step_id is None:
                self.end(RunStatus.COMPLETED)
            elif steps == STEPS:
                # It goes on in the next transaction.
                break
            else:
                (self._try if has_savepoints else self._do)(run.step_id)
                steps += 1

    def _change_version(self) -> None:
        """Look up the step in the current version. Behind a removed one, take the next that is."""
        run = self.run
        if run.step_id is not None and run.step_id not in self.version.steps:
            removed = run.step_id
            run.step_id = program(run.version_id).surviving(removed, self.version)
            run.entered_at, run.happened = None, False
            self._log(removed, Outcome("removed", {}))
        run.version_id = self.version.version_id

    def _do(self, step_id: int) -> None:
        self._step(step_id)
        if self.run.step_id != step_id:
            self.run.attempts, self.run.error = 0, ""
        if "status" in self.version.steps[step_id].get("fields", ()):
            self.status = fetch_one(STATUS, {"contact": self.run.subscriber_id})[0]

    def _try(self, step_id: int) -> None:
        """Do a step in a savepoint."""
        run, step = self.run, self.version.steps[step_id]
        before = {name: getattr(run, name) for name in COLUMNS}
        done, steps = {*self.done}, [*self.steps]
        try:
            with transaction.atomic():
                self._do(step_id)
        except Exception as error:
            if is_disconnected(error):
                raise
            for name, value in before.items():
                setattr(run, name, value)
            self.done, self.steps = done, steps
            if isinstance(error, ApiError) and step["type"] in ACTIONS:
                # No retry helps, because the store forbids it.
                self._go(step_id, Outcome("skipped", {"reason": str(error)}))
            else:
                logger.exception("Step %d of run %d failed.", step_id, run.pk)
                fail(run, error, self.now)

    def _step(self, step_id: int) -> None:
        step = self.version.steps[step_id]
        if step_id in self.done:
            # An edit has moved it behind, and no step is done twice.
            self.run.step_id = self.version.following[step_id]
            self.run.entered_at, self.run.happened = None, False
            return
        match step["type"]:
            case "wait":
                self._wait(step)
            case "wait_until":
                self._wait_until(step)
            case "if":
                contact = Subscriber(pk=self.run.subscriber_id)
                is_match = matches(contact, step["conditions"])
                self._branch(step, is_match)
            case "stop":
                self._log(step_id, Outcome("done", {}))
                self.end(RunStatus.COMPLETED)
            case name:
                self._go(step_id, ACTIONS[name](self.context, step))

    def _wait(self, step: Mapping[str, Any]) -> None:
        if self.run.entered_at is None:
            self.run.entered_at = self.now
            self.run.due_at = self.due(step["wait"])
            if self.run.due_at > self.now:
                return
        self._go(step["id"], Outcome("done", {}))

    def _wait_until(self, step: Mapping[str, Any]) -> None:
        run = self.run
        if run.entered_at is None:
            # Behind what the steps before it have tracked in this transaction.
            run.entered_at = max(self.now, clock())
            run.happened = step["since"] == "start" and happened_before(run, step)
            if not run.happened:
                timeout = step.get("timeout")
                run.due_at = self.due(timeout) if timeout else None
                if run.due_at is None or run.due_at > self.now:
                    return
        self._branch(step, run.happened)

    def due(self, wait: Any) -> datetime:
        """Return when a wait ends that the contact enters now."""
        parsed = parse_wait(wait)
        value = None
        if parsed.field.startswith(CUSTOM_PREFIX):
            values = self.context.contact["custom_values"]
            value = values.get(parsed.field.removeprefix(CUSTOM_PREFIX))
        elif parsed.field:
            value = self.context.contact.get(parsed.field)
        zone = self.context.contact["timezone"] if parsed.zone == "contact" else ""
        return due_at(parsed, self.now, zone, value)

    def _branch(self, step: Mapping[str, Any], is_yes: bool) -> None:
        self._go(step["id"], Outcome("yes" if is_yes else "no", {}), "then" if is_yes else "else")

    def _go(self, step_id: int, outcome: Outcome, branch: str = "") -> None:
        """Note what a step did, and go on behind it, or into a branch of it."""
        self._log(step_id, outcome)
        run, step = self.run, self.version.steps[step_id]
        run.step_id = (
            self.version.branch(step_id, branch)
            if branch and branch in step
            else self.version.following[step_id]
        )
        run.entered_at, run.happened, run.due_at = None, False, self.now

    def _log(self, step_id: int, outcome: Outcome) -> None:
        if step_id in self.done:
            return
        self.steps.append(
            RunStep(
                run=self.run,
                automation_id=self.run.automation_id,
                subscriber_id=self.run.subscriber_id,
                step_id=step_id,
                version_id=self.run.version_id,
                outcome=outcome.name,
                detail=outcome.detail,
                at=self.now,
            )
        )
        self.done.add(step_id)

    def end(self, status: RunStatus, reason: str = "") -> None:
        """End the run."""
        self.run.end(self.now, status, reason)


def fail(run: Run, error: Exception, now: datetime) -> None:
    """Note that a step has failed, and try it again later or end the run."""
    run.error = f"{type(error).__name__}: {error}"[:1000]
    run.attempts += 1
    if run.attempts > len(RETRIES):
        run.end(now, RunStatus.FAILED, "A step failed too often.")
    else:
        run.due_at = now + RETRIES[run.attempts - 1]
