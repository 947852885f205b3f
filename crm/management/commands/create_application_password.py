from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError

from config.commands import DatabaseCommand
from crm.models import Scope
from crm.passwords import create_application_password


class Command(DatabaseCommand):
    """Makes an application password and prints its secret, alone on the last line."""

    help = "Make an application password for a user; the secret is the last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """USER --name N --scope S."""
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--name", required=True, help="what will call with it")
        parser.add_argument("--scope", required=True, choices=Scope.values)

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        """Make it. Raises CommandError if there is no such user."""
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        _, secret = create_application_password(user, options["name"], options["scope"])
        self.stdout.write(f"The application password of {user}, shown once:")
        self.stdout.write(secret)
