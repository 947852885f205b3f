"""How PostgreSQL runs a statement."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
from django.db import connection

from config.database import fetch_one


def explain(statement: str, parameters: dict[str, Any]) -> Any:
    """Return how PostgreSQL runs a statement once it is prepared, as the server runs it."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    prepared = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", statement)
    values = ", ".join(f"%({name})s" for name in names)
    connection.ensure_connection()
    with psycopg.ClientCursor(connection.connection) as sql:
        sql.execute(f"PREPARE page AS {prepared}")
        sql.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page({values})", parameters)
        (plans,) = sql.fetchone() or ([],)
        sql.execute("DEALLOCATE page")
    return plans[0]["Plan"]


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Iterate over a plan's nodes."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from walk(inner)


def rows_scanned(table: str) -> int:
    """Return how many rows of a table the transaction has read without an index until now."""
    statement = "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = %(table)s"
    number: int = fetch_one(statement, {"table": table})[0]
    return number
