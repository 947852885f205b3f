from argparse import ArgumentParser
from typing import Any

from config.commands import DatabaseCommand
from events.activecampaign.credentials import rotate_tracking_key, tracking_key


class Command(DatabaseCommand):
    """Prints the pair that ActiveCampaign's event call needs, alone on the last line."""

    help = "Show actid and key of ActiveCampaign's event call; they are the last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Only --rotate."""
        parser.add_argument(
            "--rotate", action="store_true", help="make a new key; the old one is refused at once"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Print it."""
        pair = rotate_tracking_key() if options["rotate"] else tracking_key()
        self.stdout.write(f"actid={pair.actid} key={pair.key}")
