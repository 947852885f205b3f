"""Kill workers, PostgreSQL and serve under load: every event that was answered 2xx is stored."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple, Self

import psycopg
import pytest

from config.server.machine import machine_cores
from config.server.postgres import USER, socket_dir
from config.server.processes import WORKER_NAME
from tests.databases import set_fsync
from tests.long import long
from tests.system.processes import (
    children,
    command_line,
    descendants,
    is_alive,
    named,
    postmaster,
    wait_for_workers,
    web_server,
)
from tests.system.server import ROOT, Client, Server, wait_until

CLIENTS = 8
CONTACTS = 4


@pytest.fixture(scope="module")
def server_with_postgres(
    first_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with an embedded PostgreSQL, for this file only. It is not started."""
    server = first_server.copy(tmp_path_factory.mktemp("faults"))
    yield server
    server.ensure_stopped()


@pytest.fixture
def running(server_with_postgres: Server) -> Server:
    """The server of this file, running and with contacts, also after a test that ended it."""
    server = server_with_postgres
    if server.has_ended():
        is_first_start = server.process is None
        server.start()
        if is_first_start:
            create_contacts(server)
    return server


@pytest.fixture
def no_disk_waits(running: Server) -> Iterator[None]:
    """Let the server's PostgreSQL not wait for the disk.

    A commit that waits for a busy disk keeps its locks, and requests that wait for them for two
    seconds get 503.
    """
    host = socket_dir(running.data_dir)
    set_fsync(host, "off")
    yield
    if running.has_ended():
        running.start()
    set_fsync(host, "on")


def create_contacts(server: Server) -> None:
    """Create the contacts of which Load posts events."""
    client = server.client()
    for number in range(CONTACTS):
        client.contact(f"c{number}@example.com")
    client.close()


def connect(server: Server, database: str = "tallybook") -> psycopg.Connection:
    """Connect to the server's embedded PostgreSQL."""
    host = str(socket_dir(server.data_dir))
    return psycopg.connect(host=host, user=USER, dbname=database, autocommit=True)


def postgres_log(server: Server) -> str:
    """Return PostgreSQL's log without trailing whitespace."""
    return (server.data_dir / "postgres.log").read_text().rstrip()


class Load:
    """Clients that post events, retry failed requests, and record the events answered 2xx.

    Args:
        server: receives the events.
        each: the number of events that each client posts, with idempotency keys. None lets the
            clients post events without keys until they are stopped.
    """

    def __init__(self, server: Server, each: int | None = None) -> None:
        self.server = server
        self.each = each
        self.event_key = f"load {uuid.uuid4()}"
        self.acknowledged: list[str] = []
        self.attempts = 0
        self.statuses: set[int] = set()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=[n]) for n in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.each is None:
            self.stopped.set()
        for thread in self.threads:
            thread.join()

    def _post(self, number: int) -> None:
        client = self.server.client(timeout=10)
        sent = 0
        while not self.stopped.is_set() and sent != self.each:
            sent += 1
            value = f"{number}-{sent}"
            fields = {
                "event_key": self.event_key,
                "title": "t",
                "email": f"c{sent % CONTACTS}@example.com",
                "value": value,
            }
            if self.each is not None:
                fields["idempotency_key"] = f"{self.event_key} {value}"
            while not (self.stopped.is_set() or self._is_acknowledged(client, fields)):
                time.sleep(0.02)
        client.close()

    def _is_acknowledged(self, client: Client, fields: dict[str, str]) -> bool:
        self.attempts += 1
        try:
            answer = client.track(**fields)
        except (OSError, http.client.HTTPException):
            return False
        self.statuses.add(answer.status)
        if answer.status != 200:
            assert answer.headers["Retry-After"] == "1"
            return False
        self.acknowledged.append(fields["value"])
        return True

    def wait_for_total(self, total: int, seconds: float = 30) -> None:
        """Wait until this number of events is acknowledged."""
        wait_until(lambda: len(self.acknowledged) >= total, seconds)

    def wait_for_more(self, seconds: float = 15) -> None:
        """Wait until 50 more events are acknowledged, so the server works."""
        self.wait_for_total(len(self.acknowledged) + 50, seconds)


class Stored(NamedTuple):
    """The counters and occurrences that a load left in the database."""

    counters: int
    events: int
    occurrences: int
    values: set[str]


def stored(server: Server, load: Load) -> Stored:
    """Read the events and occurrences of a load."""
    with connect(server) as connection:
        row = connection.execute(
            "SELECT sum(counter)::int, count(*) FROM events_trackedevent WHERE event_key = %s",
            [load.event_key],
        ).fetchone()
        values = connection.execute(
            "SELECT value FROM events_eventoccurrence WHERE event_key = %s", [load.event_key]
        ).fetchall()
    assert row
    counters, events = row
    return Stored(counters, events, len(values), {value for (value,) in values})


def assert_acknowledged_events_are_stored(server: Server, load: Load) -> None:
    """Check that acknowledged events are stored, counters are right, and no event is invented."""
    counters, _, occurrences, values = stored(server, load)
    assert not set(load.acknowledged) - values
    assert counters == occurrences
    assert len(load.acknowledged) <= counters <= load.attempts


def test_the_database_that_is_killed_here_waits_for_the_disk(running: Server) -> None:
    with connect(running) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)


@pytest.mark.usefixtures("no_disk_waits")
@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=long)])
def test_killed_workers_and_a_killed_web_server_lose_no_acknowledged_event(
    running: Server, kills: int
) -> None:
    with Load(running) as load:
        load.wait_for_more()
        for _ in range(kills):
            # All at once: the web server ends after that, and serve starts it again.
            for worker in wait_for_workers(running):
                os.kill(worker, signal.SIGKILL)
            load.wait_for_more()
        killed = web_server(running)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not is_alive(killed))
        load.wait_for_more()
    assert load.statuses == {200}, running.output()
    assert_acknowledged_events_are_stored(running, load)


