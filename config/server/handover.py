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

from config import time_limit
from config.server import heartbeat
from config.server.queue import Queue
from config.server.responses import Answer, Environ, respond
from config.server.work import STUCK_SECONDS, WorkClass

logger = logging.getLogger(__name__)

LENGTHS = struct.Struct("=QQ")
PIECE_BYTES = 64 * 1024
TICK_SECONDS = 0.25
# A thread that has had nothing to do for so long closes its connection to PostgreSQL.
IDLE_SECONDS = 600.0


class LostAnswer(Exception):
    """The request was handed over and not answered, because of an error or a dead process."""


def ask(connection: socket.socket, environ: Environ, body: bytes) -> Answer:
    """Send a request to an application process and return its answer.

    Raises:
        LostAnswer: there is none.
    """
    try:
        send(connection, environ, body)
        (status, headers, path), content, descriptors = _receive(connection)
    except OSError as error:
        raise LostAnswer(str(error)) from None
    # granian wants tuples, which JSON does not have.
    pairs = [(name, value) for name, value in headers]
    return Answer(status, pairs, content, descriptors[0] if descriptors else path)


def send(
    connection: socket.socket, head: Any, content: bytes, descriptor: int | None = None
) -> None:
    """Send a message.

    Raises:
        OSError: the other end has been closed.
    """
    encoded = orjson.dumps(head)
    message = b"".join((LENGTHS.pack(len(encoded), len(content)), encoded, content))
    sent = 0
    if descriptor is not None:
        sent = socket.send_fds(connection, [message], [descriptor])
    connection.sendall(message[sent:] if sent else message)


def _receive(connection: socket.socket) -> tuple[Any, bytes, list[int]]:
    """Return JSON, the content after it, and descriptors.

    Raises:
        LostAnswer: the other end was closed before the end of the message.
    """
    message, descriptors, _, _ = socket.recv_fds(connection, PIECE_BYTES, 1)
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
    return orjson.loads(message[LENGTHS.size : start]), message[start:], descriptors


def _next_piece(connection: socket.socket) -> bytes:
    piece = connection.recv(4 * PIECE_BYTES)
    if not piece:
        raise LostAnswer
    return piece


class ApplicationProcess:
    """Answers requests in threads, until SIGTERM."""

    def __init__(self, work_classes: Iterable[WorkClass]) -> None:
        """Prepare to answer the requests of classes, of each as many at once as its size."""
        self._queues = [
            work_class.handover for work_class in work_classes for _ in range(work_class.size)
        ]
        self._lock = threading.Lock()
        self._answering = 0
        self._changed_at = time.monotonic()
        self._is_stopping = False

    def run(self) -> None:
        """Answer requests, and tell `serve` that this process lives."""
        signal.signal(signal.SIGTERM, self._stop)
        threads = [
            threading.Thread(target=self._answer_requests, args=[queue], daemon=True)
            for queue in self._queues
        ]
        for thread in threads:
            thread.start()
        while not self._is_stopping:
            now = time.monotonic()
            if self._answering < len(self._queues) or now < self._changed_at + STUCK_SECONDS:
                heartbeat.beat(now)
            time.sleep(TICK_SECONDS)
        for thread in threads:
            thread.join()

    def _stop(self, *_: Any) -> None:
        self._is_stopping = True

    def _answer_requests(self, queue: Queue) -> None:
        idle_from = time.monotonic()
        while not self._is_stopping:
            connection = queue.get()
            if connection is None:
                if time.monotonic() > idle_from + IDLE_SECONDS:
                    connections.close_all()
                continue
            self._count(1)
            try:
                with connection:
                    answer(connection)
            except BaseException:
                logger.exception("A request failed outside Django's views.")
            finally:
                self._count(-1)
            idle_from = time.monotonic()

    def _count(self, change: int) -> None:
        with self._lock:
            self._answering += change
            self._changed_at = time.monotonic()


def answer(connection: socket.socket) -> None:
    """Receive a request, run Django, and send the response, unless the client has gone away."""
    try:
        environ, body, _ = _receive(connection)
    except (OSError, LostAnswer):
        # The worker has died.
        return
    if _is_closed(connection):
        # The client has gone away while the request waited.
        return
    time_limit.begin(
        is_read=environ["REQUEST_METHOD"] in ("GET", "HEAD"),
        is_given_up=partial(_is_closed, connection),
    )
    try:
        status, headers, content, file = respond(environ, body)
    finally:
        time_limit.end()
    descriptor = file if isinstance(file, int) else None
    head = (status, headers, None if descriptor else file)
    try:
        send(connection, head, content, descriptor)
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
