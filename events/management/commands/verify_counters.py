from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand
from events.maintenance import find_differences, repair_counter
from events.models import TrackedEvent


class Command(DatabaseCommand):
    """Verify that every counter is unlogged + occurrences; exit with 1 if one is not."""

    help = "Verify that counter = unlogged + occurrences for every event."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="set counters that differ to unlogged + occurrences",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        differences = find_differences()
        for event in differences:
            self.stdout.write(
                f"event {event.event_id} of contact {event.subscriber_id} "
                f"({event.event_key!r}, {event.title!r}): counter {event.counter}, "
                f"but {event.unlogged} unlogged + {event.occurrences} occurrences"
            )
        if not differences:
            self.stdout.write(f"{TrackedEvent.objects.count()} events, every counter is right.")
            return
        if not options["repair"]:
            raise CommandError(f"{len(differences)} events differ; --repair sets their counters.")
        for event in differences:
            repair_counter(event.event_id)
        self.stdout.write(f"{len(differences)} events repaired.")
