from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.api.errors import InvalidFields, ObjectNotFound
from config.commands import DatabaseCommand
from crm.contacts import find_contact
from crm.merging import merge_contacts, messages_of, name_of, shown


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
        survivor, dry_run = find_contact(options["survivor"]), options["dry_run"]
        try:
            if survivor is None:
                raise ObjectNotFound("Subscriber")
            merge = merge_contacts(survivor.pk, name_of(options["other"]), dry_run=dry_run)
        except ObjectNotFound:
            message = f"No contact has the e-mail or id {options['survivor']!r}."
            raise CommandError(message) from None
        except InvalidFields as error:
            raise CommandError(" ".join(messages_of(error))) from None
        self.stdout.write(merge.sentence(dry_run))
        if merge.other:
            self.stdout.write(f"Moved: {merge.numbers()}.")
        for name, (old, new) in merge.changes.items():
            self.stdout.write(f"{name}: {shown(old)} becomes {shown(new)}")
