import getpass
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.commands import DatabaseCommand
from crm.contacts import count_contacts, find_contact
from crm.models import Subscriber
from events.personal_data import erase_contact


class Command(DatabaseCommand):
    """Erase a contact with all its data, and print only the receipt on stdout."""

    help = "Erase a contact with all its data, and print the receipt as JSON."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("contact", metavar="EMAIL_OR_ID")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        contact = find_contact(options["contact"])
        try:
            if contact is None:
                raise ObjectNotFound("Subscriber")
            if not options["yes"]:
                self._ask(contact)
            erasure = erase_contact(contact.pk, by=f"manage.py, {_operator()}")
        except ObjectNotFound:
            raise CommandError(
                f"No contact has the e-mail or id {options['contact']!r}: nothing was erased."
            ) from None
        self.stdout.write(json.dumps(erasure.receipt(), indent=2))

    def _ask(self, contact: Subscriber) -> None:
        """Ask at the terminal.

        Raises:
            CommandError: there is no terminal, or the answer is not yes.
        """
        if not sys.stdin.isatty():
            raise CommandError(
                "There is no terminal to ask at. Use --yes to erase without a question."
            )
        counts = count_contacts([contact.pk])
        del counts["contacts"]
        numbers = ", ".join(
            f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items()
        )
        self.stderr.write(f"Contact {contact.pk}, {contact.email}, with {numbers}.")
        self.stderr.write("Erase all of it permanently? Type yes: ", ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            raise CommandError("Nothing was erased.")


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return "nameless user"
