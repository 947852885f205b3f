from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import to_datetime
from crm.contacts import find_contact
from crm.job_command import JobCommand
from events.tracking.take_back_jobs import OccurrenceFilter, count_matching, create_take_back


class Command(JobCommand):
    """Take back occurrences that were sent by mistake."""

    help = (
        "Take back all occurrences that match, as if they had never been sent. At least one "
        "option is needed."
    )

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--event-key", default="", metavar="K")
        parser.add_argument("--provider", default="", metavar="P")
        parser.add_argument("--contact", metavar="EMAIL_OR_ID")
        parser.add_argument("--since", default="", metavar="T", help="happened then or later")
        parser.add_argument("--until", default="", metavar="T", help="happened before")
        parser.add_argument("--dry-run", action="store_true", help="only count")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        contact = find_contact(options["contact"]) if options["contact"] else None
        if options["contact"] and contact is None:
            raise CommandError(f"No contact has the e-mail or id {options['contact']!r}.")
        chosen = OccurrenceFilter(
            options["event_key"],
            options["provider"],
            contact.pk if contact else None,
            to_datetime(options["since"]),
            to_datetime(options["until"]),
        )
        if chosen.is_empty:
            raise CommandError("Choose what is taken back: all occurrences would match.")
        found = count_matching(chosen)
        self.stdout.write(
            f"{found.occurrences:,} occurrences of {found.contacts:,} contacts match."
        )
        if not options["dry_run"]:
            self.run_new(lambda: create_take_back(chosen, created_by=None))
