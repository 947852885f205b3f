"""Make a database beside the store, and let it replace the store in one transaction.

A restore fills the draft with a backup, and an upgrade with a copy of the store. The store is
untouched until both databases are renamed. A command that ends before leaves its draft, which the
next one or the next start of `serve` drops.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection
from psycopg import sql

from config.database import fetch_one, fetch_rows
from config.server.backup import TABLES, Manifest, store_figures
from config.server.postgres import max_wal_size
from config.server.programs import NO_TIMEOUTS, StoreError, connect, value

# Databases of these names are dropped, so nothing else may have such a name. An upgrade uses them
# too, because the older version that goes on after a killed one drops only these.
DRAFT, REPLACED = "{}-restore-draft", "{}-replaced-by-restore"
# PostgreSQL truncates a longer name.
MAX_NAME_BYTES = 63

LEAVING_SECONDS = 1.0

MAY_REPLACE = """
SELECT rolsuper OR (rolcreatedb AND pg_has_role(datdba, 'USAGE'))
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""
# PostgreSQL's own processes, such as autovacuum, have no user.
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
"""
# A command that runs is connected to its draft.
LEFTOVERS = """
SELECT datname FROM pg_database d WHERE datname IN (%s, %s)
    AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)
"""


class Replacement:
    """A draft beside the store, which replaces the store if nothing fails."""

    def __init__(
        self, work: str, store: psycopg.Connection[Any], server: psycopg.Connection[Any]
    ) -> None:
        # In messages: "A restore" or "An upgrade".
        self.work = work
        self.name = store.info.dbname
        # The connection to the store that is replaced. `draft` closes it.
        self.store = store
        # A connection to another database, from which both are renamed.
        self.server = server
        self.draft_name = DRAFT.format(self.name)
        self._replaced = REPLACED.format(self.name)

    def prepare(self) -> None:
        """Check that the store may be replaced and is unused, and drop earlier drafts.

        Raises:
            StoreError: it may not, or a program uses it.
        """
        self._check_rights()
        self._drop(self.draft_name)
        self._drop(self._replaced)
        self.check_that_it_is_unused()

    def check_free_space(self, size: int) -> None:
        """Verify it early, because PostgreSQL stops when its log finds the disk full.

        Args:
            size: of the new store, in bytes.

        Raises:
            StoreError: the disk of the embedded PostgreSQL has less room.
        """
        if not settings.EMBEDDED_POSTGRES:
            return
        disk = shutil.disk_usage(settings.DATA_DIR)
        needed = size + min(size, max_wal_size(disk.total))
        free = disk.free
        if free < needed:
            raise StoreError(
                f"{self.work} needs {needed >> 20} MiB beside the old store, and {free >> 20} MiB "
                f"are free in {settings.DATA_DIR}."
            )

    def check_that_it_is_unused(self) -> None:
        """Raise StoreError if another program is connected to the store."""
        # A connection that has just been closed is listed for a moment.
        deadline = time.monotonic() + LEAVING_SECONDS
        while (others := self._others()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if others:
            raise StoreError(
                f"The database {self.name} has other open connections: {others}. Stop `serve` and "
                "all other programs that use it first."
            )

    def reconnect(self) -> None:
        """Connect to the store again, which was left for a copy of it."""
        self.store = connect(self.name)

    def lock_tables(self) -> None:
        """Make all writes into the store wait, so that none is accepted and lost."""
        self.store.execute("BEGIN")
        # Autovacuum gives way after a second.
        self.store.execute("SET LOCAL lock_timeout = '10s'")
        tables = ", ".join(table for (table,) in self.store.execute(TABLES))
        if tables:
            self.store.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")

    @contextmanager
    def draft(self, clauses: sql.Composable) -> Iterator[None]:
        """Create the draft, to which Django is connected in the block.

        The draft replaces the store when the block ends without an error.

        Args:
            clauses: of CREATE DATABASE.

        Raises:
            StoreError: PostgreSQL reports an error, or a program uses the store.
        """
        create = sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(self.draft_name))
        try:
            with reported_errors():
                self.server.execute(create + clauses)
                _connect_django(self.draft_name)
                yield
                self.check_that_it_is_unused()
            connection.close()
            self.store.close()
            self._swap()
        finally:
            connection.close()
            self.store.close()
            connection.settings_dict["NAME"] = self.name
            # After the swap there is none.
            with suppress(psycopg.Error):
                self._drop(self.draft_name)
        with suppress(psycopg.Error):
            self._drop(self._replaced)

    def _others(self) -> int:
        # Within a transaction PostgreSQL shows the list of the first look again.
        self.store.execute("SELECT pg_stat_clear_snapshot()")
        others: int = value(self.store, OTHERS)
        return others

    def _check_rights(self) -> None:
        name, role = self.name, self.store.info.user
        if not value(self.store, MAY_REPLACE):
            raise StoreError(
                f"{self.work} creates a database, which the role {role} may not do, or {role} does "
                f"not own {name}. Run ALTER ROLE {role} CREATEDB and ALTER DATABASE {name} OWNER "
                f"TO {role}."
            )
        if len(self._replaced.encode()) > MAX_NAME_BYTES:
            work = self.work.lower()
            raise StoreError(f"The name of the database {name} is too long for {work}.")

    def _drop(self, database: str) -> None:
        self.server.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        )

    def _swap(self) -> None:
        """Rename both databases in one transaction. PostgreSQL does so only if both are unused."""
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        store, draft, replaced = (
            sql.Identifier(each) for each in (self.name, self.draft_name, self._replaced)
        )
        try:
            with self.server.transaction():
                self.server.execute(rename.format(store, replaced))
                self.server.execute(rename.format(draft, store))
        except psycopg.errors.ObjectInUse:
            raise StoreError(
                f"A program has connected to the database {self.name} meanwhile. Stop it first."
            ) from None


@contextmanager
def replacement(work: str) -> Iterator[Replacement]:
    """Connect to the store that Django is connected to, and prepare to replace it.

    One command at a time may do so.

    Args:
        work: "A restore" or "An upgrade", for messages.

    Raises:
        StoreError: the store cannot be replaced. The message has the reason.
        psycopg.OperationalError: the server does not answer.
    """
    with connect() as store, _maintenance(store.info.dbname, work) as server:
        # connect() has opened it, and no other connection may exist when the names change.
        connection.close()
        replaced = Replacement(work, store, server)
        with reported_errors():
            replaced.prepare()
        yield replaced


def drop_leftovers() -> None:
    """Drop the databases that a killed command has left, but those of one that still runs."""
    name = fetch_one("SELECT current_database()", {})[0]
    for (leftover,) in fetch_rows(LEFTOVERS, [DRAFT.format(name), REPLACED.format(name)]):
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {connection.ops.quote_name(leftover)}")


def finish(manifest: Manifest, adjective: str) -> None:
    """Compare the migrated draft with a manifest, and let PostgreSQL know its contents.

    Args:
        manifest: of the backup.
        adjective: "restored" or "upgraded", for messages.

    Raises:
        StoreError: sums or faults differ.
    """
    figures = store_figures()
    compare(f"{adjective} sums", figures.sums, manifest.sums)
    # A backup of another version counts other kinds of faults.
    both = figures.faults.keys() & manifest.faults.keys()
    compare(
        f"{adjective} faults",
        {name: figures.faults[name] for name in both},
        {name: manifest.faults[name] for name in both},
    )
    with connection.cursor() as cursor:
        # Without statistics the first requests would get slow plans.
        cursor.execute("VACUUM (ANALYZE)")


def compare(what: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Raise StoreError if numbers differ. The message names them as "The `what` differ"."""
    differing = [
        f"{name} {_number(found, name)} instead of {_number(expected, name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differing:
        raise StoreError(f"The {what} differ: {', '.join(differing)}.")


@contextmanager
def reported_errors() -> Iterator[None]:
    """Report what PostgreSQL reports, as StoreError."""
    try:
        yield
    except (psycopg.DatabaseError, DatabaseError) as error:
        raise StoreError(f"PostgreSQL reports: {str(error).splitlines()[0]}.") from error


@contextmanager
def _maintenance(name: str, work: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect to the database from which others are renamed."""
    other = "template1" if name == "postgres" else "postgres"
    try:
        server = connect(other)
    except psycopg.OperationalError as error:
        raise StoreError(f"{work} has to connect to the database {other} too: {error}") from None
    with server:
        if not value(server, "SELECT pg_try_advisory_lock(hashtext(%s))", name):
            raise StoreError(f"Another restore or upgrade of the database {name} runs.")
        yield server


def _connect_django(database: str) -> None:
    """Let Django's connection lead to another database. Migrations and figures use it."""
    connection.close()
    connection.settings_dict["NAME"] = database
    fetch_rows(NO_TIMEOUTS, {})


def _number(numbers: Mapping[str, int], name: str) -> str:
    return f"{numbers[name]:,}" if name in numbers else "none"
