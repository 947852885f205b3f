"""Run jobs inside a test's transaction."""

from crm.jobs import claim_job, run_claimed
from crm.models import Job


def run_next() -> Job:
    """Run the job that waits, and return it."""
    run = claim_job()
    assert run
    run_claimed(run)
    return Job.objects.get(pk=run.job.pk)
