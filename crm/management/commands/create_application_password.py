from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand
from crm.identities import source_argument
from crm.models import NewContacts, Scope
from crm.passwords import create_application_password


class Command(DatabaseCommand):
    """Create an application password and print its secret as the last line."""

    help = "Create an application password for a user. The last line of the output is its secret."

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--name", required=True, help="the program that will use it")
        parser.add_argument("--scope", required=True, choices=Scope.values)
        parser.add_argument(
            "--new-contacts",
            default="",
            choices=NewContacts.values,
            help="what an event of an unknown e-mail does; by default TALLYBOOK_NEW_CONTACTS",
        )
        parser.add_argument(
            "--source",
            type=source_argument,
            default="",
            metavar="S",
            help="whose ids user_id has, such as shop, if several programs number their users",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        _, secret = create_application_password(
            user,
            options["name"],
            options["scope"],
            new_contacts=options["new_contacts"],
            user_source=options["source"],
        )
        self.stdout.write(f"The application password of {user}, shown once:")
        self.stdout.write(secret)
