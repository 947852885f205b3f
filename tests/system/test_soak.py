"""Half load with keys, abuse and random kills: every event counts once, and nothing grows.

SOAK_MINUTES is how long (5). `pytest -s --hypothesis-profile long tests/system/test_soak.py` prints
the figures.
"""

import http.client
import multiprocessing
import os
import random
import signal
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from config.server.work import THREADS
from tests.long import long
from tests.system.processes import (
    children,
    descendants,
    is_alive,
    postmaster,
    wait_for_applications,
    wait_for_workers,
    web_server,
)
from tests.system.server import ROOT, Server, wait_until
from tests.system.test_faults import connect
from tools.bench.abuse import ROWS, Row, Target, abuse

MINUTES = float(os.environ.get("SOAK_MINUTES", "5"))
CLIENTS, EVENTS_PER_SECOND = 8, 200
ABUSE_SECONDS = 15.0
# Between two kills. A stopped worker is replaced within ten seconds.
MIN_PAUSE, MAX_PAUSE = 5.0, 20.0
MIB = 1024 * 1024
# The default of TALLYBOOK_WORKER_MEMORY_MB, which is looked at every ten seconds.
MEMORY_LIMIT_MB = 512
MOST_DESCRIPTORS_AT_REST = 100


class Sender(threading.Thread):
    """Tracks events with keys at a steady rate, each until it is answered with 200."""

    def __init__(self, server: Server, number: int, event_key: str) -> None:
        super().__init__(daemon=True)
        self.server, self.number, self.event_key = server, number, event_key
        self.sent = self.attempts = 0
        self.stopped = threading.Event()
        self.statuses: Counter[int | str] = Counter()

    def run(self) -> None:
        client = self.server.client(timeout=10)
        while not self.stopped.wait(CLIENTS / EVENTS_PER_SECOND):
            self.sent += 1
            fields = {
                "event_key": self.event_key,
                "title": "t",
                "email": f"contact{self.number * 1000 + self.sent % 100 + 1}@example.com",
                "value": f"{self.number}-{self.sent}",
                "idempotency_key": f"{self.event_key} {self.number}-{self.sent}",
            }
            while True:
                self.attempts += 1
                status: int | str
                try:
                    status = client.track(**fields).status
                except (OSError, http.client.HTTPException) as error:
                    status = type(error).__name__
                self.statuses[status] += 1
                if status == 200:
                    break
                time.sleep(0.05)
        client.close()


def kill_worker(server: Server) -> None:
    os.kill(random.choice(wait_for_workers(server)), signal.SIGKILL)


def stop_worker(server: Server) -> None:
    stop_one(wait_for_workers(server))


def kill_application(server: Server) -> None:
    os.kill(random.choice(wait_for_applications(server)), signal.SIGKILL)


def stop_application(server: Server) -> None:
    stop_one(wait_for_applications(server))


def stop_one(pids: list[int]) -> None:
    """Stop one of the processes, and wait until `serve` has killed it."""
    pid = random.choice(pids)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not is_alive(pid), 15)


def kill_web_server(server: Server) -> None:
    os.kill(web_server(server), signal.SIGKILL)


def kill_postgres(server: Server) -> None:
    os.kill(postmaster(server), signal.SIGKILL)


def kill_serve(server: Server) -> None:
    server.stop(signal.SIGKILL)
    server.start()


KILLS: list[Callable[[Server], None]] = [
    kill_worker,
    stop_worker,
    kill_application,
    stop_application,
    kill_web_server,
    kill_postgres,
    kill_serve,
]


class Sample(NamedTuple):
    """What a moment's processes use."""

    # Of the largest process.
    megabytes: float
    descriptors: int
    # PostgreSQL's processes, connections included.
    backends: int
    log_bytes: int


def sample(server: Server) -> Sample | None:
    """Return what the server's processes use, or None while they are killed."""
    with suppress(OSError, IndexError, AssertionError, ValueError, AttributeError):
        workers = descendants(web_server(server))
        resident = [
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            for pid in workers
        ]
        descriptors = [len(os.listdir(f"/proc/{pid}/fd")) for pid in workers]
        logs = [path.stat().st_size for path in server.data_dir.glob("postgres.log*")]
        backends = len(children(postmaster(server)))
        return Sample(max(resident) / MIB, max(descriptors), backends, sum(logs))
    return None


