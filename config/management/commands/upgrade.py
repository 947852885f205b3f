import os
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand, end_by_sigterm
from config.server.postgres import PostgresError
from config.server.programs import StoreError, running_postgres
from config.server.upgrade import upgrade_store


class Command(DatabaseCommand):
    """Back the store up and migrate it, or leave it as it is."""

    help = "Back the store up, which must be stopped, and run the migrations of a new version."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        end_by_sigterm()
        try:
            with running_postgres(f"An upgrade runs as process {os.getpid()}.", alone=True):
                manifest = upgrade_store(self.stdout.write)
        except (StoreError, PostgresError) as error:
            raise CommandError(str(error)) from None
        if manifest is None:
            self.stdout.write("The store is up to date.")
            return
        for fault in manifest.fault_sentences():
            self.stderr.write(fault)
        self.stdout.write("The store is upgraded. Start `serve`.")
