"""What the commands that import other programs' stores have in common."""

import csv
import os
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from getpass import getpass
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from typing_extensions import override

from crm.identities import source_argument
from crm.job_command import JobCommand, claim_new
from crm.jobs import LEASE_SECONDS, RESULTS, JobError, Run, claim_job, create_job, resume
from crm.models import Job, JobState
from transfers.imports.reports import REJECTED, REMARKS
from transfers.sources import run as sources
from transfers.sources.openers import OPENERS
from transfers.sources.tally import COMPARISON

ENDED = (JobState.STOPPED, JobState.FAILED)


def to_rate(text: str) -> float:
    """Convert a number of requests a second."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not 0 < rate <= 1_000:
        raise ArgumentTypeError("must be a number from 0 to 1000")
    return rate


class SourceCommand(JobCommand):
    """Import another program's store. Only the same command goes on, because it has the secret."""

    kind: str
    # The environment variable of the secret, and the question for it.
    variable: str
    question: str
    goes_on = "The same command goes on."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", metavar="URL")
        parser.add_argument(
            "--source",
            type=source_argument,
            default="",
            metavar="NAME",
            help="whose ids contacts get, the host's",
        )
        parser.add_argument(
            "--rate", type=to_rate, default=5.0, metavar="N", help="requests a second at most"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def parameters(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of the job, without the secret."""
        return {name: options[name] for name in ("url", "source", "rate", "dry_run")}

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        parameters = self.parameters(options)
        secret = os.environ.get(self.variable) or getpass(self.question)
        try:
            with OPENERS[self.kind](parameters, secret, lambda: None) as source:
                parameters["source"] = parameters["source"] or source.name
        except JobError as error:
            raise CommandError(str(error)) from None
        run = self._claim(parameters)
        sources.secrets[run.job.pk] = secret
        try:
            self.run(run)
        finally:
            del sources.secrets[run.job.pk]
            self._print_results(run.job)

    def _claim(self, parameters: dict[str, Any]) -> Run:
        """Claim a new job, or the one that was begun with the same parameters and has not ended.

        Raises:
            CommandError: another process runs it.
        """
        begun = (*ENDED, JobState.WAITING, JobState.RUNNING)
        jobs = Job.objects.filter(kind=self.kind, parameters=parameters).order_by("-pk")
        last = jobs.first()
        if last is None or last.state not in begun or parameters["dry_run"]:
            verb = "Try to import" if parameters["dry_run"] else "Import"
            title = f"{verb} {parameters['source']}"
            return claim_new(lambda: create_job(self.kind, title, parameters))
        self.stdout.write(f"Going on with job {last.pk}.")
        until = time.monotonic() + LEASE_SECONDS + 2
        while time.monotonic() < until:
            with transaction.atomic():
                resume(last.pk)
                if run := claim_job(last.pk):
                    return run
            # Its process may have been killed a moment ago.
            time.sleep(0.5)
        raise CommandError(f"Another process runs job {last.pk}.")

    def _print_results(self, job: Job) -> None:
        """Print the numbers of both sides, and where the reports are."""
        results = job.path / RESULTS
        path = results / COMPARISON
        if path.exists():
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(csv.DictReader(file))
            self.stdout.write(f"{'':40} {'source':>12} {'here':>12}")
            for row in rows:
                name = f"{row['what']} {row['name']}"[:40]
                sign = "" if row["difference"] == "0" else "  differs"
                self.stdout.write(f"{name:40} {row['there']:>12} {row['here']:>12}{sign}")
        for name in (REJECTED, REMARKS):
            if (results / name).exists():
                self.stdout.write(f"{name} has what was left out, and why: {results / name}")
