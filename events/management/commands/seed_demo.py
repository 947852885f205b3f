import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm
from typing_extensions import override

from config.commands import DatabaseCommand
from events.demo import MAX_EVENTS, seed, vacuum
from events.demo.words import KINDS


class Command(DatabaseCommand):
    """Add demo contacts with events; each run adds further ones."""

    help = "Add demo contacts with a history of events, all of them or none."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--contacts", type=int, default=200, metavar="N")
        parser.add_argument(
            "--events-per-contact", type=int, default=10, metavar="M", help=f"1 to {KINDS}"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        contacts, events = options["contacts"], options["events_per_contact"]
        if contacts < 1:
            raise CommandError("--contacts must be 1 or more.")
        if not 1 <= events <= KINDS:
            raise CommandError(
                f"--events-per-contact must be 1 to {KINDS}, the number of kinds of events."
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
            f"{contacts} contacts added, with {contacts * events} events and "
            f"{occurrences} occurrences."
        )
