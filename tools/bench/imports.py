"""`python -m tools.bench.imports`: how fast a history of events is imported into an empty store.

A million events of 50,000 contacts and 40 keys, with properties, from a CSV in the order of time:
split, validated, keyed, written and committed, 20,000 in a transaction. Then the same file again,
which changes nothing, and another one in the small transactions beside which tracking goes on. The
processor time holds on a machine that others use as well; the events a second do not.
"""

import argparse
import csv
import gc
import itertools
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory()
os.environ["TALLYBOOK_DATA_DIR"] = FOLDER.name
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ.pop("DATABASE_URL", None)
import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from config.server.postgres import EmbeddedPostgres  # noqa: E402
from config.server.processes import GARBAGE_THRESHOLDS, SWITCH_SECONDS  # noqa: E402
from events.tracking.fields import parse_event  # noqa: E402
from events.tracking.imports import EventChunk, Imported, PastEvent, import_events  # noqa: E402
from events.tracking.row_keys import RowKeys  # noqa: E402
from events.verification import find_differences, find_orphans  # noqa: E402
from tools.bench.calls import SEED_CONTACTS, processor_seconds  # noqa: E402

CONTACTS, KEYS = 50_000, 40
CHUNK, SMALL_CHUNK = 20_000, 1_000
SMALL_EVENTS = 50_000
COLUMNS = ("email", "event_key", "title", "value", "provider", "properties", "occurred_at")
START = datetime(2024, 1, 1, tzinfo=UTC)
LEAST_PER_SECOND = 15_000


def rows(number: int, is_even: bool, seed: int = 1) -> Iterator[dict[str, str]]:
    """Yield rows of a file in the order of time, as the cells of a CSV.

    Args:
        number: of rows.
        is_even: whether all keys are as frequent. Otherwise the first is, as page views are, as
            frequent as the second, third and fourth together.
        seed: of the random choices.
    """
    chance = random.Random(seed)
    weights = list(itertools.accumulate(1 if is_even else 1 / (k + 1) for k in range(KEYS)))
    now = START
    for _ in range(number):
        now += timedelta(seconds=chance.randrange(30))
        [key] = chance.choices(range(KEYS), cum_weights=weights)
        product = chance.randrange(1000)
        yield {
            "email": f"contact{chance.randrange(CONTACTS) + 1}@example.com",
            "event_key": f"key_{key}",
            "title": f"What key {key} is about",
            "value": str(chance.randrange(10_000) / 100),
            "provider": "shop",
            "properties": json.dumps({"product": product, "price": 9.5, "path": f"/p/{product}"}),
            "occurred_at": now.isoformat(),
        }


def write_file(path: Path, number: int, is_even: bool, seed: int = 1) -> None:
    """Write rows as a CSV."""
    with path.open("w", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerows(rows(number, is_even, seed))


def chunks(path: Path, size: int, number: int) -> Iterator[EventChunk]:
    """Yield the first rows of a file in chunks."""
    keys = RowKeys(path.name.encode())
    with path.open(newline="") as file:
        parsed = (
            parse_event(dict(zip(COLUMNS, cells, strict=True)))
            for cells in itertools.islice(csv.reader(file), number)
        )
        events = (
            PastEvent(fields, *keys.keyed(fields, ordinal)) for ordinal, fields in enumerate(parsed)
        )
        while len(chunk := EventChunk(itertools.islice(events, size), "bench")):
            yield chunk


def measure(what: str, path: Path, postgres: int, number: int, size: int = CHUNK) -> float:
    """Import rows of a file, and print what that took.

    Args:
        what: is printed before the figures.
        path: the file.
        postgres: the process id of PostgreSQL.
        number: of rows.
        size: of a chunk, and so of a transaction.

    Returns:
        The events a second.
    """
    outcomes: Counter[str] = Counter()
    longest = 0.0
    pieces = chunks(path, size, number)
    server, own, began = processor_seconds(postgres), time.process_time(), time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, pieces, None)
        while chunk := following.result():
            following = thread.submit(next, pieces, None)
            transaction_began = time.monotonic()
            with transaction.atomic():
                found = import_events(chunk)
            longest = max(longest, time.monotonic() - transaction_began)
            outcomes.update(map(_name, found))
    seconds = time.monotonic() - began
    own, server = time.process_time() - own, processor_seconds(postgres) - server
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{what:28}{number / seconds:8,.0f} a second,{own / number * 1e6:6.1f} µs of Python,"
        f"{server / number * 1e6:6.1f} of PostgreSQL,{longest * 1000:6.0f} ms at most,"
        f"{megabytes:4} MB",
        flush=True,
    )
    print(", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items()), flush=True)
    return number / seconds


def _name(outcome: object) -> str:
    if isinstance(outcome, Imported):
        return "imported" if outcome.added else "there already"
    return type(outcome).__name__


def main() -> None:
    """Fill a store, import into it, and verify it."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.imports", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--even", action="store_true", help="all keys are as frequent")
    chosen = parser.parse_args()
    # As in the process that runs jobs.
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    folder = Path(FOLDER.name)
    first, second = folder / "first.csv", folder / "second.csv"
    write_file(first, chosen.events, chosen.even)
    write_file(second, SMALL_EVENTS, chosen.even, seed=2)
    postgres = EmbeddedPostgres(folder)
    postgres.lock("a bench")
    postgres.start()
    try:
        assert postgres.process
        pid = postgres.process.pid
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(SEED_CONTACTS.format(contacts=CONTACTS))
            cursor.execute("VACUUM ANALYZE")
        speed = measure("into an empty store", first, pid, chosen.events)
        measure("the same again", first, pid, chosen.events)
        measure("1,000 in a transaction", second, pid, SMALL_EVENTS, SMALL_CHUNK)
        began = time.monotonic()
        faults = [*find_differences(), *(fault for fault in find_orphans() if fault.number)]
        print(f"verified in {time.monotonic() - began:.1f} s, {len(faults)} faults")
    finally:
        connection.close()
        postgres.stop()
    if faults or (chosen.events >= 1_000_000 and speed < LEAST_PER_SECOND):
        sys.exit(f"There are faults, or less than {LEAST_PER_SECOND:,} events a second.")


if __name__ == "__main__":
    main()
