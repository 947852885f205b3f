"""Run a job in the process of a command, with a progress bar."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import transaction
from tqdm import tqdm

from config.commands import DatabaseCommand
from config.server.processes import set_up_for_jobs
from crm.jobs import Run, claim_job, run_claimed
from crm.models import Job, JobState


class JobCommand(DatabaseCommand):
    """A command that runs a job. If this process is killed, `serve` goes on with the job."""

    # How a job that was stopped goes on.
    goes_on = "manage.py resume_job {} goes on."

    def run_new(self, create: Callable[[], Job]) -> Job:
        """Create a job and run it until it ends.

        Raises:
            CommandError: it was stopped, or has failed.
        """
        return self.run(claim_new(create))

    def run(self, run: Run) -> Job:
        """Run a claimed job, and print its numbers. The rest is as in `run_new`."""
        set_up_for_jobs()
        with tqdm(unit=" rows", unit_scale=True, file=sys.stderr) as bar, _stopping(run):

            def report(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            run.report = report
            run_claimed(run)
        job = Job.objects.get(pk=run.job.pk)
        for name, number in job.counts.items():
            self.stdout.write(f"{name.replace('_', ' ')}: {number:,}")
        if job.state == JobState.STOPPED:
            raise CommandError(f"Stopped. {self.goes_on.format(job.pk)}")
        if job.state != JobState.DONE:
            raise CommandError(job.error or f"The job is {job.state}.")
        return job


def claim_new(create: Callable[[], Job]) -> Run:
    """Create a job, or start a draft, and claim it in one transaction.

    So no other process claims it first.
    """
    with transaction.atomic():
        run = claim_job(create().pk)
    assert run
    return run


@contextmanager
def _stopping(run: Run) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop a job after its step."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: run.stop()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
