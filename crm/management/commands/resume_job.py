from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from typing_extensions import override

from crm.job_command import JobCommand
from crm.jobs import claim_job, resume


class Command(JobCommand):
    """Let a job that was stopped or has failed go on."""

    help = "Go on with a job that was stopped or has failed. Its page in the admin does so too."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("job", type=int, metavar="ID")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            run = claim_job(options["job"]) if resume(options["job"]) else None
        if run is None:
            raise CommandError(f"Job {options['job']} was not stopped and has not failed.")
        self.run(run)
