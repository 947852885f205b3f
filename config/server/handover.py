"""Hand requests over from web workers to application processes, which answer them.

A message is the lengths of its two parts, JSON, and then the request's body or the response's
content. A temporary file that is the response is sent as its descriptor.
"""

import logging
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import orjson
from django.db import connections

from config import json_log, time_limit
from config.error_pages import BUSY, error_page_or_json
from config.server import heartbeat
from config.server.responses import REQUEST_ID, Answer, respond
from config.server.work import QUEUE_SECONDS, STUCK_SECONDS, WorkClass

logger = logging.getLogger(__name__)

LENGTHS = struct.Struct("=QQ")
PIECE_BYTES = 64 * 1024
TICK_SECONDS = 0.25
# A thread that has had nothing to do for so long closes its connection to PostgreSQL.
IDLE_SECONDS = 600.0


class LostAnswer(Exception):
    """The request was handed over and not answered, because of an error or a dead process."""


def encode(head: Any, content: bytes) -> bytes:
    """Return a message.

    Args:
        head: of a request, when it was complete, in seconds of time.monotonic(), and its environ.
            If it has waited for too long, it is answered with 503.
        content: of a request, its complete body.
    """
    encoded = orjson.dumps(head)
    return b"".join((LENGTHS.pack(len(encoded), len(content)), encoded, content))


def ask(connection: socket.socket, rest: bytes) -> Answer:
    """Send the rest of a request to an application process and return its answer.

    Args:
        connection: of Queue.put().
        rest: what Queue.put() has not sent.

    Raises:
        LostAnswer: there is none.
    """
    try:
        if rest:
            connection.sendall(rest)
        start, descriptors, _, _ = socket.recv_fds(connection, PIECE_BYTES, 1)
        (status, headers, path), content = _receive(connection, start)
    except OSError as error:
        raise LostAnswer(str(error)) from None
    # granian wants tuples, which JSON does not have.
    pairs = [(name, value) for name, value in headers]
    return Answer(status, pairs, content, descriptors[0] if descriptors else path)


def _receive(connection: socket.socket, message: bytes) -> tuple[Any, bytes]:
    """Return JSON, and the content after it.

    Args:
        connection: which sends the rest.
        message: its start.

    Raises:
        LostAnswer: the other end was closed before the end of the message.
    """
    while len(message) < LENGTHS.size:
        message += _next_piece(connection)
    length, content_length = LENGTHS.unpack_from(message)
    start = LENGTHS.size + length
    pieces, missing = [message], start + content_length - len(message)
    while missing:
        pieces.append(_next_piece(connection))
        missing -= len(pieces[-1])
    if len(pieces) > 1:
        message = b"".join(pieces)
    return orjson.loads(message[LENGTHS.size : start]), message[start:]


def _next_piece(connection: socket.socket) -> bytes:
    piece = connection.recv(4 * PIECE_BYTES)
    if not piece:
        raise LostAnswer
    return piece


class Places:
    """The threads of a process that answer a class of work."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._occupied = 0
        self._changed_at = time.monotonic()

    def __enter__(self) -> None:
        self._change(1)

    def __exit__(self, *_: object) -> None:
        self._change(-1)

    def _change(self, number: int) -> None:
        with self._lock:
            self._occupied += number
            self._changed_at = time.monotonic()

    def is_stuck(self, now: float) -> bool:
        """Return whether all are in requests, none of which has ended for long."""
        return self._occupied >= self._size and now > self._changed_at + STUCK_SECONDS


class ApplicationProcess:
    """Answers requests in threads, until SIGTERM."""

    def __init__(self, work_classes: Iterable[WorkClass]) -> None:
        """Prepare to answer the requests of classes, of each as many at once as its size."""
        self._places = {each: Places(each.size) for each in work_classes}
        self._is_stopping = False

    def run(self) -> None:
        """Answer requests until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self.run_threads()

    def stop(self) -> None:
        """Accept no further requests."""
        self._is_stopping = True

    def run_threads(self) -> None:
        """Answer requests, and tell `serve` that this process lives, until the last is answered."""
        threads = [
            threading.Thread(target=self._answer_requests, args=[work_class], daemon=True)
            for work_class in self._places
            for _ in range(work_class.size)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            now = time.monotonic()
            if not any(places.is_stuck(now) for places in self._places.values()):
                heartbeat.beat(now)
            time.sleep(TICK_SECONDS)

    def _answer_requests(self, work_class: WorkClass) -> None:
        assert work_class.handover
        idle_from = time.monotonic()
        while not self._is_stopping:
            try:
                if request := work_class.handover.get():
                    connection, start = request
                    with connection, self._places[work_class]:
                        answer(connection, start)
                    idle_from = time.monotonic()
                elif time.monotonic() > idle_from + IDLE_SECONDS:
                    connections.close_all()
            except BaseException:
                logger.exception("A request failed outside Django's views.")
                # The next one may fail at once too.
                time.sleep(TICK_SECONDS)


def answer(connection: socket.socket, start: bytes) -> None:
    """Receive the rest of a request, run Django, and send the response.

    Nothing is run if the client has gone away.
    """
    try:
        (submitted_at, environ), body = _receive(connection, start)
    except (OSError, LostAnswer):
        # The worker has died.
        return
    json_log.set_request_id(environ.get(REQUEST_ID))
    if _is_closed(connection):
        # The client has gone away while the request waited.
        return
    if time.monotonic() > submitted_at + QUEUE_SECONDS:
        response = error_page_or_json(environ["PATH_INFO"], 503, BUSY)
        _send_answer(connection, Answer(503, [*response.items()], response.content))
        return
    time_limit.begin(
        is_read=environ["REQUEST_METHOD"] in ("GET", "HEAD"),
        is_given_up=partial(_is_closed, connection),
    )
    try:
        answered = respond(environ, body)
    finally:
        time_limit.end()
    _send_answer(connection, answered)


def _send_answer(connection: socket.socket, answer: Answer) -> None:
    status, headers, content, file = answer
    descriptor, path = (file, None) if isinstance(file, int) else (None, file)
    message = encode((status, headers, path), content)
    sent = 0
    try:
        if descriptor is not None:
            sent = socket.send_fds(connection, [message], [descriptor])
        connection.sendall(message[sent:] if sent else message)
    except OSError:
        # The client has gone away, or the worker has died.
        pass
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _is_closed(connection: socket.socket) -> bool:
    """Return whether the other end has been closed. It sends nothing more after a request."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
