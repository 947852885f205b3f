"""Restore a backup into a new database, check it there, and let it replace the store.

The store is untouched until one transaction renames both databases. A restore that ends before
leaves a draft, which the next restore or start of `serve` drops.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.utils.module_loading import import_string
from psycopg import sql

from config.database import fetch_one, fetch_rows, migrations_are_missing
from config.server.backup import (
    CHUNK_BYTES,
    TABLES,
    Manifest,
    count_rows,
    count_rules,
    open_dump,
    read_manifest,
    store_figures,
)
from config.server.postgres import max_wal_size
from config.server.programs import NO_TIMEOUTS, StoreError, connect, program, value

# Databases of these names are dropped, so nothing else may have such a name.
DRAFT, REPLACED = "{}-restore-draft", "{}-replaced-by-restore"
# PostgreSQL truncates a longer name.
MAX_NAME_BYTES = 63
# pg_dump 18 writes it into the first lines of a dump, and PostgreSQL 16 does not know it.
NEW_SETTING = b"SET transaction_timeout = 0;\n"
HEADER_BYTES = 4096

LEAVING_SECONDS = 1.0

MAY_RESTORE = """
SELECT rolsuper OR (rolcreatedb AND pg_has_role(datdba, 'USAGE'))
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""
# PostgreSQL's own processes, such as autovacuum, have no user.
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
"""
# As JSON, because the columns differ between versions of PostgreSQL.
DATABASE = """
SELECT to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(encoding))
FROM pg_database d WHERE datname = current_database()
"""
# A restore that runs is connected to its draft.
LEFTOVERS = """
SELECT datname FROM pg_database d WHERE datname IN (%s, %s)
    AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)
"""
PROVIDERS = {"b": "builtin", "c": "libc", "i": "icu"}


def restore_backup(path: Path, replace: bool, report: Callable[[str], Any]) -> Manifest:
    """Replace the store with a backup. Whatever fails, the store stays as it was.

    Args:
        path: the file.
        replace: whether a store is replaced that holds more than a first start writes.
        report: is called with each sentence that the operator has to read.

    Raises:
        StoreError: the backup was not restored. The message has the reason.
        psycopg.OperationalError: the server does not answer.
    """
    manifest = read_manifest(path)
    with connect() as old, _maintenance(old.info.dbname) as server:
        # connect() has opened it, and no other connection may exist when the names change.
        connection.close()
        name = old.info.dbname
        draft, replaced = DRAFT.format(name), REPLACED.format(name)
        with _reported_errors():
            _check_rights(old)
            _drop(server, draft)
            _drop(server, replaced)
            _check_free_space(manifest)
            _check_that_it_is_unused(old)
            _lock_tables(old)
            if not replace:
                _check_that_it_is_new(old)
        try:
            with _reported_errors():
                server.execute(_create_database(old, draft))
                _connect_django(draft)
                _load(path)
                _check(manifest)
                for step in settings.RESTORE_STEPS:
                    for sentence in import_string(step)(old):
                        report(sentence)
                _check_that_it_is_unused(old)
            connection.close()
            old.close()
            _swap(server, name)
        finally:
            connection.close()
            connection.settings_dict["NAME"] = name
            # After the swap there is none.
            with suppress(psycopg.Error):
                _drop(server, draft)
        with suppress(psycopg.Error):
            _drop(server, replaced)
    return manifest


def drop_leftovers() -> None:
    """Drop the databases that a killed restore has left, but those of one that still runs."""
    name = fetch_one("SELECT current_database()", {})[0]
    for (leftover,) in fetch_rows(LEFTOVERS, [DRAFT.format(name), REPLACED.format(name)]):
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {connection.ops.quote_name(leftover)}")


@contextmanager
def _maintenance(name: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect to the database from which others are renamed. One restore at a time may run."""
    other = "template1" if name == "postgres" else "postgres"
    try:
        server = connect(other)
    except psycopg.OperationalError as error:
        raise StoreError(f"A restore has to connect to the database {other} too: {error}") from None
    with server:
        if not value(server, "SELECT pg_try_advisory_lock(hashtext(%s))", name):
            raise StoreError(f"Another restore of the database {name} runs.")
        yield server


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Report what PostgreSQL reports."""
    try:
        yield
    except (psycopg.DatabaseError, DatabaseError) as error:
        raise StoreError(f"PostgreSQL reports: {str(error).splitlines()[0]}.") from error


def _check_rights(old: psycopg.Connection[Any]) -> None:
    name, role = old.info.dbname, old.info.user
    if not value(old, MAY_RESTORE):
        raise StoreError(
            f"A restore creates a database, which the role {role} may not do, or {role} does not "
            f"own {name}. Run ALTER ROLE {role} CREATEDB and ALTER DATABASE {name} OWNER TO {role}."
        )
    if len(REPLACED.format(name).encode()) > MAX_NAME_BYTES:
        raise StoreError(f"The name of the database {name} is too long for a restore.")


def _check_free_space(manifest: Manifest) -> None:
    """Verify it early, because PostgreSQL stops when its log finds the disk full."""
    if not settings.EMBEDDED_POSTGRES:
        return
    size = manifest.database_bytes
    disk = shutil.disk_usage(settings.DATA_DIR)
    needed = size + min(size, max_wal_size(disk.total))
    free = disk.free
    if free < needed:
        raise StoreError(
            f"The restore needs {needed >> 20} MiB beside the old store, and {free >> 20} MiB are "
            f"free in {settings.DATA_DIR}."
        )


def _check_that_it_is_unused(old: psycopg.Connection[Any]) -> None:
    # A connection that has just been closed is listed for a moment.
    deadline = time.monotonic() + LEAVING_SECONDS
    while (others := value(old, OTHERS)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if others:
        raise StoreError(
            f"{others} other connections to the database {old.info.dbname} are open. Stop `serve` "
            "and all other programs that use it first."
        )


def _check_that_it_is_new(old: psycopg.Connection[Any]) -> None:
    held = {}
    for (table,) in old.execute(TABLES):
        first_rows = settings.FIRST_ROWS.get(table, "false")
        held[table] = value(old, f"SELECT count(*) FROM {table} WHERE NOT ({first_rows})")  # noqa: S608
    rows = ", ".join(f"{table} {number:,}" for table, number in held.items() if number)
    if rows:
        raise StoreError(f"The store is in use (rows: {rows}). --replace replaces it.")


def _lock_tables(old: psycopg.Connection[Any]) -> None:
    """Make all writes wait until the connection is closed, so that none is accepted and lost."""
    old.execute("BEGIN")
    # Autovacuum gives way after a second.
    old.execute("SET LOCAL lock_timeout = '10s'")
    tables = ", ".join(table for (table,) in old.execute(TABLES))
    if tables:
        old.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")


def _drop(server: psycopg.Connection[Any], database: str) -> None:
    server.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
    )


def _create_database(old: psycopg.Connection[Any], draft: str) -> sql.Composed:
    """Return the statement that creates an empty database with the store's locale."""
    row = value(old, DATABASE)
    statement = sql.SQL(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE_PROVIDER {} LC_COLLATE {} "
        "LC_CTYPE {}"
    ).format(
        sql.Identifier(draft),
        row["encoding"],
        sql.Identifier(PROVIDERS[row["datlocprovider"]]),
        row["datcollate"],
        row["datctype"],
    )
    # PostgreSQL 17 renamed the column.
    if locale := row.get("datlocale", row.get("daticulocale")):
        kind = sql.SQL("ICU_LOCALE" if row["datlocprovider"] == "i" else "BUILTIN_LOCALE")
        statement += sql.SQL(" {} {}").format(kind, locale)
    return statement


