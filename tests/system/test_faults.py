"""Killed workers, killed databases, a killed server: what was answered 2xx is in the table."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from config.server.postgres import USER, socket_dir
from tests.system.server import ROOT, Client, Server, wait_until

CLIENTS = 8
CONTACTS = 4


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Tallybook of this file's own, with its PostgreSQL inside."""
    server = Server(tmp_path_factory.mktemp("faults"))
    yield server
    if server.process:
        server.stop()


@pytest.fixture
def own(mine: Server) -> Server:
    """It runs, with contacts in it, whatever the test before did to it."""
    if mine.has_ended():
        first = mine.auth is None
        mine.start()
        if first:
            make_contacts(mine)
    return mine


def data(server: Server) -> Path:
    return Path(server.environment["TALLYBOOK_DATA_DIR"])


def look(server: Server) -> psycopg.Connection:
    return psycopg.connect(
        host=str(socket_dir(data(server))), user=USER, dbname="tallybook", autocommit=True
    )


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def postmaster(server: Server) -> int:
    return int((data(server) / "postgres" / "postmaster.pid").read_text().split()[0])


def web_server(server: Server) -> int:
    assert server.process
    return next(
        pid for pid in children(server.process.pid) if "config.server.webserver" in command(pid)
    )


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_for(find: Callable[[], list[int]]) -> list[int]:
    """What `find` finds, as soon as it finds any."""
    found: list[int] = []

    def look_again() -> bool:
        try:
            found[:] = find()
        except (OSError, StopIteration):
            return False
        return bool(found)

    wait_until(look_again, 30)
    return found


class Load:
    """Clients that post events, try again what failed, and remember what was answered 2xx.

    They go on until they are stopped or, with `each`, until each has sent so many events with keys.
    """

    def __init__(self, server: Server, each: int | None = None) -> None:
        self.server = server
        self.each = each
        self.key = f"load {uuid.uuid4()}"
        self.acknowledged: list[str] = []
        self.attempts = 0
        self.statuses: set[int] = set()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=[n]) for n in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.each is None:
            self.stop.set()
        for thread in self.threads:
            thread.join()

    def _post(self, number: int) -> None:
        client = self.server.client(timeout=10)
        sent = 0
        while not self.stop.is_set() and sent != self.each:
            sent += 1
            value = f"{number}-{sent}"
            key = {} if self.each is None else {"idempotency_key": f"{self.key} {value}"}
            while not self.stop.is_set():
                self.attempts += 1
                try:
                    answer = client.track(
                        event_key=self.key,
                        title="t",
                        email=f"c{sent % CONTACTS}@example.com",
                        value=value,
                        **key,
                    )
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)
                    continue
                self.statuses.add(answer.status)
                if answer.status == 200:
                    self.acknowledged.append(value)
                    break
                assert answer.headers["Retry-After"] == "1"
                time.sleep(0.02)
        client.close()

    def goes_on(self, seconds: float = 15) -> None:
        """Wait until more is acknowledged: the server is back."""
        enough = len(self.acknowledged) + 50
        wait_until(lambda: len(self.acknowledged) >= enough, seconds)


def make_contacts(server: Server) -> None:
    client = server.client()
    for number in range(CONTACTS):
        client.contact(f"c{number}@example.com")
    client.close()


def check_ledger(server: Server, load: Load) -> None:
    """Every acknowledged event is there; counters and occurrences agree; nothing is invented."""
    with look(server) as connection:
        rows = connection.execute(
            "SELECT value FROM events_eventoccurrence WHERE event_key = %s", [load.key]
        )
        values = {row[0] for row in rows}
        missing = set(load.acknowledged) - values
        assert not missing
        counted, logged = connection.execute(
            "SELECT (SELECT sum(counter) FROM events_trackedevent WHERE event_key = %(key)s), "
            "(SELECT count(*) FROM events_eventoccurrence WHERE event_key = %(key)s)",
            {"key": load.key},
        ).fetchone() or (0, 0)
        assert counted == logged
        assert len(load.acknowledged) <= counted <= load.attempts


def test_killed_workers_and_a_killed_web_server_lose_nothing_that_was_answered(
    own: Server,
) -> None:
    with Load(own) as load:
        load.goes_on()
        for _ in range(3):
            # Twice at once: the web server gives up after that, and is started again.
            for worker in children(web_server(own)):
                os.kill(worker, signal.SIGKILL)
            load.goes_on()
        main = web_server(own)
        os.kill(main, signal.SIGKILL)
        wait_until(lambda: not alive(main))
        load.goes_on()
    assert load.statuses == {200}
    check_ledger(own, load)


