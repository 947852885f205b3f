"""`make bench`: how much of PostgreSQL's own speed is left over HTTP; how long filters, pages take.

Three rounds that alternate between pgbench running the tracking statement, the calls over HTTP,
and the batch statement run directly, all on one database with 20,000 contacts and 10 events each.
The ratios are what counts: machines differ, and are busy.
"""

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django

django.setup()

from config.server.postgres import USER, EmbeddedPostgres, binaries  # noqa: E402
from events.tracking.statements import TRACK_BY  # noqa: E402
from tests.system.server import Server  # noqa: E402
from tools.bench import large  # noqa: E402
from tools.bench.batches import SIZE, direct  # noqa: E402

SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
ROUNDS = 3
# What each figure is, in events or pages a second, what it is compared with, and the least ratio.
FIGURES = {
    "a": ("pgbench, the tracking statement", None, None),
    "b": ("HTTP track-event", "a", 0.15),
    "c": ("HTTP tracking-events page", "a", None),
    "d": ("HTTP track-event with an Idempotency-Key", "b", None),
    "e": ("HTTP track-event with properties and context", "b", None),
    "f": ("the batch statement with psycopg, 500 a batch", None, None),
    "g": ("HTTP track-events, 500 a batch", "f", 0.5),
}
# The threads of two workers: as many connections to PostgreSQL.
BATCHERS = 8
FOLDER = Path(__file__).parent
CONTACTS = 20_000
SEED = f"""
INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, life_time_value,
                            custom_values, created_at, updated_at)
SELECT email, email, 'subscribed', 'lead', 0, 0, '{{}}', now(), now()
FROM (SELECT n, 'contact' || n || '@example.com' AS email
      FROM generate_series(1, {CONTACTS}) n) row ORDER BY n;
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_by_id, created_at, updated_at)
SELECT s.id, 'key_' || k, 'Order placed', '1', 'bench', 1, 1, true, 1, now(), now()
FROM crm_subscriber s, generate_series(1, 10) k WHERE s.email LIKE 'contact%';
VACUUM ANALYZE;
"""
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


def pgbench(socket_dir: Path, database: str) -> float:
    """The tracking statement alone, in statements a second."""
    statement = re.sub(r"--.*", "", TRACK_BY["email"]) % {
        name: f"({sql})" for name, sql in PARAMETERS.items()
    }
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("\\set contact random(1, 20000)\n\\set key random(1, 10)\n")
        script.write(" ".join(statement.split()) + ";\n")
        script.flush()
        said = run(
            [
                *(str(binaries() / "pgbench"), "-n", "-M", "prepared", "-c", "8", "-j", "1"),
                *("-T", str(SECONDS), "-f", script.name),
                *("-h", str(socket_dir), "-U", USER, database),
            ]
        )
    return figure(r"tps = ([\d.]+)", said)


def wrk(server: Server, script: str, clients: int = 32, **environment: str) -> float:
    """Requests a second; a request that fails is an error."""
    said = run(
        [
            *("wrk", "-t", "1", "-c", str(clients), "-d", f"{SECONDS}s"),
            *("-s", str(FOLDER / script), f"http://127.0.0.1:{server.port}"),
        ],
        AUTH=server.auth or "",
        **environment,
    )
    if any(word in said for word in ("Non-2xx", "Socket errors", "refused")):
        raise SystemExit(said)
    return figure(r"Requests/sec:\s+([\d.]+)", said)


def figure(pattern: str, said: str) -> float:
    """The number that a program printed."""
    found = re.search(pattern, said)
    assert found, said
    return float(found[1])


def run(command: list[str], **environment: str) -> str:
    """Return what a command prints. End the program if the command fails."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def main() -> None:
    """Run the rounds and print figures, ratios and machine."""
    if not shutil.which("wrk"):
        raise SystemExit("make bench needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        postgres = EmbeddedPostgres(folder / "data")
        server = Server(folder)
        server.start()
        try:
            database = "tallybook"
            with psycopg.connect(
                host=str(postgres.socket_dir), user=USER, dbname=database, autocommit=True
            ) as connection:
                for statement in SEED.split(";"):
                    if statement.strip():
                        connection.execute(statement)
                row = connection.execute(
                    "SELECT min(id) FROM crm_subscriber WHERE email LIKE 'contact%'"
                ).fetchone()
            assert row
            first_id = str(row[0])
            rounds = []
            for number in range(1, ROUNDS + 1):
                socket_dir = postgres.socket_dir
                figures = {
                    "a": pgbench(socket_dir, database),
                    "b": wrk(server, "track.lua"),
                    "c": wrk(server, "timeline.lua", FIRST_ID=first_id),
                    "d": wrk(server, "track.lua", WITH="key"),
                    "e": wrk(server, "track.lua", WITH="properties"),
                    "f": direct(socket_dir, database, BATCHERS, SECONDS),
                    "g": wrk(server, "batch.lua", clients=BATCHERS) * SIZE,
                }
                rounds.append(figures)
                shown = ", ".join(f"{name} {found:.0f}" for name, found in figures.items())
                print(f"round {number}: {shown}", flush=True)
        finally:
            server.stop()
    missed = []
    for name, (what, base, least) in FIGURES.items():
        median = statistics.median(figures[name] for figures in rounds)
        line = f"{name}  {what + ':':50}{median:7.0f} a second"
        if base:
            # Of the rounds' own ratios: what a round shares its minute with, its figures share.
            ratio = statistics.median(figures[name] / figures[base] for figures in rounds)
            line += f", {name}/{base} = {ratio:.3f}"
            if least and ratio < least:
                missed.append(f"{name}/{base} is below {least}")
        print(line)
    print(f"medians of {ROUNDS} rounds of {SECONDS} s; {os.cpu_count()} cores, {cpu()}")
    print(f"Python {platform.python_version()}, Django {django.get_version()}")
    missed += large.measure()
    if missed:
        sys.exit("; ".join(missed))


def cpu() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
