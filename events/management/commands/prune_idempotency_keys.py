from typing import Any

from config.commands import DatabaseCommand
from events.maintenance import prune_idempotency_keys


class Command(DatabaseCommand):
    """Forgets old idempotency keys; `serve` runs it every hour."""

    help = "Forget the idempotency keys that are older than 24 hours."

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Forget them."""
        self.stdout.write(f"{prune_idempotency_keys()} idempotency keys forgotten.")
