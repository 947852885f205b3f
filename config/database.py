"""Run SQL on Django's connection: without Django's cursor, and again after a deadlock."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial, wraps
from select import POLLIN, poll
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from django.db.models.constants import OnConflict
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.errors import DeadlockDetected, ForeignKeyViolation, SerializationFailure
from typing_extensions import override

from config.groups import Group

Row = tuple[Any, ...]
Parameters = Mapping[str, Any] | Sequence[Any]
P = ParamSpec("P")
Result = TypeVar("Result")
Item = TypeVar("Item")

MAX_TRIES = 3
# Columns of the first statement of a transaction that no other may stop for long: it fails instead.
LIMIT_WAITS = "set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10s', true)"
# Classes of SQLSTATE of a server that cannot work, which every other statement would find as well.
UNAVAILABLE = ("08", "53", "57P", "58")
TEMPORARY = (DeadlockDetected, SerializationFailure, ForeignKeyViolation)
# The most that the rows of a page have together. A worker takes several times as much for them.
MAX_PAGE_BYTES = 8 * 1024 * 1024
PAGE = """
SELECT * FROM (
    SELECT page.*,
           count(*) OVER () AS found,
           sum({size}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS bytes
    FROM ({statement}) page
) page WHERE bytes - ({size}) < %(max_bytes)s ORDER BY {order}
"""


class NoAnswer(psycopg.OperationalError):
    """PostgreSQL does not answer a statement of a request, and the connection is closed."""


class DatetimeLoader(Loader):
    """Parse a timestamptz of a connection whose time zone is UTC, as Django's are.

    Django's own loader matches a regular expression in Python, which takes 3.5 µs instead of 0.3.
    """

    # Django compares it with the connection's time zone.
    timezone = UTC

    @override
    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(str(data, "ascii"))


def register_datetime_loader(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Parse the datetimes of a new connection by DatetimeLoader (Django's connection_created)."""
    connection.connection.adapters.register_loader("timestamptz", DatetimeLoader)


def fetch_rows(statement: str, parameters: Parameters, prepare: bool | None = None) -> list[Row]:
    """Run one statement with psycopg's own cursor, because Django's takes 45 µs more.

    Args:
        statement: SQL with psycopg's placeholders.
        parameters: their values, by name or by position.
        prepare: None lets psycopg prepare a statement on the server once it is frequent. False
            has it planned for its parameters each time.

    Returns:
        All rows.

    Raises:
        django.db.DatabaseError: the same errors as from Django's cursor.
    """
    database = connections["default"]
    database.ensure_connection()
    with database.wrap_database_errors:
        cursor = database.connection.execute(statement, parameters, prepare=prepare)
        rows: list[Row] = cursor.fetchall()
        return rows


def fetch_page(
    statement: str, parameters: Mapping[str, Any], *, size: str, order: str
) -> tuple[list[Row], bool]:
    """Run one statement as `fetch_rows` does, and end its rows where they exceed 8 MB together.

    PostgreSQL leaves the others out, so that a worker never holds them.

    Args:
        statement: SQL with psycopg's placeholders by name, and a LIMIT.
        parameters: their values.
        size: SQL for the bytes of a row, by the columns of the statement.
        order: the order of the statement's rows, by its columns.

    Returns:
        The rows, at least one if there are any, and whether others were left out. A row has two
        columns more than the statement: the number of rows that it found, and the bytes so far.
    """
    bounded = PAGE.format(statement=statement, size=size, order=order)
    rows = fetch_rows(bounded, {**parameters, "max_bytes": MAX_PAGE_BYTES})
    return rows, bool(rows) and len(rows) < rows[0][-2]


def fetch_row(statement: str, parameters: Parameters) -> Row | None:
    """Run one statement as `fetch_rows` does and return its first row, or None."""
    rows = fetch_rows(statement, parameters)
    return rows[0] if rows else None


def fetch_one(statement: str, parameters: Parameters) -> Row:
    """Run one statement that always returns a row, such as an aggregate, and return that row."""
    return fetch_rows(statement, parameters)[0]


def clock() -> datetime:
    """Return PostgreSQL's time now, not that of the transaction's begin, in UTC."""
    now: datetime = fetch_one("SELECT clock_timestamp()", {})[0]
    return now


def fetch_rows_reconnecting(statement: str, parameters: Parameters) -> list[Row]:
    """Run the first statement of a request as `fetch_rows` does, on a new connection if need be.

    Connections are kept without health checks, so the first statement is the one that finds a dead
    connection. It must be safe to run twice.
    """
    try:
        return fetch_rows(statement, parameters)
    except (OperationalError, InterfaceError) as error:
        # A second wait would exceed the time of a request.
        if isinstance(error.__cause__, NoAnswer) or not drop_closed_connection():
            raise
        return fetch_rows(statement, parameters)


class FirstStatement(Group[Item, Result]):
    """A group that runs the first statement of requests, such as by `fetch_rows_reconnecting`."""

    @override
    def run(self, item: Item) -> Result:
        result = super().run(item)
        # It may have run on the connection of another thread, and this one's be closed.
        drop_closed_connection()
        return result


def drop_closed_connection() -> bool:
    """Forget a connection that PostgreSQL has closed, so that the next statement connects again.

    It costs no statement, because an idle connection has nothing to read but its end. Returns
    whether there was one.
    """
    database = connections["default"]
    if database.connection is None:
        return False
    if not database.connection.closed:
        socket = poll()
        socket.register(database.connection.fileno(), POLLIN)
        if not socket.poll(0):
            return False
    database.close()
    return True


def is_disconnected(error: Exception) -> bool:
    """Return whether an error says that PostgreSQL is unavailable, and not that a statement failed.

    Without a SQLSTATE it is psycopg that has lost the connection.
    """
    state = getattr(error.__cause__, "sqlstate", None)
    is_of_connection = isinstance(error, OperationalError | InterfaceError)
    return is_of_connection and (state is None or state.startswith(UNAVAILABLE))


def insert_new(row: Model) -> bool:
    """Insert a row, unless a unique index has one like it. Sets its id, and returns whether it did.

    PostgreSQL would log each violated index, and end the transaction without a savepoint.
    """
    meta = row._meta
    fields = [field for field in meta.local_concrete_fields if field is not meta.pk]
    (inserted,) = type(row)._base_manager._insert(  # type: ignore[attr-defined]  # as Model.save
        [row], fields, [meta.pk], using="default", on_conflict=OnConflict.IGNORE
    )
    if inserted is None:
        return False
    (row.pk,) = inserted
    row._state.adding, row._state.db = False, "default"
    return True


def retry_on_deadlock(work: Callable[[], Result]) -> Result:
    """Call `work`, which commits by itself, up to three times while PostgreSQL ends it.

    PostgreSQL ends a transaction with 40P01 (deadlock) or 40001 (serialization failure), and with
    23503 (foreign key) if a concurrent one deletes what a new row refers to, or refers to what is
    deleted. Inside a transaction of the caller there is one try, because the whole transaction has
    to be repeated.
    """
    tries = 1 if connections["default"].in_atomic_block else MAX_TRIES
    while True:
        tries -= 1
        try:
            return work()
        except (OperationalError, IntegrityError) as error:
            if not isinstance(error.__cause__, TEMPORARY) or not tries:
                raise


def in_transaction(function: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function to run in one transaction, and again after a deadlock."""
    atomic = transaction.atomic(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Result:
        return retry_on_deadlock(partial(atomic, *args, **kwargs))

    return run


def chunked(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Split ids or rows into chunks of `size`, so that each statement stays short."""
    return (items[start : start + size] for start in range(0, len(items), size))


def migrations_are_missing() -> bool:
    """Return whether the database lacks a migration.

    Raises:
        django.db.DatabaseError: the database is unavailable.
    """
    return not _migrations() <= MigrationRecorder(connection).applied_migrations().keys()


def unknown_migrations(applied: Iterable[str]) -> list[str]:
    """Return the migrations that this code lacks.

    Args:
        applied: those of a database or of a backup, such as "crm.0042_example".
    """
    known = {".".join(key) for key in MigrationLoader(None).disk_migrations}
    return sorted(set(applied) - known)


@cache
def _migrations() -> frozenset[tuple[str, str]]:
    """Return the apps and names of all migrations. Reading their files takes 20 ms."""
    return frozenset(MigrationLoader(None).graph.nodes)
