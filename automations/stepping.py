"""Find runs that are due, and move them on: a transaction does steps of some contacts.

A step that is done is committed with its effects, so that a killed process has done it or has not.
Runs are moved together, because statements that several share take less time. If one of them fails,
all are undone, and each is moved alone. Then a step that fails is undone alone, and tried again
later.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from automations.models import Run, RunStatus, RunStep
from automations.moving import Mover, fail, store
from automations.programs import program
from config.database import LIMIT_WAITS, clock, fetch_rows, in_transaction, is_disconnected
from crm.outbox import set_cause

logger = logging.getLogger(__name__)

# Runs of one transaction.
RUNS = 20
# By the time of the statement, because an index cannot find a time that changes meanwhile.
FIND = """
SELECT r.id, r.subscriber_id, a.id
-- By automation, because the overdue runs of one that is paused may be many.
FROM automations_automation a CROSS JOIN LATERAL (
    SELECT id, subscriber_id, due_at FROM automations_run r
    WHERE r.automation_id = a.id AND r.status = 'active' AND r.due_at <= statement_timestamp()
        AND NOT r.id = ANY(%(skipped)s::bigint[])
    ORDER BY r.due_at, r.id LIMIT %(runs)s
) r
WHERE a.status = 'published'
ORDER BY r.due_at, r.id LIMIT %(runs)s
"""
# What others hold is left out. An edit, a pause and a deletion of the automation wait for the lock.
LOCK = f"""
WITH contact AS MATERIALIZED (
    SELECT id, status FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
), automation AS MATERIALIZED (
    SELECT id, version_id FROM automations_automation
    WHERE id = ANY(%(automations)s::bigint[]) AND status = 'published'
    ORDER BY id FOR SHARE SKIP LOCKED
)
SELECT contact.id, contact.status, automation.id, automation.version_id, {LIMIT_WAITS}
FROM contact CROSS JOIN automation
"""  # noqa: S608
# In a statement of its own, so that it sees what those have committed who held the locks before.
LOCK_RUNS = """
SELECT id FROM automations_run
WHERE id = ANY(%(runs)s::bigint[]) AND subscriber_id = ANY(%(contacts)s::bigint[])
    AND automation_id = ANY(%(automations)s::bigint[]) AND status = 'active'
    AND due_at <= statement_timestamp()
ORDER BY id FOR UPDATE SKIP LOCKED
"""
# When the first entry of each contact was recorded.
RECORDED = """
SELECT contact, (SELECT created_at FROM crm_outboxentry e WHERE e.subscriber_id = contact
                 ORDER BY e.id LIMIT 1)
FROM unnest(%(contacts)s::bigint[]) contact
"""


class Due(NamedTuple):
    """A run that is due."""

    run_id: int
    contact_id: int
    automation_id: int


def step_all(is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Move on all runs that are due, but for those of locked contacts. Returns how many.

    Raises:
        django.db.OperationalError: the database is unavailable.
    """
    number, skipped = 0, set[int]()
    while not is_stopping():
        found = [Due(*row) for row in fetch_rows(FIND, {"skipped": [*skipped], "runs": RUNS})]
        if not found:
            break
        # Once for each contact, so that a step of a run sees what those of the other have done.
        due = [*{each.contact_id: each for each in reversed(found)}.values()]
        try:
            moved = move_on(due)
        except Exception as error:
            if is_disconnected(error):
                raise
            moved = {each.run_id for each in due if _move_alone(each)}
        number += len(moved)
        skipped |= {each.run_id for each in due} - moved
    return number


def _move_alone(due: Due) -> bool:
    """Move a run on, or try again later. Returns whether something was done."""
    try:
        return bool(move_on([due], has_savepoints=True))
    except Exception as error:
        if is_disconnected(error):
            raise
        logger.exception("Run %d could not be moved on.", due.run_id)
        return _postpone(due.run_id, error)


@in_transaction
def _postpone(run_id: int, error: Exception) -> bool:
    """Try a run again later whose transaction has failed. Returns whether it is open still."""
    run = Run.objects.select_for_update().filter(pk=run_id, status=RunStatus.ACTIVE).first()
    if run is None:
        return False
    fail(run, error, clock())
    run.save()
    return True


@in_transaction
def move_on(due: Iterable[Due], *, has_savepoints: bool = False) -> set[int]:
    """Do the next steps of runs, until they wait or end.

    Args:
        due: runs of different contacts.
        has_savepoints: whether a step that fails is undone alone.

    Returns:
        The ids of those that were moved: not if the contact is locked, the run is not due any more,
        or entries of the contact have to be acted on before.

    Raises:
        Exception: of a step, without savepoints. Nothing was done.
        django.db.OperationalError: the database is unavailable. Nothing was done.
    """
    runs, contacts, automations = map(list, zip(*due, strict=True))
    locked = fetch_rows(LOCK, {"contacts": contacts, "automations": automations})
    statuses = {contact: status for contact, status, *_ in locked}
    versions = {automation: program(version) for _, _, automation, version, *_ in locked}
    ids = {"runs": runs, "contacts": [*statuses], "automations": [*versions]}
    found = Run.objects.in_bulk([row[0] for row in fetch_rows(LOCK_RUNS, ids)]) if locked else {}
    waiting = _waiting(found.values())
    movable = [run for run_id in runs if (run := found.get(run_id)) and run.pk not in waiting]
    if not movable:
        return set()
    now = clock()
    rows = RunStep.objects.filter(run__in=movable).order_by("run_id")
    done = {
        run_id: [step_id for _, step_id in steps]
        for run_id, steps in groupby(rows.values_list("run_id", "step_id"), lambda row: row[0])
    }
    movers = [
        Mover(
            run,
            versions[run.automation_id],
            now,
            statuses[run.subscriber_id],
            done.get(run.pk, ()),
        )
        for run in movable
    ]
    cause: list[int] = []
    for mover in movers:
        own_cause = [*mover.run.cause, mover.run.automation_id]
        if own_cause != cause:
            set_cause(own_cause)
            cause = own_cause
        mover.move(has_savepoints=has_savepoints)
    store(movers)
    set_cause(())
    return {run.pk for run in movable}


def _waiting(runs: Iterable[Run]) -> set[int]:
    """Return the ids of runs for which an entry was recorded before the wait ends.

    The entry comes first: see automations/taking.py.
    """
    at_waits = [run for run in runs if run.entered_at and not run.happened]
    if not at_waits:
        return set()
    contacts = {"contacts": [run.subscriber_id for run in at_waits]}
    recorded: dict[int, datetime | None] = dict(fetch_rows(RECORDED, contacts))
    return {
        run.pk
        for run in at_waits
        if (first := recorded.get(run.subscriber_id)) and run.due_at and first <= run.due_at
    }
