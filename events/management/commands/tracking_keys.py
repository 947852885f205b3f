from argparse import ArgumentParser
from typing import Any

from typing_extensions import override

from config.commands import DatabaseCommand
from events.activecampaign.credentials import rotate_tracking_key, tracking_key


class Command(DatabaseCommand):
    """Print the credentials of ActiveCampaign's event call as the last line."""

    help = "Show actid and key of ActiveCampaign's event call. They are the last line."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rotate", action="store_true", help="replace the key; the old one is rejected at once"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        pair = rotate_tracking_key() if options["rotate"] else tracking_key()
        self.stdout.write(f"actid={pair.actid} key={pair.key}")
