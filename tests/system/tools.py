"""What several tests look at, and how they do things at once."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg

DIFFERENT = (
    "SELECT count(*) FROM events_trackedevent e WHERE counter <> unlogged + "
    "(SELECT count(*) FROM events_eventoccurrence o WHERE o.event_id = e.id)"
)
ORPHANS = (
    "SELECT count(*) FROM {} e "
    "WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = e.subscriber_id)"
)


def in_threads(number: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work(0)` … `work(number - 1)` return, run at once."""
    results: list[Any] = [None] * number

    def run(index: int) -> None:
        results[index] = work(index)

    threads = [threading.Thread(target=run, args=[index]) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def statements(store: psycopg.Connection, work: Callable[[], Any], told: bool = True) -> int:
    """How many statements the server's database ran meanwhile, as PostgreSQL counts them."""
    store.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    store.execute("SELECT pg_stat_statements_reset()")
    work()
    rows = store.execute(
        "SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
        "WHERE d.datname = current_database() AND query NOT LIKE '%pg_stat_statements%'"
    ).fetchall()
    if told:
        print(rows)  # shown when the test fails
    return sum(calls for _, calls in rows)


def counted(store: psycopg.Connection) -> tuple[int, int]:
    """The sum of the counters and the number of occurrences."""
    row = store.execute(
        "SELECT (SELECT COALESCE(sum(counter), 0)::int FROM events_trackedevent), "
        "(SELECT count(*)::int FROM events_eventoccurrence)"
    ).fetchone()
    assert row
    return row[0], row[1]


def deadlocks(store: psycopg.Connection) -> int:
    """How many PostgreSQL has ended in this database so far."""
    store.execute("SELECT pg_stat_clear_snapshot()")
    row = store.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row
    return int(row[0])


def assert_nothing_is_orphaned_or_miscounted(store: psycopg.Connection) -> None:
    for table in ("events_trackedevent", "events_eventoccurrence"):
        assert store.execute(ORPHANS.format(table)).fetchone() == (0,)
    assert store.execute(DIFFERENT).fetchone() == (0,)
