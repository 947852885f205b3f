"""Exports inside a test's transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def without_snapshots() -> Iterator[None]:
    """Leave out SET TRANSACTION, which can only begin a transaction: the test has begun it."""

    def skip(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        return None if sql.startswith("SET TRANSACTION ") else execute(sql, *arguments)

    with connection.execute_wrapper(skip):
        yield
