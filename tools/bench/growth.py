"""`python -m tools.bench.growth`: the tracking statement on 10,000,000 events against 200,000.

Two databases of one PostgreSQL: 20,000 contacts with 10 events each, and 1,000,000 such contacts.
Calls name the same 20,000 contacts, which are spread over the whole of both. Rounds alternate
between the two, so that what else the machine does is in both figures. Needs 12 GB of TMPDIR.
"""

import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

from config.server.postgres import USER, EmbeddedPostgres
from tests.system.server import manage
from tools.bench.calls import pgbench, processor_seconds
from tools.bench.run import track_statement

SECONDS = int(os.environ.get("BENCH_SECONDS", "20"))
WARM_UP_SECONDS = 60
ROUNDS = 5
LEAST_RATIO = 0.8
CONTACTS = 1_000_000
# One contact in so many is in the small store, and is named by calls.
STRIDE = 50
CONTACT = f"'contact' || {STRIDE} * :contact || '@example.com'"
STORES = {"small": STRIDE, "large": 1}
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = ANY ('{events_trackedevent,events_eventoccurrence}'::regclass[])
    AND NOT indisprimary
"""
# The first event of all contacts, then the second, as they arrive in the course of time. So the
# events of a contact are on ten pages.
FILL = """
INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, life_time_value,
                            custom_values, created_at, updated_at)
SELECT email, email, 'subscribed', 'lead', 0, 0, '{}', now(), now()
FROM (SELECT n, 'contact' || n || '@example.com' AS email
      FROM generate_series(%(stride)s::int, %(contacts)s::int, %(stride)s::int) n) one ORDER BY n;
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_by_id, created_at, updated_at)
SELECT s.id, 'key_' || k, 'Order placed', '42', 'bench', 1, 0, true, 1, now(), now()
FROM generate_series(1, 10) k, crm_subscriber s ORDER BY k, s.id;
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
                                    properties, context, occurred_at, received_at)
SELECT id, subscriber_id, event_key, provider, value, 1, '{}', '{}', now(), now()
FROM events_trackedevent ORDER BY id
"""


@dataclass
class Round:
    """What the statement took in one round of a store."""

    per_second: float
    # Of all processes of PostgreSQL, in microseconds a statement.
    processor_time: float
    # Bytes of the write-ahead log, and pages that were written into it whole, a statement.
    wal_bytes: float
    whole_pages: float


def fill(socket_dir: Path, name: str) -> None:
    """Create and fill a database. Indexes are made afterwards, which takes a third of the time."""
    with connect(socket_dir, "postgres") as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = f"postgres://{USER}@/{socket_dir}/{name}"
    environment = {**os.environ, "DATABASE_URL": url}
    # That of the tests, which has a database of its own.
    del environment["DJANGO_SETTINGS_MODULE"]
    done = manage(["migrate", "-v0"], environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    with connect(socket_dir, name) as connection:
        indexes = connection.execute(INDEXES).fetchall()
        for index, _ in indexes:
            connection.execute(f"DROP INDEX {index}")
        for statement in FILL.split(";"):
            connection.execute(statement, {"stride": STORES[name], "contacts": CONTACTS})
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE")


def connect(socket_dir: Path, name: str) -> psycopg.Connection:
    """Connect to a database as its superuser."""
    return psycopg.connect(host=str(socket_dir), user=USER, dbname=name, autocommit=True)


def track(socket_dir: Path, name: str, seconds: int) -> tuple[float, int]:
    """Return the tracking statements a second, and their number."""
    statement = track_statement(contact=CONTACT)
    return pgbench(socket_dir, name, statement, CONTACTS // STRIDE, seconds)


def measure(postgres: EmbeddedPostgres, name: str) -> Round:
    """Run one round."""
    query = "SELECT wal_bytes::float, wal_fpi::float FROM pg_stat_wal"
    assert postgres.process
    with connect(postgres.socket_dir, name) as connection:
        before = connection.execute(query).fetchone()
        began = processor_seconds(postgres.process.pid)
        per_second, number = track(postgres.socket_dir, name, SECONDS)
        took = processor_seconds(postgres.process.pid) - began
        connection.execute("SELECT pg_stat_clear_snapshot()")
        after = connection.execute(query).fetchone()
    assert before
    assert after
    wal_bytes, whole_pages = ((new - old) / number for new, old in zip(after, before, strict=True))
    return Round(per_second, took / number * 1e6, wal_bytes, whole_pages)


def main() -> None:
    """Fill both stores, and print each round, the ratio, and what it is made of."""
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.lock("a bench")
        postgres.start()
        try:
            for name in STORES:
                fill(postgres.socket_dir, name)
            ratio = compare(postgres)
        finally:
            postgres.stop()
    if ratio < LEAST_RATIO:
        sys.exit(f"The ratio is below {LEAST_RATIO}.")


def compare(postgres: EmbeddedPostgres) -> float:
    """Return the median of the rounds' ratios, the large store to the small one."""
    for name in STORES:
        track(postgres.socket_dir, name, WARM_UP_SECONDS)
    ratios, times = [], []
    for _ in range(ROUNDS):
        figures = {name: measure(postgres, name) for name in STORES}
        small, large = figures["small"], figures["large"]
        ratios.append(large.per_second / small.per_second)
        times.append(large.processor_time / small.processor_time)
        for name, found in figures.items():
            print(
                f"{name:6}{found.per_second:8.0f} a second{found.processor_time:7.0f} µs"
                f"{found.wal_bytes:7.0f} bytes of WAL{found.whole_pages:7.2f} whole pages",
                flush=True,
            )
    ratio = statistics.median(ratios)
    print(
        f"ratio {ratio:.2f}, of processor time {statistics.median(times):.2f} "
        f"(medians of {ROUNDS} rounds of {SECONDS} s)"
    )
    return ratio


if __name__ == "__main__":
    main()
