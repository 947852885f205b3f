"""What the commands that import files have in common."""

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.api.errors import InvalidFields
from crm.identities import source_argument
from crm.job_command import JobCommand, claim_new
from crm.jobs import RESULTS, JobError, Run, delete_files
from crm.models import Job
from transfers.columns import IGNORE, Kind
from transfers.imports.drafts import create_draft, guess_file, start_import
from transfers.imports.files import copy_file
from transfers.imports.reports import sentences
from transfers.tables import UnreadableFile
from transfers.values import DECIMALS, ORDERS


class ImportCommand(JobCommand):
    """Import a file: guess its form and columns, print them, and run the job."""

    kind: Kind

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="CSV, xlsx or NDJSON")
        parser.add_argument(
            "--column",
            action="append",
            default=[],
            metavar="NAME=TARGET",
            help="the field that a column has, where the guess is wrong; ignore leaves it out",
        )
        parser.add_argument("--encoding", metavar="E", help="such as utf-8, utf-16 or cp1252")
        parser.add_argument("--delimiter", metavar="D", help="of a CSV; t is a tab")
        parser.add_argument("--sheet", metavar="S", help="of a workbook, the first one by default")
        parser.add_argument("--no-header", action="store_true", help="the first row is no header")
        parser.add_argument("--date-order", choices=ORDERS, default="ymd", help="of 01/02/2026")
        parser.add_argument("--decimal-mark", choices=DECIMALS, default=".")
        parser.add_argument("--zone", default="", metavar="Z", help="of datetimes without one")
        parser.add_argument(
            "--source",
            type=source_argument,
            default="",
            metavar="S",
            help="whose ids user_id has, as application passwords name it",
        )
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument(
            "--start-automations",
            action="store_true",
            help="let automations start by what the import writes",
        )

    def values(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return how values are read."""
        return {
            "date_order": options["date_order"],
            "decimal_mark": options["decimal_mark"],
            "zone": options["zone"],
        }

    def rules(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is written."""
        return {"source": options["source"]}

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            size = path.stat().st_size
            job = create_draft(self.kind, path.name, size, created_by=None)
            run = self._start(job, path, options)
        except OSError as error:
            reason = error.strerror or "It is no file."
            raise CommandError(f"{path} cannot be read: {reason.rstrip('.')}.") from None
        except (JobError, UnreadableFile) as error:
            raise CommandError(str(error)) from None
        except InvalidFields as error:
            raise CommandError(sentences(error.detail, [])) from None
        self.run(run)
        results = run.job.path / RESULTS
        if results.exists():
            self.stdout.write(f"Rows that were left out, and why: {results}")

    def _start(self, job: Job, path: Path, options: Mapping[str, Any]) -> Run:
        """Copy the file, print its columns, and start the job. After an error nothing is left."""
        try:
            copy_file(job, path)
            form = guess_file(job, self.kind).form
            form = replace(form, **self._chosen_form(options), is_guess=False)
            guessed = guess_file(job, self.kind, form)
            for column in options["column"]:
                name, _, target = column.rpartition("=")
                guessed.mapping[name] = target
            for name, target in guessed.mapping.items():
                self.stdout.write(f"{name}: {target}" if target != IGNORE else f"{name} is ignored")
            values, rules = self.values(options), self.rules(options)

            def start() -> Job:
                start_import(
                    job,
                    self.kind,
                    guessed,
                    values,
                    rules,
                    dry_run=options["dry_run"],
                    start_automations=options["start_automations"],
                )
                return job

            return claim_new(start)
        except BaseException:
            delete_files(job)
            job.delete()
            raise

    def _chosen_form(self, options: Mapping[str, Any]) -> dict[str, Any]:
        chosen = {name: options[name] for name in ("encoding", "delimiter", "sheet")}
        if chosen["delimiter"] == "t":
            chosen["delimiter"] = "\t"
        if options["no_header"]:
            chosen["has_header"] = False
        return {name: value for name, value in chosen.items() if value is not None}
