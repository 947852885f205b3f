"""Reach the store's PostgreSQL from a command: have it run, connect, run pg_dump and psql."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, connections

from config.server.postgres import DataFolderInUse, EmbeddedPostgres, binaries, die_with_parent

# A server may end long statements and transactions by default.
NO_TIMEOUTS = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',
               'idle_session_timeout', 'idle_in_transaction_session_timeout')
"""


class StoreError(Exception):
    """The store cannot be backed up or restored. The message says what the operator can do."""


@contextmanager
def running_postgres(note: str, alone: bool) -> Iterator[None]:
    """Start the embedded PostgreSQL for the block, if it does not run already.

    Args:
        note: what `serve` reports about this process meanwhile.
        alone: True creates a store if there is none, and rejects one that `serve` runs. False
            uses a store that exists, running or not.

    Raises:
        PostgresError: the embedded PostgreSQL cannot be used.
        StoreError: there is no store, or `serve` runs.
    """
    if not settings.EMBEDDED_POSTGRES:
        yield
        return
    postgres = EmbeddedPostgres(settings.DATA_DIR)
    if not alone and not postgres.cluster.exists():
        raise StoreError(f"There is no store in {settings.DATA_DIR}.")
    try:
        postgres.lock(note)
    except DataFolderInUse as error:
        if alone:
            raise StoreError(f"{error} Stop it first.") from None
        yield
        return
    try:
        postgres.start()
        yield
    finally:
        connections.close_all()
        postgres.stop()


def connect(database: str | None = None) -> psycopg.Connection[Any]:
    """Connect as Django does, to its database or another one, in autocommit mode, without timeouts.

    Raises:
        psycopg.OperationalError: there is no connection.
        StoreError: a connection pooler is in between.
    """
    connection.ensure_connection()
    info = connection.connection.info
    connected = psycopg.connect(
        info.dsn, dbname=database or info.dbname, password=info.password or None, autocommit=True
    )
    # PgBouncer makes up the process ids that it tells its clients.
    if connected.info.backend_pid != value(connected, "SELECT pg_backend_pid()"):
        connected.close()
        raise StoreError(
            "DATABASE_URL leads to a connection pooler. Set it to the URL of PostgreSQL itself "
            "for this command."
        )
    connected.execute(NO_TIMEOUTS)
    return connected


def value(connected: psycopg.Connection[Any], query: Any, *parameters: Any) -> Any:
    """Return the first column of a query's first row."""
    row = connected.execute(query, parameters or None).fetchone()
    return row[0] if row else None


@contextmanager
def program(name: str, *arguments: str, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of PostgreSQL, such as pg_dump, on the database that Django is connected to.

    Args:
        name: the program.
        arguments: its arguments.
        streams: stdin or stdout, as for Popen. The block closes stdin when it has written all.

    Raises:
        StoreError: the program failed. The message has its first line.
    """
    connection.ensure_connection()
    info = connection.connection.info
    environment = dict(os.environ)
    if info.password:
        # A command line can be read by all users.
        environment["PGPASSWORD"] = info.password
    parent = os.getpid()
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            [binaries() / name, f"--dbname={info.dsn}", *arguments],
            env=environment,
            stderr=errors,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            **streams,
        ) as process:
            stopped_reading = False
            try:
                yield process
            except BrokenPipeError:
                stopped_reading = True
            except BaseException:
                process.kill()
                with suppress(OSError):
                    if process.stdin:
                        process.stdin.close()
                raise
        if process.returncode or stopped_reading:
            errors.seek(0)
            reason = errors.readline().decode(errors="replace").strip()
            raise StoreError(f"{name} failed: {reason or f'exit code {process.returncode}'}.")
