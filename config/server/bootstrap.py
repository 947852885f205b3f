"""Bring a database up to date when the server starts: migrate it, then run the apps' steps."""

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.utils.module_loading import import_string

from config.database import migrations_are_missing
from config.server.restore import drop_leftovers

# Any number that is the same in every process: a second process waits for the first.
MIGRATION_LOCK = 0x7A11_B00C
# The contact of the first event in the welcome text.
DEMO_EMAIL = "ada@example.com"


@dataclass(frozen=True)
class FirstLogin:
    """The first user's passwords, which are shown once."""

    username: str
    password: str
    application_password: str


def bootstrap(tell: Callable[[FirstLogin], None] | None = None) -> FirstLogin | None:
    """Migrate, and run settings.BOOTSTRAP_STEPS, under a lock that several servers share.

    A step is a function without arguments that can run at every start.

    Args:
        tell: shows the passwords of a first login. It is called before the login is committed, so
            that a start that is interrupted leaves no login whose passwords were never shown.

    Returns:
        The first login if a step created it now.
    """
    first_login = None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            drop_leftovers()
            if migrations_are_missing():
                call_command("migrate", verbosity=0, interactive=False)
            for path in settings.BOOTSTRAP_STEPS:
                with transaction.atomic():
                    result = import_string(path)()
                    if isinstance(result, FirstLogin):
                        first_login = result
                        if tell:
                            tell(first_login)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
    return first_login
