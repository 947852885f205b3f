"""`serve` replaces workers that do not answer, and those that use too much memory."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from config.server import heartbeat
from config.server.heartbeat import BEAT, Watch
from tests.long import long
from tests.system.processes import is_alive, wait_for_workers
from tests.system.server import Server, wait_until

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
IDLE = "import time; time.sleep(60)"
BUSY = "while True: pass"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let silence be noticed after 0.3 s."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.3)


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A watch of this process's children."""
    watch = Watch()
    yield watch
    os.close(watch.reader)
    os.close(watch.writer)


@pytest.fixture
def start() -> Iterator[ExitStack]:
    """Children that are killed after the test."""
    with ExitStack() as stack:
        yield stack


def worker(watch: Watch, stack: ExitStack, script: str) -> int:
    """Start a child that has beaten once."""
    child = stack.enter_context(subprocess.Popen([sys.executable, "-c", script]))
    stack.callback(child.kill)
    os.write(watch.writer, BEAT.pack(child.pid))
    return child.pid


def silent_within(watch: Watch, seconds: float, beating: int | None = None) -> list[int]:
    """Return the workers that are silent within a time in which one of them beats."""
    until = time.monotonic() + seconds
    silent: list[int] = []
    while time.monotonic() < until and not silent:
        if beating:
            os.write(watch.writer, BEAT.pack(beating))
        silent = watch.silent_workers(os.getpid())
        time.sleep(0.02)
    return silent


def test_a_worker_that_is_silent_and_idle_is_found(watch: Watch, start: ExitStack) -> None:
    pid = worker(watch, start, IDLE)
    assert silent_within(watch, 5) == [pid]


def test_a_worker_is_found_once(watch: Watch, start: ExitStack) -> None:
    worker(watch, start, IDLE)
    assert silent_within(watch, 5)
    assert silent_within(watch, 0.5) == []


def test_a_busy_worker_is_left_alone_although_it_is_silent(watch: Watch, start: ExitStack) -> None:
    worker(watch, start, BUSY)
    assert silent_within(watch, 0.6) == []


def test_a_busy_worker_that_is_stopped_is_found(watch: Watch, start: ExitStack) -> None:
    pid = worker(watch, start, BUSY)
    silent_within(watch, 0.3)
    os.kill(pid, signal.SIGSTOP)
    assert silent_within(watch, 5) == [pid]


def test_an_idle_worker_that_beats_is_left_alone(watch: Watch, start: ExitStack) -> None:
    pid = worker(watch, start, IDLE)
    assert silent_within(watch, 0.6, beating=pid) == []


def test_a_process_that_is_no_worker_is_left_alone(watch: Watch) -> None:
    os.write(watch.writer, BEAT.pack(os.getppid()))
    assert silent_within(watch, 0.6) == []


def test_after_a_pause_of_serve_itself_workers_may_beat_first(
    watch: Watch, start: ExitStack
) -> None:
    worker(watch, start, IDLE)
    silent_within(watch, 0.2)
    time.sleep(0.5)
    assert watch.silent_workers(os.getpid()) == []


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker, which has beaten."""
    server = Server(tmp_path_factory.mktemp("watched"), TALLYBOOK_WORKERS="1").start()
    time.sleep(3)
    yield server
    server.stop()


def tracks(server: Server) -> bool:
    """Return whether the server answers an event on a new connection."""
    client = server.client(timeout=10)
    try:
        return client.track(**EVENT).status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


@long
def test_a_stopped_worker_is_replaced_within_ten_seconds(watched: Server) -> None:
    (pid,) = wait_for_workers(watched)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: not is_alive(pid), 10)
    wait_until(lambda: tracks(watched), 10)
    assert time.monotonic() - began < 10
    assert f"Worker {pid} does not answer and is replaced." in watched.output()
