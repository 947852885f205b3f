from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.api.errors import InvalidFields
from config.commands import DatabaseCommand
from crm.contacts import find_contact
from crm.merging import merge_contacts, name_of


class Command(DatabaseCommand):
    """Merge a contact into another one, however many events it has."""

    help = "Merge the contact OTHER into the contact SURVIVOR, which has then what both had."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        for name in ("survivor", "other"):
            parser.add_argument(name, metavar=name.upper(), help="an id or an e-mail")
        parser.add_argument(
            "--dry-run", action="store_true", help="print what would be done, and change nothing"
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        survivor = find_contact(options["survivor"])
        if survivor is None:
            message = f"No contact has the e-mail or id {options['survivor']!r}."
            raise CommandError(message)
        dry_run = options["dry_run"]
        try:
            merge = merge_contacts(survivor.pk, name_of(options["other"]), dry_run=dry_run)
        except InvalidFields as error:
            messages = [text for rules in error.detail.values() for text in rules.values()]
            raise CommandError(" ".join(messages)) from None
        self.stdout.write(f"{merge.sentence(dry_run)} Moved: {merge.numbers()}.")
        for name, (old, new) in merge.changes.items():
            self.stdout.write(f"{name}: {old!r} becomes {new!r}")
