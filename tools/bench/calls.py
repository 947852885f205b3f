"""How many calls of each kind a second are answered, and how much processor time each costs.

All on a store of 20,000 contacts with 10 events, 3 tags and a list each. Two checkouts are measured
in turns on stores of their own. The processor time, which is read from /proc, holds on a machine
that others use as well; the calls a second do not.
"""

import os
import re
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg

from config.server.postgres import USER, EmbeddedPostgres, binaries
from tests.system.processes import descendants, postmaster, web_server
from tests.system.server import Server

FOLDER = Path(__file__).parent
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
TICKS = os.sysconf("SC_CLK_TCK")
CONTACTS = 20_000
# The contacts contact1@example.com and so on, and ten events of each.
SEED_CONTACTS = """
INSERT INTO crm_subscriber (email, email_key, first_name, status, contact_type, total_points,
                            life_time_value, custom_values, created_at, updated_at)
SELECT email, email, 'Ada', 'subscribed', 'lead', 0, 0, '{{}}', now(), now()
FROM (SELECT n, 'contact' || n || '@example.com' AS email
      FROM generate_series(1, {contacts}) n) row ORDER BY n;
"""
SEED_EVENTS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_by_id, created_at, updated_at)
SELECT s.id, 'key_' || k, 'Order placed', '1', 'bench', 1, 1, true, 1, now(), now()
FROM crm_subscriber s, generate_series(1, 10) k WHERE s.email LIKE 'contact%';
"""
SEED = f"""
{SEED_CONTACTS.format(contacts=CONTACTS)}
INSERT INTO crm_tag (title, slug, description, created_at, updated_at)
SELECT 'tag ' || n, 'tag-' || n, '', now(), now() FROM generate_series(1, 30) n;
INSERT INTO crm_list (title, slug, description, is_public, created_at, updated_at)
SELECT 'list ' || n, 'list-' || n, '', false, now(), now() FROM generate_series(1, 5) n;
INSERT INTO crm_subscriber_tags (subscriber_id, tag_id)
SELECT s.id, t.id FROM crm_subscriber s JOIN crm_tag t ON t.id % 10 = s.id % 10;
INSERT INTO crm_subscriber_lists (subscriber_id, list_id)
SELECT s.id, l.id FROM crm_subscriber s JOIN crm_list l ON l.id % 5 = s.id % 5;
{SEED_EVENTS}
VACUUM ANALYZE
"""

LOCK = """
SELECT FROM crm_subscriber s JOIN events_trackedevent e ON e.subscriber_id = s.id
WHERE s.email = 'contact1@example.com' FOR UPDATE
"""


class Row(NamedTuple):
    """A kind of call: its name in calls.lua, what it is, and how many clients send it for how long.

    Not so many that the calls that a row leaves behind and those of the next one are refused.
    """

    name: str
    what: str
    clients: int = 16
    least_seconds: int = 0


ROWS = (
    Row("track", "track-event", 32),
    Row("track", "track-event", 1),
    Row("track_key", "track-event with an Idempotency-Key", 32),
    Row("track_properties", "track-event with properties and context", 32),
    Row("track_hot", "track-event, all for one contact", 32),
    Row("track_locked", "track-event, one of 50 for a locked contact", 32),
    Row("track_batch", "track-events, 500 events", 8),
    Row("tracking_events", "a page of tracking-events"),
    Row("timeline", "a page of the timeline"),
    Row("contact", "a contact with tags and lists"),
    Row("contact_by_email", "a contact by e-mail, with tags and lists"),
    Row("contacts", "a page of 15 contacts"),
    Row("tags", "tags with their counts"),
    Row("create_contact", "create a contact with a tag"),
    Row("update_contact", "update a contact"),
    Row("sync_labels", "attach and detach a tag"),
    Row("bulk", "create or update 1,000 contacts", 1, 20),
)


class Cost(NamedTuple):
    """What a call costs: calls a second, and the processor time of a call in milliseconds."""

    rate: float
    server_ms: float
    postgres_ms: float

    @property
    def ms(self) -> float:
        """The processor time of the server and of PostgreSQL."""
        return self.server_ms + self.postgres_ms


class Target:
    """A checkout's server on a store of its own."""

    def __init__(self, root: Path, folder: Path) -> None:
        """Start the server and fill its store."""
        folder.mkdir()
        self.server = Server(folder, root=root, TALLYBOOK_WORKERS="2").start()
        self.socket_dir = EmbeddedPostgres(self.server.data_dir).socket_dir
        with self.connect() as store:
            for statement in SEED.split(";"):
                store.execute(statement)
            row = store.execute(
                "SELECT min(id) FROM crm_subscriber WHERE email LIKE 'contact%'"
            ).fetchone()
        assert row
        self.first_id = str(row[0])

    def connect(self) -> psycopg.Connection:
        """Connect to the store."""
        return psycopg.connect(
            host=str(self.socket_dir), user=USER, dbname="tallybook", autocommit=True
        )

    def measure(self, row: Row) -> Cost:
        """Send calls of a kind for SECONDS, or for the least of the row."""
        assert self.server.process
        database, web = postmaster(self.server), web_server(self.server)
        before = processor_seconds(web), processor_seconds(database)
        seconds = max(SECONDS, row.least_seconds)
        with self.locked_contact() if row.name == "track_locked" else nullcontext():
            said = wrk(self.server, row.name, row.clients, seconds, FIRST_ID=self.first_id)
        after = processor_seconds(web), processor_seconds(database)
        calls = int(figure(r"(\d+) requests in", said))
        return Cost(
            figure(r"Requests/sec:\s+([\d.]+)", said),
            (after[0] - before[0]) / calls * 1000,
            (after[1] - before[1]) / calls * 1000,
        )

    @contextmanager
    def locked_contact(self) -> Iterator[None]:
        """Lock the first contact and its events for 2 s again and again."""
        is_over = threading.Event()

        def lock() -> None:
            with psycopg.connect(host=str(self.socket_dir), user=USER, dbname="tallybook") as store:
                while not is_over.is_set():
                    store.execute(LOCK)
                    is_over.wait(2)
                    store.rollback()

        thread = threading.Thread(target=lock)
        thread.start()
        yield
        is_over.set()
        thread.join()


