from typing import Any

from typing_extensions import override

from config.commands import DatabaseCommand
from config.login import prune_failures


class Command(DatabaseCommand):
    """Delete the records of wrong passwords whose lock is over. `serve` runs it every hour."""

    help = "Delete the records of wrong passwords of admin users that lock nothing any more."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{prune_failures()} records of wrong passwords deleted.")
