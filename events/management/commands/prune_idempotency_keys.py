from typing import Any

from typing_extensions import override

from config.commands import DatabaseCommand
from events.maintenance import prune_idempotency_keys


class Command(DatabaseCommand):
    """Delete old idempotency keys. `serve` runs it every hour."""

    help = "Delete the idempotency keys that are older than TALLYBOOK_KEEP_KEYS_DAYS."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{prune_idempotency_keys()} idempotency keys deleted.")
