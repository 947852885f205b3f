"""What tests read from the server's database: counts, statements, deadlocks, orphaned rows."""

from collections.abc import Callable
from typing import Any

import psycopg

MISCOUNTED = (
    "SELECT count(*) FROM events_trackedevent e WHERE counter <> unlogged + "
    "(SELECT count(*) FROM events_eventoccurrence o WHERE o.event_id = e.id)"
)
ORPHANED = (
    "SELECT count(*) FROM {} e "
    "WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = e.subscriber_id)"
)


def fetch_value(store: psycopg.Connection, query: str, parameters: Any = None) -> Any:
    """Return the first column of the query's first row."""
    row = store.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def waiting_for_locks(store: psycopg.Connection) -> int:
    """Return how many locks are waited for."""
    return int(fetch_value(store, "SELECT count(*) FROM pg_locks WHERE NOT granted"))


def counted(store: psycopg.Connection) -> tuple[int, int]:
    """Return the sum of all counters and the number of occurrences."""
    return (
        fetch_value(store, "SELECT COALESCE(sum(counter), 0)::int FROM events_trackedevent"),
        fetch_value(store, "SELECT count(*)::int FROM events_eventoccurrence"),
    )


def count_statements(
    store: psycopg.Connection, work: Callable[[], Any], verbose: bool = True
) -> int:
    """Return how many statements the database ran during the work, by pg_stat_statements.

    Without those by which the processes of jobs and of automations look for work each second.
    With `verbose` it prints them, and pytest shows them when the test fails.
    """
    store.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    store.execute("SELECT pg_stat_statements_reset()")
    work()
    rows = store.execute(
        "SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
        "WHERE d.datname = current_database() AND query NOT LIKE '%pg_stat_statements%' "
        "AND query NOT LIKE 'UPDATE crm_job SET state = %' "
        "AND query NOT LIKE 'WITH beat AS %'"
    ).fetchall()
    if verbose:
        print(rows)
    return sum(calls for _, calls in rows)


def end_connections(store: psycopg.Connection) -> None:
    """End all other connections to the server's database, and wait until they have ended."""
    store.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def count_deadlocks(store: psycopg.Connection) -> int:
    """Return how many deadlocks PostgreSQL has ended in this database until now."""
    store.execute("SELECT pg_stat_clear_snapshot()")
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(fetch_value(store, query))


def assert_nothing_is_orphaned_or_miscounted(store: psycopg.Connection) -> None:
    """Check that every event has its contact and that every counter matches its occurrences."""
    for table in ("events_trackedevent", "events_eventoccurrence"):
        assert fetch_value(store, ORPHANED.format(table)) == 0
    assert fetch_value(store, MISCOUNTED) == 0
