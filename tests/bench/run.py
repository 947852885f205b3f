"""`make bench`: how much of PostgreSQL's own speed is left over HTTP.

Three rounds that alternate between (a) pgbench running the tracking statement, (b) track-event
over HTTP and (c) pages of tracking-events over HTTP, all on one database with 20,000 contacts and
10 events each. The ratios are what counts: machines differ, and are busy.
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

from config.postgres import USER, EmbeddedPostgres, binaries  # noqa: E402
from events.statements import TRACK_BY  # noqa: E402
from tests.server import Server  # noqa: E402

SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
ROUNDS = 3
FOLDER = Path(__file__).parent
CONTACTS = 20_000
SEED = f"""
INSERT INTO crm_subscriber (email, status, contact_type, total_points, life_time_value,
                            custom_values, created_at, updated_at)
SELECT 'contact' || n || '@example.com', 'subscribed', 'lead', 0, 0, '{{}}', now(), now()
FROM generate_series(1, {CONTACTS}) n ORDER BY n;
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_by_id, created_at, updated_at)
SELECT s.id, 'key_' || k, 'Order placed', '1', 'bench', 1, 1, true, 1, now(), now()
FROM crm_subscriber s, generate_series(1, 10) k WHERE s.email LIKE 'contact%';
VACUUM ANALYZE;
"""
# The parameters of the statement, as pgbench makes them.
PARAMETERS = {
    "who": "'contact' || :contact || '@example.com'",
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
    """(a): the statement alone, in statements a second."""
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


def wrk(server: Server, script: str, **environment: str) -> float:
    """(b) and (c): requests a second; a request that fails is an error."""
    said = run(
        [
            *("wrk", "-t", "1", "-c", "32", "-d", f"{SECONDS}s"),
            *("-s", str(FOLDER / script), f"http://127.0.0.1:{server.port}"),
        ],
        AUTH=server.auth or "",
        **environment,
    )
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(said)
    return figure(r"Requests/sec:\s+([\d.]+)", said)


def figure(pattern: str, said: str) -> float:
    """The number that a program printed."""
    found = re.search(pattern, said)
    assert found, said
    return float(found[1])


def run(command: list[str], **environment: str) -> str:
    """What a command says. Ends the program if it fails."""
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
                figures = (
                    pgbench(postgres.socket_dir, database),
                    wrk(server, "track.lua"),
                    wrk(server, "timeline.lua", FIRST_ID=first_id),
                )
                rounds.append(figures)
                print(f"round {number}: a {figures[0]:.0f}, b {figures[1]:.0f}, c {figures[2]:.0f}")
        finally:
            server.stop()
    a, b, c = (statistics.median(column) for column in zip(*rounds, strict=True))
    # Of the rounds' own ratios: what a round shares its minute with, its three figures share.
    b_to_a, c_to_a = (
        statistics.median(figures[index] / figures[0] for figures in rounds) for index in (1, 2)
    )
    print(f"a  pgbench, the tracking statement:  {a:7.0f} a second")
    print(f"b  HTTP track-event:                 {b:7.0f} a second, b/a = {b_to_a:.3f}")
    print(f"c  HTTP tracking-events page:        {c:7.0f} a second, c/a = {c_to_a:.3f}")
    print(f"medians of {ROUNDS} rounds of {SECONDS} s; {os.cpu_count()} cores, {cpu()}")
    print(f"Python {platform.python_version()}, Django {django.get_version()}")
    if b_to_a < 0.15:
        sys.exit("b/a is below 0.15")


def cpu() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