@contextmanager
def misused(target: Target) -> Iterator[None]:
    """Misuse the server in each way in turn, in a process of its own."""
    ended = threading.Event()

    def take_turns() -> None:
        rows = list(ROWS.values())
        random.shuffle(rows)
        while not ended.is_set():
            for row in rows:
                misuse(row, target, ended)

    thread = threading.Thread(target=take_turns)
    thread.start()
    yield
    ended.set()
    thread.join()


def misuse(row: Row, target: Target, ended: threading.Event) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=abuse, args=(row, target, ABUSE_SECONDS, theirs), daemon=True
    )
    if not ended.is_set():
        process.start()
        process.join()
    ours.close()
    theirs.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """A running server with 100,000 contacts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        target = Target(ROOT, tmp_path / "soak")
    target.server.start()
    yield target
    target.server.stop()


# Of connections that are cut off in the middle, by kills.
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@long
def test_events_count_once_and_nothing_grows_under_kills_and_abuse(target: Target) -> None:
    server = target.server
    senders = [Sender(server, number, f"soak {uuid.uuid4()}") for number in range(CLIENTS)]
    for sender in senders:
        sender.start()
    samples: list[Sample] = []
    kills: Counter[str] = Counter()
    ends = time.monotonic() + MINUTES * 60
    with misused(target):
        while time.monotonic() < ends:
            pause_ends = time.monotonic() + random.uniform(MIN_PAUSE, MAX_PAUSE)
            while time.monotonic() < pause_ends:
                time.sleep(1)
                if (seen := sample(server)) is not None:
                    samples.append(seen)
            kill = random.choice(KILLS)
            kill(server)
            kills[kill.__name__] += 1
    for sender in senders:
        sender.stopped.set()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    report(server, senders, samples, kills)

    assert_counted_once(server, senders)
    server.manage("verify")
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    for figure in ("megabytes", "descriptors", "backends"):
        before, after = (max(getattr(s, figure) for s in part) for part in (first, second))
        assert after <= 1.5 * before, figure
    # Two workers' threads, the processes of PostgreSQL itself, commands, and the check below.
    assert max(s.backends for s in samples) <= 2 * 2 * THREADS + 20
    assert max(s.log_bytes for s in samples) < 21 * MIB
    # What was misused is free again, and a worker above its limit of memory has been replaced.
    wait_until(
        lambda: (
            (seen := sample(server))
            and seen.descriptors < MOST_DESCRIPTORS_AT_REST
            and seen.megabytes < MEMORY_LIMIT_MB
        ),
        60,
    )


def assert_counted_once(server: Server, senders: list[Sender]) -> None:
    """Check that each event has been counted and logged exactly once."""
    with connect(server) as store:
        for sender in senders:
            counted = store.execute(
                "SELECT sum(counter)::int FROM events_trackedevent WHERE event_key = %s",
                [sender.event_key],
            ).fetchone()
            logged = store.execute(
                "SELECT count(*), count(DISTINCT value) FROM events_eventoccurrence "
                "WHERE event_key = %s",
                [sender.event_key],
            ).fetchone()
            assert counted == (sender.sent,)
            assert logged == (sender.sent, sender.sent)


def report(
    server: Server, senders: list[Sender], samples: list[Sample], kills: "Counter[str]"
) -> None:
    """Print the figures."""
    statuses: Counter[Any] = sum((sender.statuses for sender in senders), Counter())
    half = len(samples) // 2
    with connect(server) as store:
        row = store.execute("SELECT pg_database_size('tallybook') / 1024 / 1024").fetchone()
    print(f"\n{MINUTES} minutes; kills {dict(kills)}")
    print(f"{sum(s.sent for s in senders)} events, answers {dict(statuses)}")
    for name, part in (("first half", samples[:half]), ("second half", samples[half:])):
        worst = [max(values) for values in zip(*part, strict=True)]
        print(f"{name}, at most: {Sample(*worst)}")
    print(f"database {row and row[0]} MB")
