"""`python -m tools.bench.automations`: what automations cost, and how much they do in a second.

How fast the outbox is emptied, also while an export holds an old snapshot, how many starts and
steps a second of a core does, and what a process that has nothing to do costs while a million
contacts wait. With `--before CHECKOUT` it measures the processor time of a tracked event as well,
in turns with a checkout: of keys that are watched by nothing, and of keys that are watched.
Processor times hold on a machine that others use as well.
"""

import argparse
import itertools
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = tempfile.TemporaryDirectory()
os.environ["TALLYBOOK_DATA_DIR"] = FOLDER.name
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ.pop("DATABASE_URL", None)
import django  # noqa: E402

django.setup()

import psycopg  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from automations.segments import EVERY  # noqa: E402
from automations.stepping import step_all  # noqa: E402
from automations.taking import take_all  # noqa: E402
from automations.worker import LOOK, arm  # noqa: E402
from automations.writing import create_automation, publish  # noqa: E402
from config.database import fetch_rows  # noqa: E402
from config.server.postgres import USER, EmbeddedPostgres  # noqa: E402
from config.server.processes import AUTOMATIONS_NAME  # noqa: E402
from crm.models import Tag  # noqa: E402
from tests.system.processes import named  # noqa: E402
from tests.system.server import ROOT  # noqa: E402
from tools.bench.calls import ROWS, SEED_CONTACTS, Target, processor_seconds  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
CONTACTS, ENTRIES, STARTS, WAITING = 20_000, 100_000, 3_000, 1_000_000
LEAST_UNWATCHED, LEAST_WATCHED, LEAST_STARTS, MOST_IDLE_MS = 0.97, 0.94, 300, 5
RECORD = """
INSERT INTO crm_outboxentry (subscriber_id, kind, key, title, counter, amount, quiet)
SELECT s.id, 'event', %(key)s, 'Order', 1, 1, %(quiet)s
FROM generate_series(1, %(times)s) t,
     LATERAL (SELECT id FROM crm_subscriber ORDER BY id LIMIT %(contacts)s) s
RETURNING id
"""
WAIT = """
INSERT INTO automations_run (automation_id, subscriber_id, number, version_id, status, reason,
    step_id, entered_at, due_at, happened, source_kind, source_key, source_at, cause, attempts,
    error, created_at)
SELECT a.id, n, 1, a.version_id, 'active', '', 1, now(), now() + n * interval '1 second', false,
    'event', 'checkout', now(), '{}', 0, '', now()
FROM automations_automation a, generate_series(%(first)s, %(last)s) n WHERE a.id = %(automation)s
RETURNING id
"""
WATCH = """
INSERT INTO events_trackingswitch (id, enabled, watched)
VALUES (1, true, ARRAY(SELECT 'key_' || n FROM generate_series(1, 10) n))
ON CONFLICT (id) DO UPDATE SET watched = excluded.watched
"""


def published(key: str, *steps: dict[str, Any], **trigger: Any) -> int:
    """Publish an automation, and return its id."""
    automation = create_automation(
        {
            "title": key,
            "trigger": {"type": "event", "event_key": key, **trigger},
            "steps": list(steps),
            "max_starts_per_hour": 10_000_000,
        }
    )
    publish(automation.pk)
    arm()
    return int(automation.pk)


def record(key: str, times: int, contacts: int = CONTACTS, quiet: bool = False) -> None:
    parameters = {"key": key, "times": times, "contacts": contacts, "quiet": quiet}
    fetch_rows(RECORD, parameters)


def measure(what: str, work: Callable[[Callable[[], bool]], int], postgres: int) -> float:
    """Work until nothing is left, and print how fast. Returns how many a second of a core.

    The speeds of the fifths tell whether it slows down as it goes.
    """
    began, processor = time.monotonic(), time.process_time() + processor_seconds(postgres)
    marks: list[tuple[float, int]] = []
    number, done = 0, -1
    while done:
        ends = time.monotonic() + 0.5
        done = work(lambda ends=ends: time.monotonic() > ends)  # type: ignore[misc]
        number += done
        marks.append((time.process_time() + processor_seconds(postgres) - processor, number))
    seconds, cost = time.monotonic() - began, marks[-1][0]
    fifths = [next(used for used, count in marks if count >= number * n / 5) for n in range(6)]
    speeds = (number / 5 / max(b - a, 0.01) for a, b in itertools.pairwise(fifths))
    shown = ", ".join(f"{speed:,.0f}" for speed in speeds)
    per_core = number / cost
    print(f"{what}: {number:,} in {seconds:.1f} s, {per_core:,.0f} a second of a core ({shown})")
    return per_core


