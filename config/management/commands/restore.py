import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand, end_by_sigterm
from config.server.postgres import PostgresError
from config.server.programs import StoreError, running_postgres
from config.server.restore import restore_backup


class Command(DatabaseCommand):
    """Replace the store with a backup, or leave it as it is."""

    help = "Replace the store, which must be stopped, with the backup in FILE."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="also replace a store that holds data"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        end_by_sigterm()
        path = options["file"]
        try:
            with running_postgres(f"A restore runs as process {os.getpid()}.", alone=True):
                manifest = restore_backup(path, options["replace"], self.stderr.write)
        except (StoreError, PostgresError) as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        for fault in manifest.fault_sentences():
            self.stderr.write(fault)
        self.stdout.write(f"The store has {manifest.summary()}.")
