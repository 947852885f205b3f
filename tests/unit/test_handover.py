"""config.server.handover: requests and answers between a web worker and an application process."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from config import time_limit
from config.server.queue import START_BYTES, Queue
from config.server.work import QUEUE_SECONDS, STUCK_SECONDS, WorkClass
from tests.api.rsgi import load_module

ENVIRON = {"REQUEST_METHOD": "GET", "PATH_INFO": "/ü".encode().decode("latin-1")}
Respond = Callable[..., Any]
Exchange = Callable[..., Any]


@pytest.fixture(scope="module")
def handover() -> ModuleType:
    load_module()
    from config.server import handover

    return handover


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    yield queue
    queue.first.close()
    queue.last.close()


def next_of(queue: Queue) -> tuple[socket.socket, bytes]:
    request = queue.get()
    assert request
    return request


def put(queue: Queue, message: bytes) -> socket.socket:
    """Add a short request to the queue."""
    assert len(message) <= START_BYTES
    return queue.put(message)


def answer_next(handover: ModuleType, queue: Queue) -> None:
    """Answer the next request of the queue."""
    connection, start = next_of(queue)
    with connection:
        handover.answer(connection, start)


@pytest.fixture
def exchange(handover: ModuleType, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Exchange:
    """Hand a request over, have it answered by a function, and return the answer."""

    def ask(respond: Respond, environ: Any = ENVIRON, body: bytes = b"") -> Any:
        monkeypatch.setattr(handover, "respond", respond)
        message = handover.encode((time.monotonic(), environ), body)
        with queue.put(message[:START_BYTES]) as connection:
            thread = threading.Thread(target=answer_next, args=[handover, queue])
            thread.start()
            try:
                return handover.ask(connection, message[START_BYTES:])
            finally:
                thread.join()

    return ask


@pytest.mark.parametrize("size", [0, 1, START_BYTES, 100_000, 5_000_000])
def test_a_request_and_its_answer_arrive_whole(
    handover: ModuleType, exchange: Exchange, size: int
) -> None:
    def respond(environ: Any, body: bytes) -> Any:
        assert environ == ENVIRON
        return handover.Answer(201, [("X-Length", str(len(body)))], body[::-1])

    body = os.urandom(size)
    answer = exchange(respond, body=body)
    assert answer == (201, [("X-Length", str(size))], body[::-1], None)


def test_a_long_header_arrives_whole(handover: ModuleType, exchange: Exchange) -> None:
    def respond(environ: Any, _: bytes) -> Any:
        return handover.Answer(200, [("X-Length", str(len(environ["HTTP_COOKIE"])))])

    answer = exchange(respond, environ=ENVIRON | {"HTTP_COOKIE": "x" * 300_000})
    assert answer.headers == [("X-Length", "300000")]


def test_a_file_without_a_name_is_handed_over_open(
    handover: ModuleType, exchange: Exchange
) -> None:
    def respond(*_: Any) -> Any:
        with tempfile.TemporaryFile() as file:
            file.write(b"rows")
            file.flush()
            return handover.Answer(200, [], file=os.dup(file.fileno()))

    answer = exchange(respond)
    with open(answer.file, "rb") as file:
        file.seek(0)
        assert file.read() == b"rows"


def test_a_file_with_a_name_is_handed_over_by_it(handover: ModuleType, exchange: Exchange) -> None:
    answer = exchange(lambda *_: handover.Answer(200, [], file="/static/x.js"))
    assert answer.file == "/static/x.js"


def test_an_answer_that_does_not_come_is_lost(handover: ModuleType, queue: Queue) -> None:
    with put(queue, b"a request") as connection:
        next_of(queue)[0].close()
        with pytest.raises(handover.LostAnswer):
            handover.ask(connection, b"")


def test_a_request_whose_client_has_gone_away_is_not_answered(
    handover: ModuleType, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "respond", lambda *_: pytest.fail("It was answered."))
    put(queue, handover.encode((time.monotonic(), ENVIRON), b"")).close()
    answer_next(handover, queue)


@pytest.mark.parametrize(("method", "is_over"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_a_read_ends_when_its_client_goes_away_and_a_write_goes_on(
    handover: ModuleType, queue: Queue, monkeypatch: pytest.MonkeyPatch, method: str, is_over: bool
) -> None:
    seen: list[bool] = []
    environ = ENVIRON | {"REQUEST_METHOD": method}
    connection = put(queue, handover.encode((time.monotonic(), environ), b""))

    def respond(*_: Any) -> Any:
        assert not time_limit.is_over()
        connection.shutdown(socket.SHUT_WR)
        seen.append(time_limit.is_over())
        return handover.Answer(200, [])

    monkeypatch.setattr(handover, "respond", respond)
    with connection:
        answer_next(handover, queue)
    assert seen == [is_over]


def test_a_request_that_has_waited_for_too_long_is_503(
    handover: ModuleType, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "respond", lambda *_: pytest.fail("It was answered."))
    late = time.monotonic() - QUEUE_SECONDS - 0.1
    with put(queue, handover.encode((late, ENVIRON), b"")) as connection:
        answer_next(handover, queue)
        assert handover.ask(connection, b"").status == 503


def test_a_thread_goes_on_after_a_request_that_could_not_be_received(
    handover: ModuleType, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_class = WorkClass("api", 1, 1)
    work_class.handover = queue
    monkeypatch.setattr(handover, "respond", lambda *_: handover.Answer(200, []))
    # As where there is no free descriptor: the queue has a message without one.
    queue.last.send(b".")
    process = handover.ApplicationProcess([work_class])
    thread = threading.Thread(target=process.run_threads)
    thread.start()
    with put(queue, handover.encode((time.monotonic(), ENVIRON), b"")) as connection:
        assert handover.ask(connection, b"").status == 200
    process.stop()
    thread.join()


def test_a_process_that_ends_beats_until_its_last_request_is_answered(
    handover: ModuleType, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_class = WorkClass("api", 1, 1)
    work_class.handover = queue
    begun, ends, beat = threading.Event(), threading.Event(), threading.Event()

    def respond(*_: Any) -> Any:
        begun.set()
        assert ends.wait(10)
        return handover.Answer(200, [])

    monkeypatch.setattr(handover, "respond", respond)
    monkeypatch.setattr(handover.heartbeat, "beat", lambda _: beat.set())
    process = handover.ApplicationProcess([work_class])
    thread = threading.Thread(target=process.run_threads)
    thread.start()
    with put(queue, handover.encode((time.monotonic(), ENVIRON), b"")):
        assert begun.wait(10)
        process.stop()
        for _ in range(2):
            beat.clear()
            assert beat.wait(10)
        ends.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_class_whose_places_are_all_stuck_is_told_apart_from_others(
    handover: ModuleType,
) -> None:
    places = handover.Places(2)
    later = time.monotonic() + STUCK_SECONDS + 1
    with places:
        assert not places.is_stuck(later)
        with places:
            assert places.is_stuck(later)
            assert not places.is_stuck(time.monotonic())
    assert not places.is_stuck(later)
