"""An import whose processes are killed is finished after restarts, and counts exactly."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.server.postgres import USER, socket_dir
from tests.long import long
from tests.system.processes import is_alive, named, postmaster
from tests.system.server import ROOT, Server, wait_until

# Of a file of events, whose rows do not fail.
CONTACTS = 2_000
STATE = "SELECT state, done, total, counts, position, folder FROM crm_job ORDER BY id DESC LIMIT 1"
Kill = Callable[[Server, int], None]
Table = Callable[[int], Path]


@pytest.fixture
def killed(first_server: Server, tmp_path: Path) -> Iterator[Server]:
    """A server of its own, whose processes are killed."""
    server = first_server.copy(tmp_path, TALLYBOOK_WORKERS="1").start()
    yield server
    server.ensure_stopped()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Write a file of so many contacts: one of ten has no valid e-mail, one of ten is twice."""

    def write(rows: int) -> Path:
        path = tmp_path / "contacts.csv"
        with path.open("w") as file:
            file.write("email,first_name,tags\n")
            for number in range(rows):
                kind = number % 10
                email = "nobody" if kind == 0 else f"c{number - (kind == 1)}@example.com"
                email = f"c{number + 1}@example.com" if kind == 1 else email
                file.write(f"{email},Name {number},VIP\n")
        return path

    return write


def job(server: Server) -> tuple[Any, ...]:
    """Return the newest job, or nothing while PostgreSQL is away."""
    with suppress(psycopg.OperationalError), connect(server) as store:
        return store.execute(STATE).fetchone() or ()
    return ()


def connect(server: Server) -> psycopg.Connection:
    host = str(socket_dir(server.data_dir))
    return psycopg.connect(host=host, user=USER, dbname="tallybook", autocommit=True)


def start(server: Server, *command: str) -> subprocess.Popen[bytes]:
    """Start a command that imports a file."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=server.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_progress(server: Server, done: int) -> None:
    """Wait until the job has done more rows, or has ended."""
    wait_until(lambda: (found := job(server)) and (found[1] > done or found[0] == "done"), 60)


def kill_runner(server: Server, pid: int) -> None:
    """Kill the process that runs the job: the command, or that of `serve`."""
    assert server.process
    runners = [pid] if is_alive(pid) else named(server.process.pid, "tallybook-jobs")
    for runner in runners:
        with suppress(ProcessLookupError):
            os.kill(runner, signal.SIGKILL)


def kill_postgres(server: Server, _: int) -> None:
    with suppress(OSError, ProcessLookupError):
        os.kill(postmaster(server), signal.SIGKILL)


def kill_both(server: Server, pid: int) -> None:
    """Kill PostgreSQL and what runs the job at the same moment."""
    kill_postgres(server, pid)
    kill_runner(server, pid)


def kill_serve(server: Server, _: int) -> None:
    """Kill `serve`, and start it again."""
    server.stop(signal.SIGKILL)
    server.start()


def run_with_kills(server: Server, kills: list[Kill], rows: int, *arguments: str) -> dict[str, int]:
    """Import a file of so many rows while processes are killed. Returns the numbers of the job."""
    command = start(server, *arguments)
    # Before its first rows the job may be a draft, which a killed command leaves for good.
    done = 0
    for kill in kills:
        wait_for_progress(server, done)
        state = job(server)
        if state and state[0] == "done":
            break
        done = state[1] if state else done
        kill(server, command.pid)
    wait_until(lambda: (found := job(server)) and found[0] in ("done", "failed"), 120)
    command.wait()
    state, _, total, counts, _, _ = job(server)
    assert (state, total) == ("done", rows)
    numbers: dict[str, int] = counts
    return numbers


def check(server: Server, counts: dict[str, int], rows: int) -> None:
    """Check that each row was counted once, and that nothing is half."""
    rejected = twice = rows // 10
    assert sum(counts.values()) == rows
    assert counts["rejected"] == rejected
    assert counts["created"] == rows - rejected - twice
    with connect(server) as store:
        # Beside the contact of the first start.
        contacts = store.execute("SELECT count(*) - 1 FROM crm_subscriber").fetchone()
        tagged = store.execute("SELECT count(*) FROM crm_subscriber_tags").fetchone()
    assert contacts == tagged == (rows - rejected - twice,)
    folder = server.data_dir / "files" / job(server)[5] / "results"
    lines = (folder / "rejected.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + rejected
    assert len(set(lines)) == len(lines)


def test_an_import_whose_processes_are_killed_is_finished(killed: Server, table: Table) -> None:
    rows = 2_500
    counts = run_with_kills(killed, [kill_both], rows, "import_contacts", str(table(rows)))
    check(killed, counts, rows)


def random_kills(seed: int) -> list[Kill]:
    chance = random.Random(seed)
    return [chance.choice([kill_runner, kill_postgres, kill_serve]) for _ in range(20)]


@long
def test_an_import_is_finished_after_twenty_kills(killed: Server, table: Table) -> None:
    rows = 8_000
    counts = run_with_kills(killed, random_kills(16), rows, "import_contacts", str(table(rows)))
    check(killed, counts, rows)


@long
def test_fast_steps_are_finished_after_twenty_kills(killed: Server, tmp_path: Path) -> None:
    path, rows = tmp_path / "events.csv", 600_000
    with path.open("w") as file:
        file.write("email,event,value\n")
        file.writelines(f"c{n % CONTACTS}@example.com,k,{n}\n" for n in range(rows))
    arguments = ("import_events", str(path), "--fast", "--new-contacts", "pending")
    counts = run_with_kills(killed, random_kills(30), rows, *arguments)
    assert counts == {"imported": rows}
    with connect(killed) as store:
        found = store.execute("SELECT count(*), sum(counter)::int FROM events_trackedevent")
        assert found.fetchone() == (CONTACTS, rows)
        assert store.execute("SELECT count(*) FROM events_eventoccurrence").fetchone() == (rows,)
