"""Stores to back up and to restore, in databases beside those of the other tests."""

import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from config.server import backup
from config.server.postgres import USER, EmbeddedPostgres
from config.server.restore import restore_backup
from crm.models import Subscriber
from tests.system.server import ROOT, Server, wait_until

FRESH, SHOP, TARGET = "fresh", "shop", "target"
DRAFT, REPLACED = "target-restore-draft", "target-replaced-by-restore"
GRACE = "grace@example.com"
LATER = "later@example.com"
# The most that PostgreSQL writes of its own into one file is a segment of its log.
WAL_SEGMENT_BYTES = 16 << 20
# A table that is larger.
LARGE = f"""
CREATE TABLE public.large AS SELECT repeat('x', 1000) FROM generate_series(
1, {WAL_SEGMENT_BYTES // 900});
"""


class Databases(NamedTuple):
    """The databases of a PostgreSQL, as its superuser sees them."""

    sql: psycopg.Connection[Any]

    def create(self, name: str, template: str = "template1") -> None:
        """Create a database, instead of one that exists."""
        self.drop(name)
        self.sql.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop(self, name: str) -> None:
        """Drop a database, also one in use."""
        self.sql.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def names(self) -> set[str]:
        """Return the names of all databases."""
        return {name for (name,) in self.sql.execute("SELECT datname FROM pg_database")}

    def connect(self, name: str) -> "closing[psycopg.Connection[Any]]":
        """Connect to a database as another program does."""
        host = self.sql.info.host
        return closing(psycopg.connect(host=host, user=USER, dbname=name, autocommit=True))


def restored(path: Path, replace: bool = True) -> list[str]:
    """Restore a backup. Return what the operator reads."""
    sentences: list[str] = []
    restore_backup(path, replace, sentences.append)
    return sentences


def changed(path: Path, folder: Path, manifest: Callable[[Any], Any], sql: str = "") -> Path:
    """Return a copy of a backup with another manifest, and with SQL at its end."""
    copy = folder / "changed.backup"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        fields = json.loads(old.read(backup.MANIFEST))
        new.writestr(backup.DUMP, old.read(backup.DUMP) + sql.encode())
        new.writestr(backup.MANIFEST, json.dumps(fields | manifest(fields)))
    return copy


def emails() -> set[str]:
    """Return the e-mails of the contacts in the database that Django is connected to."""
    return set(Subscriber.objects.values_list("email", flat=True))


@contextmanager
def full_disk(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Let a PostgreSQL fail to write files larger than a segment of its log in the block."""
    assert postgres.process
    limits = resource.prlimit(postgres.process.pid, resource.RLIMIT_FSIZE)
    low = (WAL_SEGMENT_BYTES, limits[1])
    resource.prlimit(postgres.process.pid, resource.RLIMIT_FSIZE, low)
    try:
        yield
    finally:
        resource.prlimit(postgres.process.pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def begun(server: Server, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """Begin a management command on a server's store. It is killed at the end of the block."""
    with subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=server.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_statement(host: str, text: str) -> None:
    """Wait until a PostgreSQL runs a statement, and for its start.

    Args:
        host: the folder of its socket.
        text: the beginning of the statement.
    """
    query = "SELECT count(*) FROM pg_stat_activity WHERE starts_with(query, %s)"

    def runs() -> bool:
        try:
            with psycopg.connect(host=host, user=USER, dbname="postgres") as connection:
                return connection.execute(query, [text]).fetchone() != (0,)
        except psycopg.OperationalError:
            return False

    wait_until(runs, 30)
