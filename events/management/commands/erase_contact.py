import getpass
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from config.api.errors import ObjectNotFound
from config.commands import DatabaseCommand
from crm.contacts import count_contacts
from crm.models import Subscriber
from events.personal_data import erase_contact, find_contact


class Command(DatabaseCommand):
    """Erases one contact with all that is kept about it; prints the receipt, alone, on stdout."""

    help = "Erase a contact and all that is kept about it, and print a receipt as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """EMAIL_OR_ID [--yes]."""
        parser.add_argument("contact", metavar="EMAIL_OR_ID")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Ask, and erase. Raises CommandError."""
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
        """Raises CommandError unless somebody at a terminal says yes."""
        if not sys.stdin.isatty():
            raise CommandError("Nobody is there to ask: say --yes to erase without a question.")
        counts = count_contacts([contact.pk])
        del counts["contacts"]
        numbers = ", ".join(f"{number:,} {name}" for name, number in counts.items())
        self.stderr.write(f"Contact {contact.pk}, {contact.email}, with {numbers}.")
        self.stderr.write("Erase all of it for good? Type yes: ", ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            raise CommandError("Nothing was erased.")


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return "nameless user"
