"""`make bench`: what calls cost, and how much of PostgreSQL's own speed is left over HTTP.

Then how long filters and pages take on a large store. `--before CHECKOUT` measures another checkout
in turns with this one, and `--rows` some kinds of calls only. The ratios are what counts: machines
differ, and are busy.
"""

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django

django.setup()

from events.tracking.statements import TRACK_BY  # noqa: E402
from tests.system.server import ROOT  # noqa: E402
from tools.bench import large  # noqa: E402
from tools.bench.batches import SIZE, direct  # noqa: E402
from tools.bench.calls import CONTACTS, ROWS, SECONDS, Cost, Target, median, pgbench  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
# The threads that send batches at once: as many connections to PostgreSQL.
BATCHERS = 8
LEAST_OF_PGBENCH, LEAST_OF_BATCHES = 0.15, 0.5
# The parameters of the statement, as pgbench makes them.
PARAMETERS = {
    "contact": "'contact' || :contact || '@example.com'",
    "event_key": "'key_' || :key",
    "title": "'Order placed'",
    "value": "'42'",
    "provider": "'bench'",
    "repeatable": "true",
    "created_by": "1",
    "properties": "'{}'",
    "context": "'{}'",
    "occurred_at": "now()",
    "now": "now()",
}


def track_statement(**parameters: str) -> str:
    """Return the tracking statement for pgbench, with parameters in place of PARAMETERS."""
    chosen = {**PARAMETERS, **parameters}
    return TRACK_BY["email"] % {name: f"({sql})" for name, sql in chosen.items()}


def main() -> None:
    """Run the rounds and print figures, ratios and machine."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.run", description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--rows", nargs="+", default=[], help="names in calls.lua")
    chosen = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("make bench needs wrk: apt-get install wrk")
    missed = measure_calls(chosen.before, chosen.rows)
    print(f"medians of {ROUNDS} rounds of {SECONDS} s; {os.cpu_count()} cores, {cpu()}")
    print(f"Python {platform.python_version()}, Django {django.get_version()}")
    if not chosen.rows:
        missed += large.measure(before=chosen.before)
    if missed:
        sys.exit("; ".join(missed))


def measure_calls(before: Path | None, names: list[str]) -> list[str]:
    """Print a line for each kind of call. Returns what was slower than it may be."""
    roots = [before.resolve(), ROOT] if before else [ROOT]
    rows = [row for row in ROWS if not names or row.name in names]
    costs: dict[tuple[int, int], list[Cost]] = {}
    ratios, batch_ratios, alone = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        targets: list[Target] = []
        try:
            for number, root in enumerate(roots):
                targets.append(Target(root, Path(folder) / str(number)))
            for _ in range(ROUNDS):
                socket_dir = targets[-1].socket_dir
                alone.append(pgbench(socket_dir, "tallybook", track_statement(), CONTACTS)[0])
                for index, row in enumerate(rows):
                    for number, target in enumerate(targets):
                        cost = target.measure(row)
                        costs.setdefault((index, number), []).append(cost)
                    if row.name == "track" and row.clients > 1:
                        ratios.append(cost.rate / alone[-1])
                    if row.name == "track_batch":
                        best = direct(socket_dir, "tallybook", BATCHERS, SECONDS)
                        batch_ratios.append(cost.rate * SIZE / best)
        finally:
            for target in targets:
                target.server.stop()
    print(f"pgbench, the tracking statement, 8 clients: {statistics.median(alone):.0f} a second")
    print(
        f"{'call':42}{'clients':>8}" + f"{'a second':>10}{'ms server+PostgreSQL':>22}" * len(roots)
    )
    for index, row in enumerate(rows):
        line = f"{row.what:42}{row.clients:8}"
        found = [median(costs[index, number]) for number in range(len(roots))]
        for cost in found:
            parts = f"{cost.server_ms:.2f} + {cost.postgres_ms:.2f}"
            line += f"{cost.rate:10.0f}{parts:>22}"
        if before:
            line += f"   {found[1].rate / found[0].rate:.2f}x, {found[0].ms / found[1].ms:.2f}x"
        print(line)
    missed = []
    for what, found_ratios, least in (
        ("track-event over HTTP, of pgbench", ratios, LEAST_OF_PGBENCH),
        ("track-events over HTTP, of its statement alone", batch_ratios, LEAST_OF_BATCHES),
    ):
        if found_ratios:
            # Of the rounds' own ratios: what a round shares its minute with, its figures share.
            ratio = statistics.median(found_ratios)
            print(f"{what}: {ratio:.3f}")
            missed += [f"{what}: below {least}"] if ratio < least else []
    return missed


def cpu() -> str:
    """Return the processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