def pgbench(
    socket_dir: Path, database: str, statement: str, contacts: int, seconds: int = SECONDS
) -> tuple[float, int]:
    """Run a statement by pgbench, which chooses :contact, from 1 to `contacts`, and :key.

    Returns:
        The statements a second, and their number.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set contact random(1, {contacts})\n\\set key random(1, 10)\n")
        script.write(" ".join(re.sub(r"--.*", "", statement).split()) + ";\n")
        script.flush()
        said = run(
            [
                *(str(binaries() / "pgbench"), "-n", "-M", "prepared", "-c", "8", "-j", "1"),
                *("-T", str(seconds), "-f", script.name),
                *("-h", str(socket_dir), "-U", USER, database),
            ]
        )
    number = figure(r"transactions actually processed: (\d+)", said)
    return figure(r"tps = ([\d.]+)", said), int(number)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its descendants, also of those that ended."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def wrk(server: Server, row: str, clients: int, seconds: int = SECONDS, **environment: str) -> str:
    """Return what wrk prints of calls of a kind. A call that fails ends the program."""
    said = run(
        [
            *("wrk", "-t", "1", "-c", str(clients), "-d", f"{seconds}s", "--timeout", "30s"),
            *("-s", str(FOLDER / "calls.lua"), f"http://127.0.0.1:{server.port}"),
        ],
        ROW=row,
        AUTH=server.auth or "",
        **environment,
    )
    # Of a locked contact the calls are 503.
    fatal = ["Socket errors", "refused"] + (["Non-2xx"] if row != "track_locked" else [])
    if any(word in said for word in fatal):
        raise SystemExit(said)
    return said


def figure(pattern: str, said: str) -> float:
    """Return the number that a program printed."""
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


def median(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))
