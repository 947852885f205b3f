"""Restore a backup into a new database, check it there, and let it replace the store."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.utils.module_loading import import_string
from psycopg import sql

from config.database import migrations_are_missing
from config.server.backup import (
    CHUNK_BYTES,
    TABLES,
    Manifest,
    count_rows,
    count_rules,
    open_dump,
    read_manifest,
)
from config.server.programs import StoreError, program, value
from config.server.replacement import compare, finish, replacement, reported_errors

# pg_dump 18 writes it into the first lines of a dump, and PostgreSQL 16 does not know it.
NEW_SETTING = b"SET transaction_timeout = 0;\n"
HEADER_BYTES = 4096
# As JSON, because the columns differ between versions of PostgreSQL.
DATABASE = """
SELECT to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(encoding))
FROM pg_database d WHERE datname = current_database()
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
    with replacement("A restore") as place:
        with reported_errors():
            place.check_free_space(manifest.database_bytes)
            place.lock_tables()
            if not replace:
                _check_that_it_is_new(place.store)
            locale = _locale(place.store)
        with place.draft(locale):
            _load(path)
            _check(manifest)
            for step in settings.RESTORE_STEPS:
                for sentence in import_string(step)(place.store):
                    report(sentence)
    return manifest


def _check_that_it_is_new(old: psycopg.Connection[Any]) -> None:
    held = {}
    for (table,) in old.execute(TABLES):
        first_rows = settings.FIRST_ROWS.get(table, "false")
        held[table] = value(old, f"SELECT count(*) FROM {table} WHERE NOT ({first_rows})")  # noqa: S608
    rows = ", ".join(f"{table} {number:,}" for table, number in held.items() if number)
    if rows:
        raise StoreError(f"The store is in use (rows: {rows}). --replace replaces it.")


def _locale(old: psycopg.Connection[Any]) -> sql.Composed:
    """Return the clauses that create an empty database with the store's locale."""
    row = value(old, DATABASE)
    clauses = sql.SQL(
        "TEMPLATE template0 ENCODING {} LOCALE_PROVIDER {} LC_COLLATE {} LC_CTYPE {}"
    ).format(
        row["encoding"],
        sql.Identifier(PROVIDERS[row["datlocprovider"]]),
        row["datcollate"],
        row["datctype"],
    )
    # PostgreSQL 17 renamed the column.
    if locale := row.get("datlocale", row.get("daticulocale")):
        kind = sql.SQL("ICU_LOCALE" if row["datlocprovider"] == "i" else "BUILTIN_LOCALE")
        clauses += sql.SQL(" {} {}").format(kind, locale)
    return clauses


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
    compare("restored rows", rows, manifest.tables)
    names = ("constraints", "indexes")
    rules = dict(zip(names, count_rules(rows), strict=True))
    expected = dict(zip(names, manifest.rules, strict=True))
    compare("restored constraints and indexes", rules, expected)
    if migrations_are_missing():
        call_command("migrate", verbosity=0, interactive=False)
    finish(manifest, "restored")
