"""Cancel runs, and try failed ones again, because an admin user or an API client wants it."""

from django.db import IntegrityError, transaction
from django.utils import timezone

from automations.models import Run, RunStatus
from config.api.errors import Unprocessable
from config.database import in_transaction
from crm.models import Subscriber


@in_transaction
def cancel_run(run_id: int, reason: str) -> Run:
    """End a run before its steps have ended.

    Raises:
        Unprocessable: 422, it has ended.
        Run.DoesNotExist: there is no such run.
    """
    run = _lock(run_id)
    if run.status != RunStatus.ACTIVE:
        raise Unprocessable("The run has ended already.")
    run.status, run.reason = RunStatus.CANCELLED, reason
    run.ended_at, run.due_at = timezone.now(), None
    run.save(update_fields=("status", "reason", "ended_at", "due_at"))
    return run


@in_transaction
def retry_run(run_id: int) -> Run:
    """Let a run try its failed step again at once.

    Raises:
        Unprocessable: 422, no step of it has failed, or the contact has another run that is open.
        Run.DoesNotExist: there is no such run.
    """
    run = _lock(run_id)
    has_failed = run.status == RunStatus.FAILED or run.attempts
    if not has_failed or run.status not in (RunStatus.FAILED, RunStatus.ACTIVE):
        raise Unprocessable("No step of the run has failed.")
    run.status, run.reason, run.ended_at = RunStatus.ACTIVE, "", None
    run.attempts, run.due_at = 0, timezone.now()
    try:
        with transaction.atomic():
            run.save(update_fields=("status", "reason", "ended_at", "attempts", "due_at"))
    except IntegrityError:
        raise Unprocessable("The contact is inside of the automation in another run.") from None
    return run


def _lock(run_id: int) -> Run:
    """Lock a run, and its contact first, as the worker does."""
    contact_id = Run.objects.values_list("subscriber_id", flat=True).get(pk=run_id)
    Subscriber.objects.select_for_update(no_key=True).filter(pk=contact_id).first()
    return Run.objects.select_for_update().get(pk=run_id)
