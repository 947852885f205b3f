import sys
from argparse import ArgumentParser
from typing import Any

from django.utils import timezone
from tqdm import tqdm
from typing_extensions import override

from config.api.validation import parse_age
from config.commands import DatabaseCommand
from events.maintenance import prune_occurrences


class Command(DatabaseCommand):
    """Delete old occurrences; counters stay."""

    help = "Delete occurrences that are older than an age. The counters stay as they are."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than",
            type=parse_age,
            required=True,
            metavar="AGE",
            help="time since they happened: 400d, 12h or 3w",
        )
        parser.add_argument("--event-key", metavar="K", help="only occurrences of this event key")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        before = timezone.now() - options["older_than"]
        with tqdm(unit=" contacts", unit_scale=True, file=sys.stderr) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            removed = prune_occurrences(before, options["event_key"], progress)
        self.stdout.write(f"{removed} occurrences deleted; every counter stays as it was.")
