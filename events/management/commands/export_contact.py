from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.commands import DatabaseCommand
from config.files import whole_file
from crm.contacts import find_contact
from events.personal_data import export_contact


class Command(DatabaseCommand):
    """Export all data of one contact."""

    help = "Write all data of a contact, with its events, as one JSON object."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("contact", metavar="EMAIL_OR_ID")
        parser.add_argument(
            "--output",
            metavar="FILE",
            help="a file instead of stdout, which only its owner may read",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        contact = find_contact(options["contact"])
        try:
            if contact is None:
                raise ObjectNotFound("Subscriber")
            if options["output"]:
                self._write_file(contact.pk, Path(options["output"]))
            else:
                export_contact(contact.pk, lambda text: self.stdout.write(text, ending=""))
        except ObjectNotFound:
            raise CommandError(f"No contact has the e-mail or id {options['contact']!r}.") from None

    def _write_file(self, contact_id: int, path: Path) -> None:
        """Write the file whole or not at all.

        Raises:
            CommandError: the file cannot be written.
        """
        try:
            with whole_file(path) as file:
                export_contact(contact_id, lambda text: file.write(text.encode()))
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
