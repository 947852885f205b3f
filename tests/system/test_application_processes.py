"""The processes that answer what is not tracking: killed, stopped, and told to end."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from config.server.processes import NICE
from tests.long import long
from tests.system.database import waiting_for_locks
from tests.system.processes import is_alive, wait_for_applications, wait_for_workers
from tests.system.server import API, Answer, Client, Server, wait_until

SMALL, LARGE = f"{API}/subscribers", f"{API}/subscribers?search=ada"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
Ask = Callable[[str], Future[Answer]]


@pytest.fixture
def ask(server: Server, store: psycopg.Connection) -> Iterator[Ask]:
    """Send a request in a thread of its own, and wait until it waits for a lock."""

    def get(path: str) -> Answer:
        client = server.client()
        try:
            return client("GET", path)
        finally:
            client.close()

    with ThreadPoolExecutor(2) as pool:

        def start(path: str) -> Future[Answer]:
            before = waiting_for_locks(store)
            answer = pool.submit(get, path)
            wait_until(lambda: waiting_for_locks(store) > before)
            return answer

        yield start


def send_all(server: Server, number: signal.Signals) -> list[int]:
    """Send a signal to all application processes and return their ids."""
    pids = wait_for_applications(server)
    for pid in pids:
        os.kill(pid, number)
    return pids


@pytest.mark.parametrize("path", [SMALL, LARGE], ids=["small", "large"])
def test_a_request_whose_process_is_killed_is_500_and_the_next_one_is_answered(
    server: Server, http: Client, store: psycopg.Connection, ask: Ask, path: str
) -> None:
    with store.transaction():
        store.execute("LOCK TABLE crm_subscriber")
        answer = ask(path)
        killed = send_all(server, signal.SIGKILL)
        lost = answer.result(10)
    # Until then it may take the next request from the queue.
    wait_until(lambda: not any(map(is_alive, killed)))
    assert lost.status == 500
    assert "died, or failed" in lost.json()["message"]
    assert http("GET", path).status == 200


@pytest.mark.parametrize("path", [SMALL, LARGE], ids=["small", "large"])
def test_a_process_that_is_told_to_end_answers_its_requests_first(
    server: Server, store: psycopg.Connection, ask: Ask, path: str
) -> None:
    with store.transaction():
        store.execute("LOCK TABLE crm_subscriber")
        answer = ask(path)
        ending = send_all(server, signal.SIGTERM)
        time.sleep(0.2)
    assert answer.result(10).status == 200
    wait_until(lambda: not any(map(is_alive, ending)))


def test_events_are_tracked_while_all_application_processes_are_stopped(
    server: Server, http: Client, ada_id: int
) -> None:
    stopped = send_all(server, signal.SIGSTOP)
    try:
        assert http.track(**EVENT).status == 200
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_application_processes_come_after_tracking(server: Server) -> None:
    niceness = {os.getpriority(os.PRIO_PROCESS, pid) for pid in wait_for_applications(server)}
    (tracking,) = {os.getpriority(os.PRIO_PROCESS, pid) for pid in wait_for_workers(server)}
    assert niceness == {tracking + NICE}


@long
def test_a_stopped_application_process_is_replaced_within_ten_seconds(
    server: Server, http: Client
) -> None:
    # Until all have told `serve` that they live.
    time.sleep(3)
    stopped = send_all(server, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: not any(map(is_alive, stopped)), 12)
    assert http("GET", SMALL).status == 200
    assert time.monotonic() - began < 10
