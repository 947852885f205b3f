from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand, end_by_sigterm
from config.server.daily_backup import make_daily_backup
from config.server.postgres import PostgresError
from config.server.programs import StoreError


class Command(DatabaseCommand):
    """Make the backup of today. `serve` runs it every hour."""

    help = (
        "Write all data of the store into a file of today in TALLYBOOK_BACKUP_DIR, unless it "
        "exists, and delete the oldest of more than TALLYBOOK_BACKUPS files."
    )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        end_by_sigterm()
        try:
            made = make_daily_backup()
        except (StoreError, PostgresError) as error:
            raise CommandError(f"The daily backup failed: {error}") from None
        if made is None:
            return
        path, manifest = made
        for fault in manifest.fault_sentences():
            self.stderr.write(fault)
        self.stdout.write(f"{path} has {manifest.summary()}.")
