from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from config.commands import DatabaseCommand
from events.maintenance import find_differences, repair_counter
from events.models import TrackedEvent


class Command(DatabaseCommand):
    """Proves that every counter is unlogged + occurrences; ends with 1 if one is not."""

    help = "Prove that counter = unlogged + occurrences for every event."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Only --repair."""
        parser.add_argument(
            "--repair",
            action="store_true",
            help="set counters that differ to unlogged + occurrences",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Look at all of them. Raises CommandError if some differ and are not repaired."""
        found = find_differences()
        for event in found:
            self.stdout.write(
                f"event {event.event_id} of contact {event.subscriber_id} "
                f"({event.event_key!r}, {event.title!r}): counter {event.counter}, "
                f"but {event.unlogged} unlogged + {event.occurrences} occurrences"
            )
        if not found:
            self.stdout.write(f"{TrackedEvent.objects.count()} events, every counter is right.")
            return
        if not options["repair"]:
            raise CommandError(f"{len(found)} events differ; --repair sets their counters.")
        for event in found:
            repair_counter(event.event_id)
        self.stdout.write(f"{len(found)} events repaired.")
