from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand
from events.maintenance import repair_counter
from events.models import TrackedEvent
from events.verification import find_differences, find_orphans


class Command(DatabaseCommand):
    """Verify every counter, and that no row is orphaned; exit with 1 if one is wrong."""

    help = (
        "Verify that counter = unlogged + occurrences for every event, and that no row has lost "
        "what it belongs to."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="set counters that differ to unlogged + occurrences; orphans stay",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        differences = find_differences()
        orphans = [fault for fault in find_orphans() if fault.number]
        for event in differences:
            self.stdout.write(
                f"event {event.event_id} of contact {event.subscriber_id} "
                f"({event.event_key!r}, {event.title!r}): counter {event.counter}, "
                f"but {event.unlogged} unlogged + {event.occurrences} occurrences"
            )
        for fault in orphans:
            ids = ", ".join(map(str, fault.first_ids))
            more = ", …" if fault.number > len(fault.first_ids) else ""
            self.stdout.write(f"{fault.number} {fault.name}: {ids}{more}")
        if differences and options["repair"]:
            for event in differences:
                repair_counter(event.event_id, event.subscriber_id)
            self.stdout.write(f"{len(differences)} events repaired.")
        errors = [f"{fault.number} {fault.name}." for fault in orphans]
        if differences and not options["repair"]:
            errors.append(f"{len(differences)} events differ; --repair sets their counters.")
        if errors:
            raise CommandError(" ".join(errors))
        if not differences:
            number = TrackedEvent.objects.count()
            self.stdout.write(f"{number} events, every counter is right, and no row is orphaned.")
