from typing import Any

from typing_extensions import override

from automations.webhooks.deliveries import KEEP_BODIES, prune_bodies
from config.commands import DatabaseCommand


class Command(DatabaseCommand):
    """Delete the bodies of outgoing webhooks that ended long ago."""

    help = f"Delete the bodies of webhooks that were created more than {KEEP_BODIES.days} days ago."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Webhooks whose bodies were deleted: {prune_bodies()}.")
