import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand, end_by_sigterm
from config.server.backup import write_backup
from config.server.postgres import PostgresError
from config.server.programs import StoreError, running_postgres


class Command(DatabaseCommand):
    """Write a backup of the whole store, while it runs or not."""

    help = "Write all data of the store into one FILE, while it runs or not."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--force", action="store_true", help="replace an existing FILE")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        end_by_sigterm()
        path = options["file"]
        try:
            with running_postgres(f"A backup runs as process {os.getpid()}.", alone=False):
                manifest = write_backup(path, options["force"])
        except (StoreError, PostgresError) as error:
            raise CommandError(str(error)) from None
        for fault in manifest.fault_sentences():
            self.stderr.write(fault)
        self.stdout.write(f"{path} has {manifest.summary()}.")
