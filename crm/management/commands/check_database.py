from typing import Any

from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand
from crm.contacts import find_key_collisions


class Command(DatabaseCommand):
    """List contacts that reach the same mailbox as another one; exit with 1 if there are any.

    Only a store of an earlier version has them, because the upgrade merges nothing by itself.
    """

    help = "List contacts whose e-mail reaches the mailbox of another contact."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        collisions = find_key_collisions()
        for contact, other in collisions:
            self.stdout.write(
                f"contact {contact.pk} ({contact.email}): events and calls with this e-mail reach "
                f"contact {other.pk} ({other.email})"
            )
        if collisions:
            raise CommandError(
                f"{len(collisions)} contacts have the mailbox of another one. Delete one of the "
                "two, or give it another e-mail."
            )
        self.stdout.write("No two contacts have the same mailbox.")