@contextmanager
def old_snapshot() -> Iterator[None]:
    """Hold a snapshot as an export does, so that no deleted row can be removed."""
    host = str(EmbeddedPostgres(Path(FOLDER.name)).socket_dir)
    with psycopg.connect(host=host, user=USER, dbname="tallybook") as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM crm_subscriber")
        yield
        other.rollback()


def measure_worker() -> list[str]:
    """Measure the functions of the worker in this process. Returns what was too slow."""
    server = EmbeddedPostgres(Path(FOLDER.name))
    server.lock("a bench")
    server.start()
    try:
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(SEED_CONTACTS.format(contacts=CONTACTS))
            cursor.execute("VACUUM ANALYZE")
        assert server.process
        return _measure_worker(server.process.pid)
    finally:
        connection.close()
        server.stop()


def _measure_worker(postgres: int) -> list[str]:
    published("seldom", times=1_000_000, when="at")
    times = ENTRIES // CONTACTS
    record("seldom", times)
    measure("entries that start nothing", take_all, postgres)
    with old_snapshot():
        record("seldom", times)
        measure("the same beside an old snapshot", take_all, postgres)
    record("seldom", times, quiet=True)
    measure("imported entries", take_all, postgres)
    marks = [{"type": "track_event", "event_key": f"mark_{n}", "title": "Marked"} for n in (1, 2)]
    tag = {"type": "add_tags", "tags": ["VIP"]}
    Tag.objects.create(title="VIP", slug="vip")
    published("checkout", tag, *marks)
    record("checkout", 1, contacts=STARTS)
    starts = measure("starts", take_all, postgres)
    runs = measure("runs of three steps", step_all, postgres)
    together = 1 / (1 / starts + 1 / runs)
    print(f"starts with three steps: {together:,.0f} a second of a core")
    automation = published("waiting", {"type": "wait", "wait": {"hours": 1}})
    for first in range(1, WAITING, 100_000):
        fetch_rows(WAIT, {"automation": automation, "first": first, "last": first + 99_999})
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE automations_run")
    idle = []
    for _ in range(50):
        began = time.perf_counter()
        fetch_rows(LOOK, {"name": "bench", "segments": EVERY.total_seconds()})
        idle.append((time.perf_counter() - began) * 1000)
    idle.sort()
    print(f"an idle look while {WAITING:,} wait: {idle[25]:.2f} ms")
    missed = [] if together >= LEAST_STARTS else [f"starts: below {LEAST_STARTS}"]
    return missed + ([f"idle: over {MOST_IDLE_MS} ms"] if idle[25] > MOST_IDLE_MS else [])


def measure_tracking(before: Path) -> list[str]:
    """Measure a tracked event in turns with a checkout. Returns what costs too much."""
    row = ROWS[0]
    unwatched, watched = [], []
    with tempfile.TemporaryDirectory() as folder:
        roots = (before.resolve(), ROOT, ROOT)
        targets: list[Target] = []
        try:
            for number, root in enumerate(roots):
                targets.append(Target(root, Path(folder) / str(number)))
            with targets[2].connect() as store:
                store.execute(WATCH)
            for target in targets:
                signal_worker(target, signal.SIGSTOP)
            for number in range(ROUNDS):
                order = range(3) if number % 2 else reversed(range(3))
                costs = {index: targets[index].measure(row).ms for index in order}
                unwatched.append(costs[0] / costs[1])
                watched.append(costs[0] / costs[2])
                with targets[2].connect() as store:
                    store.execute("TRUNCATE crm_outboxentry")
        finally:
            for target in targets:
                # One that sleeps would outlive its server.
                signal_worker(target, signal.SIGCONT)
                target.server.stop(signal.SIGKILL)
    missed = []
    for what, ratios, least in (
        ("unwatched", unwatched, LEAST_UNWATCHED),
        ("watched", watched, LEAST_WATCHED),
    ):
        ratio = statistics.median(ratios)
        shown = ", ".join(f"{each:.3f}" for each in sorted(ratios))
        print(f"a tracked event of {what} keys: {ratio:.3f} ({shown})")
        missed += [f"{what}: below {least}"] if ratio < least else []
    return missed


def signal_worker(target: Target, number: int) -> None:
    """Send a signal to the process that runs automations. It sleeps while tracking is measured."""
    assert target.server.process
    for pid in named(target.server.process.pid, AUTOMATIONS_NAME):
        os.kill(pid, number)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.automations", description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    chosen = parser.parse_args()
    missed = measure_tracking(chosen.before) if chosen.before else []
    missed += measure_worker()
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
