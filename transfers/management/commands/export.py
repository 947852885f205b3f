import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import to_datetime
from config.files import whole_file
from crm.job_command import JobCommand
from crm.jobs import RESULTS, delete_files
from transfers.exports import (
    CONTACTS,
    CSV,
    EVENTS,
    NDJSON,
    OCCURRENCES,
    ExportOptions,
    create_export,
    unknown_columns,
)
from transfers.exports.cells import READERS


class Command(JobCommand):
    """Export all contacts, events or occurrences into a file."""

    help = "Write all contacts, events or occurrences into a file that only its owner may read."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=(CONTACTS, EVENTS, OCCURRENCES))
        parser.add_argument("file", type=Path, metavar="FILE", help="which ends in .ndjson or .csv")
        parser.add_argument("--columns", default="", metavar="A,B", help="of a CSV of contacts")
        parser.add_argument(
            "--event-key", action="append", default=[], metavar="K", help="only these events"
        )
        parser.add_argument(
            "--since", default="", metavar="T", help="only what happened since then, ISO 8601"
        )
        parser.add_argument("--for", choices=READERS, default="programs", dest="reader")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        columns = [name for name in options["columns"].split(",") if name]
        if path.suffix not in (f".{NDJSON}", f".{CSV}"):
            raise CommandError(f"{path} has to end in .ndjson or .csv.")
        if unknown := unknown_columns(columns):
            raise CommandError(f"There is no column {', '.join(unknown)}.")
        since = to_datetime(options["since"])
        chosen = ExportOptions(
            options["what"],
            path.suffix[1:],
            columns,
            options["event_key"],
            since.isoformat() if since else "",
            options["reader"],
        )
        job = self.run_new(lambda: create_export(chosen, created_by=None))
        [result] = (job.path / RESULTS).iterdir()
        try:
            with whole_file(path) as file, result.open("rb") as source:
                shutil.copyfileobj(source, file)
        except OSError as error:
            raise CommandError(
                f"{path} cannot be written: {error.strerror}. The file is {result}."
            ) from None
        delete_files(job)
