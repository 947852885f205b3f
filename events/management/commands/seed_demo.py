import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm

from config.commands import DatabaseCommand
from events.demo import MAX_EVENTS, seed, vacuum
from events.demo.words import KINDS


class Command(DatabaseCommand):
    """Makes contacts with events to try Tallybook out on; each run adds further ones."""

    help = "Add demo contacts with a history of events; all of them, or none if it is stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """[--contacts N] [--events-per-contact M]."""
        parser.add_argument("--contacts", type=int, default=200, metavar="N")
        parser.add_argument(
            "--events-per-contact", type=int, default=10, metavar="M", help=f"1 to {KINDS}"
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Add them. Raises CommandError."""
        contacts, events = options["contacts"], options["events_per_contact"]
        if contacts < 1:
            raise CommandError("--contacts must be 1 or more.")
        if not 1 <= events <= KINDS:
            raise CommandError(
                f"--events-per-contact must be 1 to {KINDS}: so many kinds of events there are."
            )
        if contacts * events > MAX_EVENTS:
            raise CommandError(f"At most {MAX_EVENTS:,} events at once; run it again for more.")
        with tqdm(unit=" rows", unit_scale=True, file=sys.stderr) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            occurrences = seed(contacts, events, progress)
        vacuum()
        self.stdout.write(
            f"{contacts} contacts added, with {contacts * events} events that happened "
            f"{occurrences} times."
        )