@pytest.mark.parametrize(("posts", "kills"), [(1000, 4), pytest.param(5000, 13, marks=long)])
def test_retried_posts_with_keys_count_once_although_processes_are_killed(
    running: Server, posts: int, kills: int
) -> None:
    """Kill a worker three times, and then PostgreSQL, and so on, evenly over the posts."""
    each = posts // CLIENTS
    began = time.monotonic()
    with Load(running, each) as load:
        for kill in range(kills):
            load.wait_for_total((kill + 1) * posts // (kills + 1))
            if kill % 4 == 3:
                os.kill(postmaster(running), signal.SIGKILL)
            else:
                workers = wait_for_workers(running)
                os.kill(workers[kill % len(workers)], signal.SIGKILL)
    assert time.monotonic() - began < 60
    assert load.attempts > len(load.acknowledged) == posts
    assert load.statuses <= {200, 503}
    counters, events, occurrences, values = stored(running, load)
    assert (counters, events, occurrences, len(values)) == (posts, CONTACTS, posts, posts)


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=long)])
def test_a_killed_postgresql_is_started_again_with_every_acknowledged_event(
    running: Server, kills: int
) -> None:
    with Load(running) as load:
        for _ in range(kills):
            load.wait_for_more()
            os.kill(postmaster(running), signal.SIGKILL)
            load.wait_for_more(30)
    assert load.statuses <= {200, 503}
    assert_acknowledged_events_are_stored(running, load)


def test_kill_9_of_serve_leaves_no_process_and_shuts_postgresql_down(running: Server) -> None:
    with Load(running) as load:
        load.wait_for_more()
        assert running.process
        started = descendants(running.process.pid)
        assert len(started) >= 3
        running.process.kill()
        running.process.wait()
        load.stopped.set()
        wait_until(lambda: not any(map(is_alive, started)), 15)
    assert postgres_log(running).endswith("database system is shut down")
    running.start()
    assert_acknowledged_events_are_stored(running, load)


@pytest.mark.usefixtures("no_disk_waits")
def test_a_stop_under_load_answers_the_requests_it_began_and_exits_with_0(
    running: Server,
) -> None:
    with Load(running) as load:
        load.wait_for_more()
        began = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 30
        load.stopped.set()
    assert postgres_log(running).endswith("database system is shut down")
    assert load.statuses == {200}, running.output()
    assert "Traceback" not in running.output()


def test_without_a_database_requests_are_503_and_the_process_stays_healthy(
    running: Server,
) -> None:
    client = running.client(timeout=20)
    stopped = postmaster(running)
    backends = children(stopped)
    os.kill(stopped, signal.SIGSTOP)
    try:
        for pid in backends:
            if "tallybook" in command_line(pid):
                os.kill(pid, signal.SIGKILL)
        answer = client.track(event_key="k", title="t", email="ada@example.com")
        assert (answer.status, answer.json()["code"]) == (503, "service_unavailable")
        ready = client("GET", "/readyz")
        assert (ready.status, ready.json()["waiting_for"]) == (503, "database")
        assert client("GET", "/healthz").status == 200
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: client("GET", "/readyz").status == 200, 20)
    client.close()


def test_clients_that_close_before_the_response_leave_whole_events_and_no_traceback(
    running: Server,
) -> None:
    event = {"event_key": "gone", "title": "t", "email": "c1@example.com"}
    assert running.auth
    headers = {"Authorization": running.auth, "Content-Type": "application/json"}
    for _ in range(20):
        client = Client(running.port, None)
        client.connection.request(
            "POST", "/subscribers/track-event", json.dumps(event).encode(), headers
        )
        client.close()
    client = running.client()
    assert client.track(**event).status == 200
    client.close()
    with connect(running) as connection:
        row = connection.execute(
            "SELECT counter, (SELECT count(*) FROM events_eventoccurrence o "
            "WHERE o.event_id = e.id) FROM events_trackedevent e WHERE event_key = 'gone'"
        ).fetchone()
    assert row
    assert 1 <= row[0] == row[1] <= 21
    assert "Traceback" not in running.output()


def test_two_first_starts_on_one_database_migrate_it_once_and_create_one_user(
    running: Server,
) -> None:
    with connect(running, "postgres") as connection:
        connection.execute("CREATE DATABASE shared")
    url = f"postgres://{USER}@/{socket_dir(running.data_dir)}/shared"
    # serve does this before it starts the web server.
    script = "from config.server.bootstrap import bootstrap; print(bootstrap() is not None)"
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
            cwd=ROOT,
            env={**running.environment, "DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(printed) == ["False", "True"]


def test_a_stop_leaves_no_postgresql(server_with_postgres: Server) -> None:
    server = server_with_postgres
    if server.has_ended():
        server.start()
    assert "postgres" in processes_of(server)
    server.stop()
    assert processes_of(server) == ""


def test_a_stop_while_the_workers_start_ends_serve_with_0(server_with_postgres: Server) -> None:
    server = server_with_postgres
    server.ensure_stopped()
    pid = server.spawn().pid

    wait_until(lambda: len(named(pid, WORKER_NAME)) == machine_cores(), 20)
    began = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 10


def processes_of(server: Server) -> str:
    """Return the command lines that name the server's data folder."""
    listed = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True, check=True)
    lines = listed.stdout.splitlines()
    return "\n".join(line for line in lines if str(server.data_dir) in line)
