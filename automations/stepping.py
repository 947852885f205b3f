"""Move runs on: one transaction does steps of one contact, and stores where it is then.

A step that is done is committed with its effects, so that a killed process has done it or has not.
A step that fails is rolled back alone, and tried again later.
"""

import logging
from collections.abc import Callable, Mapping
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
from config.database import (
    LIMIT_WAITS,
    fetch_one,
    fetch_row,
    fetch_rows,
    in_transaction,
    is_disconnected,
)
from crm.filters import matches
from crm.models import Status, Subscriber
from crm.outbox import set_cause

logger = logging.getLogger(__name__)

# Runs that are looked up at once.
RUNS = 50
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
FIND = """
SELECT r.id, r.subscriber_id
-- By automation, because the overdue runs of one that is paused may be many.
FROM automations_automation a CROSS JOIN LATERAL (
    SELECT id, subscriber_id, due_at FROM automations_run r
    WHERE r.automation_id = a.id AND r.status = 'active' AND r.due_at <= clock_timestamp()
        AND NOT r.id = ANY(%(skipped)s::bigint[])
    ORDER BY r.due_at, r.id LIMIT %(runs)s
) r
WHERE a.status = 'published'
ORDER BY r.due_at, r.id LIMIT %(runs)s
"""
# Whether the first entry of the contact is older than the end of a wait.
IS_RECORDED = """
SELECT created_at <= %(due)s FROM crm_outboxentry
WHERE subscriber_id = %(contact)s ORDER BY id LIMIT 1
"""
LOCK_CONTACT = f"""
SELECT status, {LIMIT_WAITS} FROM crm_subscriber
WHERE id = %(contact)s FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608
CLOCK = "SELECT clock_timestamp()"
STATUS = "SELECT status FROM crm_subscriber WHERE id = %(contact)s"
LOCK_RUN = """
SELECT clock_timestamp(), a.version_id
FROM automations_run r JOIN automations_automation a ON a.id = r.automation_id
WHERE r.id = %(run)s AND r.subscriber_id = %(contact)s AND r.status = 'active'
    AND r.due_at <= clock_timestamp() AND a.status = 'published'
FOR UPDATE OF r
"""
# The columns of a run that a step changes.
COLUMNS = (
    *("version_id", "status", "reason", "step_id", "entered_at", "due_at", "happened"),
    *("attempts", "error", "ended_at"),
)


def step_all(is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Move on all runs that are due, but for those of locked contacts. Returns how many."""
    number, skipped = 0, list[int]()
    while rows := fetch_rows(FIND, {"skipped": skipped, "runs": RUNS}):
        for run_id, contact_id in rows:
            if is_stopping():
                return number
            try:
                is_moved = move_on(run_id, contact_id)
            except Exception as error:
                if is_disconnected(error):
                    raise
                logger.exception("Run %d could not be moved on.", run_id)
                is_moved = _postpone(run_id, error)
            if is_moved:
                number += 1
            else:
                skipped.append(run_id)
    return number


@in_transaction
def _postpone(run_id: int, error: Exception) -> bool:
    """Try a run again later whose transaction has failed. Returns whether it is open still."""
    run = Run.objects.select_for_update().filter(pk=run_id, status=RunStatus.ACTIVE).first()
    if run is None:
        return False
    fail(run, error, fetch_one(CLOCK, {})[0])
    run.save(update_fields=COLUMNS)
    return True


@in_transaction
def move_on(run_id: int, contact_id: int) -> bool:
    """Do the next steps of a run, until it waits or ends.

    Returns:
        Whether it was done: not if the contact is locked, the run is not due any more, or entries
        of the contact have to be acted on before.

    Raises:
        django.db.OperationalError: the database is unavailable. Nothing was done.
    """
    ids = {"run": run_id, "contact": contact_id}
    contact = fetch_row(LOCK_CONTACT, ids)
    found = fetch_row(LOCK_RUN, ids) if contact else None
    if contact is None or found is None:
        return False
    now, version_id = found
    run = Run.objects.get(pk=run_id)
    version = program(version_id)
    if run.entered_at and not run.happened:
        # What was recorded during a wait comes before its end: see automations/taking.py.
        row = fetch_row(IS_RECORDED, {**ids, "due": run.due_at})
        if row and row[0]:
            return False
    Mover(run, version, now, contact[0]).move()
    return True


class Mover:
    """Moves one run on, whose contact the caller's transaction has locked."""

    def __init__(self, run: Run, version: Program, now: datetime, status: str) -> None:
        """Begin where the run is.

        Args:
            run: the run.
            version: the current version of its automation.
            now: PostgreSQL's time, or in a dry run a later one.
            status: the status of the contact.
        """
        self.run, self.version, self.now, self.status = run, version, now, status
        self.context = Context(run)
        self.done: set[int] = {*RunStep.objects.filter(run=run).values_list("step_id", flat=True)}

    def move(self) -> None:
        """Do steps until the run waits or ends, and store where it is then."""
        run = self.run
        if run.version_id != self.version.version_id:
            self._change_version()
        set_cause([*run.cause, run.automation_id])
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
                self._try(run.step_id)
                steps += 1
        run.save(update_fields=COLUMNS)
        set_cause(())

    def _change_version(self) -> None:
        """Look up the step in the current version. Behind a removed one, take the next that is."""
        run = self.run
        if run.step_id is not None and run.step_id not in self.version.steps:
            removed = run.step_id
            run.step_id = program(run.version_id).surviving(removed, self.version)
            run.entered_at, run.happened = None, False
            self._log(removed, Outcome("removed", {}))
        run.version_id = self.version.version_id

    def _try(self, step_id: int) -> None:
        """Do a step in a savepoint."""
        run, step = self.run, self.version.steps[step_id]
        before, done = {name: getattr(run, name) for name in COLUMNS}, {*self.done}
        try:
            with transaction.atomic():
                self._step(step_id)
            if run.step_id != step_id:
                run.attempts, run.error = 0, ""
        except Exception as error:
            if is_disconnected(error):
                raise
            for name, value in before.items():
                setattr(run, name, value)
            self.done = done
            if isinstance(error, ApiError) and step["type"] in ACTIONS:
                # No retry helps, because the store forbids it.
                self._go(step_id, Outcome("skipped", {"reason": str(error)}))
            else:
                logger.exception("Step %d of run %d failed.", step_id, run.pk)
                fail(run, error, self.now)
        if step["type"] == "set_fields":
            self.status = fetch_one(STATUS, {"contact": run.subscriber_id})[0]

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
            run.entered_at = self.now
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
        RunStep.objects.create(
            run=self.run,
            automation_id=self.run.automation_id,
            subscriber_id=self.run.subscriber_id,
            step_id=step_id,
            version_id=self.run.version_id,
            outcome=outcome.name,
            detail=outcome.detail,
            at=self.now,
        )
        self.done.add(step_id)

    def end(self, status: RunStatus, reason: str = "") -> None:
        """End the run."""
        end(self.run, self.now, status, reason)


def end(run: Run, now: datetime, status: RunStatus, reason: str) -> None:
    """End a run."""
    run.status, run.reason, run.ended_at, run.due_at = status, reason, now, None


def fail(run: Run, error: Exception, now: datetime) -> None:
    """Note that a step has failed, and try it again later or end the run."""
    run.error = f"{type(error).__name__}: {error}"[:1000]
    run.attempts += 1
    if run.attempts > len(RETRIES):
        end(run, now, RunStatus.FAILED, "A step failed too often.")
    else:
        run.due_at = now + RETRIES[run.attempts - 1]
