from typing import Any

from typing_extensions import override

from automations.upkeep import prune_details
from config.commands import DatabaseCommand


class Command(DatabaseCommand):
    """Delete what automations no longer need. `serve` runs it every hour."""

    help = "Delete details of steps and refusals of automations that are older than 90 days."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{prune_details()} details of automations deleted.")
