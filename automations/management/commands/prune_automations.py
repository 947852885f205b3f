from typing import Any

from typing_extensions import override

from automations.deletion import prune_deleted
from automations.upkeep import prune_details
from automations.webhooks.deliveries import prune_bodies
from config.commands import DatabaseCommand


class Command(DatabaseCommand):
    """Delete what automations no longer need. `serve` runs it every hour."""

    help = (
        "Delete the rows of deleted automations and endpoints of webhooks, details of steps and "
        "refusals of automations that are older than 90 days, and the bodies of webhooks that are "
        "older than 30."
    )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        number = prune_deleted() + prune_details() + prune_bodies()
        self.stdout.write(f"{number} rows, details and bodies of webhooks deleted.")