def test_5000_keyed_posts_that_are_retried_count_exactly_once_whatever_is_killed_meanwhile(
    own: Server,
) -> None:
    """Workers are killed ten times and PostgreSQL three times, evenly over the posts."""
    each = 5000 // CLIENTS
    began = time.monotonic()
    with Load(own, each) as load:
        for kill in range(13):
            reached = (kill + 1) * each * CLIENTS // 14
            wait_until(lambda: len(load.acknowledged) >= reached, 30)  # noqa: B023
            if kill % 4 == 3:
                os.kill(postmaster(own), signal.SIGKILL)
            else:
                workers = wait_for(lambda: children(web_server(own)))
                os.kill(workers[kill % len(workers)], signal.SIGKILL)
    assert time.monotonic() - began < 60
    assert load.attempts > len(load.acknowledged) == each * CLIENTS
    assert load.statuses <= {200, 503}
    with look(own) as connection:
        counted, events, occurrences, values = (
            connection.execute(
                "SELECT (SELECT sum(counter) FROM events_trackedevent WHERE event_key = %(key)s), "
                "(SELECT count(*) FROM events_trackedevent WHERE event_key = %(key)s), count(*), "
                "count(DISTINCT value) FROM events_eventoccurrence WHERE event_key = %(key)s",
                {"key": load.key},
            ).fetchone()
            or ()
        )
    assert (counted, events, occurrences, values) == (5000, CONTACTS, 5000, 5000)


def test_a_killed_postgresql_comes_back_and_has_everything_that_was_answered(own: Server) -> None:
    with Load(own) as load:
        for _ in range(2):
            load.goes_on()
            os.kill(postmaster(own), signal.SIGKILL)
            load.goes_on(30)
    assert load.statuses <= {200, 503}
    check_ledger(own, load)


def test_kill_9_of_serve_leaves_no_process_behind_and_shuts_postgresql_down_cleanly(
    own: Server,
) -> None:
    with Load(own) as load:
        load.goes_on()
        assert own.process
        family = [*children(own.process.pid), *children(web_server(own))]
        assert len(family) >= 3
        own.process.kill()
        own.process.wait()
        load.stop.set()
        wait_until(lambda: not any(alive(pid) for pid in family), 15)
    log = (data(own) / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    own.start()
    check_ledger(own, load)


def test_a_stop_under_load_answers_what_was_begun_and_ends_with_0(own: Server) -> None:
    with Load(own) as load:
        load.goes_on()
        began = time.monotonic()
        assert own.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 30
        load.stop.set()
    log = (data(own) / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    assert load.statuses == {200}
    assert "Traceback" not in own.output()


def test_a_database_that_is_away_is_503_and_not_ready_and_the_process_stays_healthy(
    own: Server,
) -> None:
    client = own.client(timeout=20)
    stopped = postmaster(own)
    backends = children(stopped)
    os.kill(stopped, signal.SIGSTOP)
    try:
        for pid in backends:
            if "tallybook" in command(pid):
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


def test_clients_that_go_away_before_the_answer_leave_whole_events_and_no_traceback(
    own: Server,
) -> None:
    event = {"event_key": "gone", "title": "t", "email": "c1@example.com"}
    assert own.auth
    for _ in range(20):
        client = Client(own.port, None)
        headers = {"Authorization": own.auth, "Content-Type": "application/json"}
        client.connection.request(
            "POST", "/subscribers/track-event", json.dumps(event).encode(), headers
        )
        client.close()
    client = own.client()
    assert client.track(**event).status == 200
    client.close()
    with look(own) as connection:
        row = connection.execute(
            "SELECT counter, (SELECT count(*) FROM events_eventoccurrence o "
            "WHERE o.event_id = e.id) FROM events_trackedevent e WHERE event_key = 'gone'"
        ).fetchone()
    assert row
    assert 1 <= row[0] == row[1] <= 21
    assert "Traceback" not in own.output()


def test_two_that_start_at_once_on_one_database_migrate_it_once_and_make_one_user(
    own: Server,
) -> None:
    with psycopg.connect(
        host=str(socket_dir(data(own))), user=USER, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("CREATE DATABASE shared")
    url = f"postgres://{USER}@/{socket_dir(data(own))}/shared"
    # What serve does first.
    script = "from config.server.bootstrap import prepare; print(prepare() is not None)"
    first_starts = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
            cwd=ROOT,
            env={**own.environment, "DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in first_starts]
    assert sorted(said) == ["False", "True"]


def test_a_stop_while_the_workers_start_is_heard(mine: Server) -> None:
    if not mine.has_ended():
        mine.stop()
    serving = mine.spawn().pid

    def workers() -> list[int]:
        web = [pid for pid in children(serving) if "config.server.webserver" in command(pid)]
        return children(web[0]) if web else []

    wait_until(lambda: len(workers()) == len(os.sched_getaffinity(0)), 20)
    began = time.monotonic()
    assert mine.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 10


def test_no_postgresql_is_left_when_the_tests_of_this_file_end() -> None:
    # The fixtures above stopped theirs; only the one of the whole run may be there.
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    left = [
        line for line in listed.stdout.splitlines() if "postgres -D" in line and "test_" in line
    ]
    assert left == []
