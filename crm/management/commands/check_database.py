from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from typing_extensions import override

from config.commands import DatabaseCommand
from config.database import migrations_are_missing
from config.database_check import check_settings
from config.server.bootstrap import check_locale
from config.server.postgres import PostgresError
from crm.contacts import find_key_collisions


class Command(DatabaseCommand):
    """Check the settings of a PostgreSQL of one's own, and contacts for shared mailboxes.

    Exit with 1 if something has to be changed, and with 2 if the database is rejected or does not
    answer.
    """

    help = (
        "Check the settings of a PostgreSQL of your own, and list contacts whose e-mail reaches "
        "the mailbox of another contact."
    )
    unavailable_code = 2

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_locale()
        except PostgresError as error:
            raise CommandError(str(error), returncode=2) from None
        errors = [error for error in (self._check_settings(), self._check_mailboxes()) if error]
        if errors:
            raise CommandError(" ".join(errors))

    def _check_settings(self) -> str:
        """Print what is to be changed. Returns the error."""
        if settings.EMBEDDED_POSTGRES:
            return ""
        faults, advice = check_settings()
        for sentence in (*faults, *advice):
            self.stdout.write(sentence)
        if not (faults or advice):
            self.stdout.write("The settings of PostgreSQL suit Tallybook.")
        return f"Settings of PostgreSQL that have to be changed: {len(faults)}." if faults else ""

    def _check_mailboxes(self) -> str:
        """Print contacts of one mailbox, which an upgrade does not merge. Returns the error."""
        if migrations_are_missing():
            self.stdout.write("Migrations are missing: serve applies them when it starts.")
            return ""
        collisions = find_key_collisions()
        for contact, other in collisions:
            self.stdout.write(
                f"contact {contact.pk} ({contact.email}): events and calls with this e-mail reach "
                f"contact {other.pk} ({other.email})"
            )
        if not collisions:
            self.stdout.write("No two contacts have the same mailbox.")
            return ""
        return (
            f"{len(collisions)} contacts have the mailbox of another one. Delete one of the "
            "two, or give it another e-mail."
        )
