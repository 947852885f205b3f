"""`python -m tools.bench.imports`: how fast `manage.py import_events` fills an empty store.

A million events of 50,000 contacts and 40 keys, with ids of their own and properties, from a CSV in
the order of time. `--fast` writes 20,000 in a transaction. Then the same file again, which changes
nothing, and another one in the small transactions beside which tracking goes on. The figures have
the whole command, with the start of Python. The processor time holds on a machine that others use
as well; the events a second do not.
"""

import argparse
import csv
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = tempfile.TemporaryDirectory()
os.environ["TALLYBOOK_DATA_DIR"] = FOLDER.name
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ.pop("DATABASE_URL", None)
import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from config.server.postgres import EmbeddedPostgres  # noqa: E402
from events.verification import find_differences, find_orphans  # noqa: E402
from tools.bench.calls import SEED_CONTACTS, processor_seconds  # noqa: E402

CONTACTS, KEYS = 50_000, 40
SMALL_EVENTS = 100_000
START = datetime(2024, 1, 1, tzinfo=UTC)
# Of the processor, for an event of the first import. Unlike the rate it holds on a busy machine.
MOST_MICROSECONDS = 110


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
            "messageId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
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
        found = rows(number, is_even, seed)
        first = next(found)
        writer = csv.DictWriter(file, [*first])
        writer.writeheader()
        writer.writerows([first])
        writer.writerows(found)


def measure(what: str, path: Path, postgres: int, number: int, *options: str) -> float:
    """Import a file by the command, and print what that took.

    Args:
        what: is printed before the figures.
        path: the file.
        postgres: the process id of PostgreSQL.
        number: of rows.
        options: of the command.

    Returns:
        The microseconds of the processor that an event takes, of both.
    """
    server, began = processor_seconds(postgres), time.monotonic()
    command = subprocess.Popen(
        [sys.executable, "manage.py", "import_events", str(path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert command.stdout
    [*_, counts] = command.stdout.read().splitlines()
    _, status, usage = os.wait4(command.pid, 0)
    seconds = time.monotonic() - began
    if status:
        sys.exit("The import failed.")
    own, server = usage.ru_utime + usage.ru_stime, processor_seconds(postgres) - server
    print(
        f"{what:28}{number / seconds:8,.0f} a second,{own / number * 1e6:6.1f} µs of Python,"
        f"{server / number * 1e6:6.1f} of PostgreSQL,{usage.ru_maxrss // 1024:4} MB, {counts}",
        flush=True,
    )
    return (own + server) / number * 1e6


def main() -> None:
    """Fill a store, import into it, and verify it."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.imports", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--even", action="store_true", help="all keys are as frequent")
    chosen = parser.parse_args()
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
        microseconds = measure("into an empty store", first, pid, chosen.events, "--fast")
        measure("the same again", first, pid, chosen.events, "--fast")
        measure("1,000 in a transaction", second, pid, SMALL_EVENTS)
        began = time.monotonic()
        faults = [*find_differences(), *(fault for fault in find_orphans() if fault.number)]
        print(f"verified in {time.monotonic() - began:.1f} s, {len(faults)} faults")
    finally:
        connection.close()
        postgres.stop()
    if faults or microseconds > MOST_MICROSECONDS:
        sys.exit(f"There are faults, or an event takes more than {MOST_MICROSECONDS} µs.")


if __name__ == "__main__":
    main()
