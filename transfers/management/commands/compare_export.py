from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand
from transfers.comparison import InvalidExport, compare


class Command(DatabaseCommand):
    """Compare this store with complete exports of another one. Exit with 1 if it differs."""

    help = "Compare this store with exports of another one as NDJSON. Ids are not compared."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            numbers, differences = compare(options["files"])
        except InvalidExport as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from None
        for kind, number in numbers.items():
            self.stdout.write(f"{kind}s in the files: {number:,}")
        for difference in differences:
            place = "only in the files" if difference.is_in_files else "only in the store"
            first = ", ".join(difference.names)
            self.stdout.write(f"{difference.type}s {place}: {difference.number:,} ({first} …)")
        if differences:
            raise CommandError("They differ.")
        self.stdout.write("They are equal.")
