"""Upgrade a store: back it up, migrate a copy beside it, and let the copy replace the store.

docs/decisions/upgrade-by-copying.md tells why.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations import Migration
from django.utils import timezone
from psycopg import sql
from typing_extensions import override

from config import __version__
from config.database import fetch_one, fetch_rows, migrations_are_missing
from config.server.backup import Manifest, count_rows, write_backup
from config.server.bootstrap import check_migrations
from config.server.daily_backup import make_folder
from config.server.database_properties import copy_properties
from config.server.programs import StoreError
from config.server.replacement import compare, finish, replacement, reported_errors

APPLIED = "SELECT app || '.' || name FROM django_migrations ORDER BY id"
# PostgreSQL counts the writes of a connection at the latest when the connection ends. Numbers of
# rows would not show that a contact was changed.
WRITES = """
SELECT schemaname || '.' || relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables
"""


def upgrade_store(report: Callable[[str], Any]) -> Manifest | None:
    """Migrate the store. Whatever fails, the store stays as it was.

    Args:
        report: is called with each sentence about the progress.

    Returns:
        The manifest of the backup. None if no migration was missing.

    Raises:
        StoreError: the store was not upgraded. The message has the reason, and the backup's path.
        PostgresError: a newer version has migrated the store.
        psycopg.OperationalError: the server does not answer.
    """
    last = _check_migrations()
    if not migrations_are_missing():
        return None
    backup = None
    try:
        with replacement("An upgrade") as place:
            with reported_errors():
                size = fetch_one("SELECT pg_database_size(current_database())", {})[0]
                place.check_free_space(size)
                written = _writes(place.store)
                path = _backup_path()
                manifest = write_backup(path, replace=False)
                backup = path
                # The backup has used some of it.
                place.check_free_space(size)
            report(f"The backup {backup} has {manifest.summary()}.")
            # PostgreSQL copies only a database without connections.
            connection.close()
            place.store.close()
            copy = sql.SQL("TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(place.name))
            with place.draft(copy):
                place.reconnect()
                place.check_that_it_is_unused()
                place.lock_tables()
                if _writes(place.store) != written:
                    raise StoreError("A program has written into the store meanwhile. Stop it.")
                compare("copied rows", count_rows(), manifest.tables)
                copy_properties(place, report)
                _Migrate(report).run()
                finish(manifest, "upgraded")
    except StoreError as error:
        saved = f" The backup before the upgrade: {backup}." if backup else ""
        raise StoreError(
            f"{error} The store is as it was before, so the version of Tallybook that used it goes "
            f"on with it (its last migration: {last}).{saved}"
        ) from error
    return manifest


class _Migrate(migrate.Command):
    """Django's `migrate`, which names the migration that fails."""

    running: Migration | None = None

    def __init__(self, report: Callable[[str], Any]) -> None:
        super().__init__()
        self.report = report

    def run(self) -> None:
        """Migrate.

        Raises:
            StoreError: a migration failed.
        """
        try:
            call_command(self, verbosity=0, interactive=False)
        except Exception as error:  # A migration may raise any.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            failed = f"The migration {self.running}" if self.running else "`migrate`"
            raise StoreError(f"{failed} failed: {lines[0].rstrip('.')}.") from error

    @override
    def migration_progress_callback(
        self, action: str, migration: Migration | None = None, fake: bool = False
    ) -> None:
        if action == "apply_start":
            self.running = migration
            self.report(f"Migration {migration}")
        elif action == "apply_success":
            self.running = None


def _check_migrations() -> str:
    """Check that this code knows all migrations of the store, and return Tallybook's last one.

    Raises:
        StoreError: the database is empty.
        PostgresError: a newer version has migrated it.
    """
    if "django_migrations" not in connection.introspection.table_names():
        name = connection.get_connection_params()["dbname"]
        raise StoreError(f"The database {name} is empty. `serve` makes a store in it.")
    applied: list[str] = [name for (name,) in fetch_rows(APPLIED, {})]
    check_migrations(applied)
    # Those of Django's apps do not tell the version.
    own = {
        app.label for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR
    }
    return [name for name in applied if name.partition(".")[0] in own][-1]


def _backup_path() -> Path:
    """Return a path that differs from those of daily backups, and make its folder.

    Raises:
        StoreError: the folder cannot be made.
    """
    try:
        folder = make_folder()
        # Of upgrades that were killed. No other one runs.
        for draft in folder.glob(".before-*.backup.*"):
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{settings.BACKUPS_DIR} cannot be used: {error.strerror}.") from None
    return folder / f"before-{__version__}-{timezone.localtime():%Y-%m-%dT%H%M%S}.backup"


def _writes(store: psycopg.Connection[Any]) -> dict[str, int]:
    """Return how many rows of each table were written."""
    return dict(store.execute(WRITES).fetchall())
