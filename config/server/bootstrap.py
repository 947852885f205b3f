"""Bring a database up to date when the server starts: migrate it, then run the apps' steps."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils.module_loading import import_string

from config import __version__
from config.database import fetch_one, migrations_are_missing, unknown_migrations
from config.server.postgres import PostgresError
from config.server.replacement import drop_leftovers

# Any number that is the same in every process: a second process waits for the first.
MIGRATION_LOCK = 0x7A11_B00C
LOCK_EVERY_SECONDS = 0.2
# The contact of the first event in the welcome text.
DEMO_EMAIL = "ada@example.com"
# The name of the database, whether it can store all letters, and whether it knows their case. The
# locale C knows that of ASCII only, and Turkish folds I to another letter.
ENCODING = "SELECT current_database(), getdatabaseencoding() = 'UTF8'"
KNOWS_CASE = "SELECT lower('IÖ') = 'iö'"


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

    Raises:
        PostgresError: the database has another encoding or locale than Tallybook needs, or a newer
            version has migrated it.
    """
    check_locale()
    first_login = None
    with connection.cursor() as cursor:
        # Not by a statement that waits: CREATE INDEX CONCURRENTLY of the server that migrates would
        # wait for its snapshot, and it for the lock.
        while not fetch_one("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK])[0]:
            time.sleep(LOCK_EVERY_SECONDS)
        try:
            drop_leftovers()
            applied = MigrationRecorder(connection).applied_migrations()
            check_migrations(".".join(key) for key in applied)
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


def check_migrations(applied: Iterable[str]) -> None:
    """Check that this code knows the migrations of a store, such as "crm.0042_example".

    Raises:
        PostgresError: a newer version has migrated it.
    """
    if unknown := unknown_migrations(applied):
        raise PostgresError(
            f"The store has the migration {unknown[0]}, which this Tallybook ({__version__}) "
            "lacks. Install the version that made it, or a newer one."
        )


def check_locale() -> None:
    """Check that the database is in UTF-8, and that its lower() knows all letters.

    Raises:
        PostgresError: it is not, or does not. The message says how to make one that does.
    """
    name, is_utf8 = fetch_one(ENCODING, {})
    # In other encodings the statement may fail.
    if is_utf8 and fetch_one(KNOWS_CASE, {})[0]:
        return
    fault = "does not fold Ö to ö, or I to i" if is_utf8 else "has another encoding than UTF8"
    raise PostgresError(
        f"The database {name} {fault}, so contacts would not be found by their names. Use "
        "one made with TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin LOCALE 'C' "
        "BUILTIN_LOCALE 'C.UTF-8', before PostgreSQL 17 with LOCALE 'en_US.UTF-8': "
        "docs/how-to/operate.md."
    )
