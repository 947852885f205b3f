"""The tests' databases: which one Django uses, no wait for the disk, and DELETE to empty tables."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.db import connection

from config.server.postgres import USER
from tests.system.server import wait_until

# Rows that the migrations write.
KEPT = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}


def set_fsync(socket_dir: Path, value: str) -> None:
    """Let the PostgreSQL of a socket wait for the disk, with "on", or not, with "off"."""
    with psycopg.connect(
        host=str(socket_dir), user=USER, dbname="postgres", autocommit=True
    ) as sql:
        sql.execute(f"ALTER SYSTEM SET fsync = {value}")
        sql.execute("SELECT pg_reload_conf()")
        # PostgreSQL reads the setting itself before it tells its connections to.
        wait_until(lambda: sql.execute("SHOW fsync").fetchone() == (value,))


@contextmanager
def use(database: str, socket_dir: str | None = None) -> Iterator[None]:
    """Let Django connect to a database in the block, of the tests' PostgreSQL or of another."""
    own = connection.settings_dict["NAME"], connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["NAME"] = database
    if socket_dir:
        connection.settings_dict["HOST"] = socket_dir
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"], connection.settings_dict["HOST"] = own


def deletion(tables: Iterable[str]) -> str:
    """Return the statement that empties tables."""
    # The rows that refer to contacts go first: their tables have longer names.
    return ";".join(f'DELETE FROM "{table}"' for table in sorted(tables, key=len, reverse=True))


def flush(style: object, tables: Iterable[str], **options: bool) -> list[str]:
    """Return the statements of Django's command flush."""
    # DELETE is faster than TRUNCATE here, because TRUNCATE makes new files.
    return [deletion(set(tables) - KEPT)]