def _connect_django(database: str) -> None:
    """Let Django's connection lead to another database. Migrations and figures use it."""
    connection.close()
    connection.settings_dict["NAME"] = database
    fetch_rows(NO_TIMEOUTS, {})


def _load(path: Path) -> None:
    with (
        open_dump(path) as dump,
        program(
            *("psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as process,
    ):
        assert process.stdin
        process.stdin.write(dump.read(HEADER_BYTES).replace(NEW_SETTING, b"", 1))
        shutil.copyfileobj(dump, process.stdin, CHUNK_BYTES)
        process.stdin.close()


def _check(manifest: Manifest) -> None:
    """Verify that the draft has what the manifest says, and bring it up to date.

    Raises:
        StoreError: it differs.
    """
    rows = count_rows()
    _compare("rows", rows, manifest.tables)
    names = ("constraints", "indexes")
    rules = dict(zip(names, count_rules(rows), strict=True))
    _compare(" and ".join(names), rules, dict(zip(names, manifest.rules, strict=True)))
    if migrations_are_missing():
        call_command("migrate", verbosity=0, interactive=False)
    figures = store_figures()
    _compare("sums", figures.sums, manifest.sums)
    # A backup of another version counts other kinds of faults.
    both = figures.faults.keys() & manifest.faults.keys()
    _compare(
        "faults",
        {name: figures.faults[name] for name in both},
        {name: manifest.faults[name] for name in both},
    )
    with connection.cursor() as cursor:
        # Without statistics the first requests would get slow plans.
        cursor.execute("VACUUM (ANALYZE)")


def _compare(what: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    differing = [
        f"{name} {_number(found, name)} instead of {_number(expected, name)}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differing:
        raise StoreError(f"The restored {what} differ: {', '.join(differing)}.")


def _number(numbers: Mapping[str, int], name: str) -> str:
    return f"{numbers[name]:,}" if name in numbers else "none"


def _swap(server: psycopg.Connection[Any], name: str) -> None:
    """Rename both databases in one transaction. PostgreSQL does so only if both are unused."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    store, draft, replaced = (
        sql.Identifier(each) for each in (name, DRAFT.format(name), REPLACED.format(name))
    )
    try:
        with server.transaction():
            server.execute(rename.format(store, replaced))
            server.execute(rename.format(draft, store))
    except psycopg.errors.ObjectInUse:
        raise StoreError(
            f"A program has connected to the database {name} meanwhile. Stop it first."
        ) from None
