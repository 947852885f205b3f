import sys
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone
from tqdm import tqdm

from config.api.validation import parse_age
from config.commands import DatabaseCommand
from events.maintenance import prune_occurrences


class Command(DatabaseCommand):
    """Removes old occurrences; counters stay as they are."""

    help = "Remove occurrences that are older than an age; their number stays in the counters."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--older-than 400d [--event-key K]."""
        parser.add_argument(
            "--older-than",
            type=parse_age,
            required=True,
            metavar="AGE",
            help="such as 400d, 12h or 3w, from when they happened",
        )
        parser.add_argument("--event-key", metavar="K", help="of this key only")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Remove them, batch by batch; stopping in between loses nothing."""
        before = timezone.now() - options["older_than"]
        with tqdm(unit=" ids", unit_scale=True, file=sys.stderr) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            removed = prune_occurrences(before, options["event_key"], progress)
        self.stdout.write(f"{removed} occurrences removed; every counter stays as it was.")
