"""List runs, and end, try again and delete them by hand."""

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from automations.models import Automation, Run, RunStatus, RunStep
from config.api.errors import Unprocessable
from config.database import clock, fetch_rows, in_transaction

CANCELLED = "Cancelled by hand."
# The contacts first, as every statement locks them.
LOCK_CONTACTS = """
SELECT id FROM crm_subscriber WHERE id IN (
    SELECT subscriber_id FROM automations_run WHERE id = ANY(%(runs)s::bigint[]))
ORDER BY id FOR NO KEY UPDATE
"""
END = """
UPDATE automations_run
SET status = %(status)s, reason = %(reason)s, ended_at = clock_timestamp(), due_at = NULL
WHERE id = ANY(%(runs)s::bigint[]) AND status = 'active'
RETURNING id
"""


def shown_runs() -> QuerySet[Run]:
    """Return the runs but for those of deleted automations, which automations/deletion.py deletes.

    The ids are read before, so that a list of runs costs the same where nothing was deleted.
    """
    deleted = Automation.with_deleted.filter(deleted_at__isnull=False)
    return Run.objects.exclude(automation_id__in=[*deleted.values_list("pk", flat=True)])


@in_transaction
def end_runs(
    run_ids: Iterable[int], status: RunStatus = RunStatus.CANCELLED, reason: str = CANCELLED
) -> int:
    """End runs that have not ended. Their contacts keep what the steps have done.

    Args:
        run_ids: ids of the runs.
        status: how they end.
        reason: why.

    Returns:
        How many were ended.
    """
    ids = {"runs": [*run_ids]}
    fetch_rows(LOCK_CONTACTS, ids)
    return len(fetch_rows(END, {**ids, "status": status.value, "reason": reason}))


@in_transaction
def retry_run(run_id: int) -> None:
    """Let a run try its failed step again at once.

    Raises:
        Unprocessable: 422, no step of it has failed, or the contact has another run that is open.
        Run.DoesNotExist: there is no such run.
    """
    fetch_rows(LOCK_CONTACTS, {"runs": [run_id]})
    run = Run.objects.select_for_update().get(pk=run_id)
    if run.status != RunStatus.FAILED and not (run.status == RunStatus.ACTIVE and run.attempts):
        raise Unprocessable("No step of the run has failed.")
    run.status, run.reason, run.ended_at = RunStatus.ACTIVE, "", None
    run.attempts, run.due_at = 0, clock()
    try:
        with transaction.atomic():
            run.save(update_fields=("status", "reason", "ended_at", "attempts", "due_at"))
    except IntegrityError:
        raise Unprocessable("The contact is inside of the automation in another run.") from None


@in_transaction
def delete_runs(run_ids: Iterable[int]) -> int:
    """Delete runs with what is known of their steps, as if they had never started.

    So their contacts may start once more, also where the rule of re-entry is "once".

    Returns:
        How many were deleted.
    """
    ids = [*run_ids]
    fetch_rows(LOCK_CONTACTS, {"runs": ids})
    RunStep.objects.filter(run_id__in=ids).delete()
    deleted, _ = Run.objects.filter(pk__in=ids).delete()
    return deleted
