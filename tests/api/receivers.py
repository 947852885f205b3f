"""Receivers of webhooks: real sockets on loopback that answer as they are told."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple


class Received(NamedTuple):
    """A request: its first line, its headers in lower case, and its body."""

    line: str
    headers: dict[str, str]
    body: bytes


# Gets the connection after the request, to answer on it. Whoever returns closes it.
Answering = Callable[[socket.socket, threading.Event], None]


class Receiver:
    """A receiver, and the requests that it got."""

    def __init__(self, listening: socket.socket, answering: Answering) -> None:
        self.answering = answering
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        self.requests: list[Received] = []
        self.connections = 0
        # Is set at the end, so that what waits ends.
        self.is_over = threading.Event()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        with connection, suppress(OSError):
            request = read_request(connection)
            with self._lock:
                self.requests.append(request)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                self.answering(connection, self.is_over)
            finally:
                with self._lock:
                    self.at_once -= 1


def read_request(connection: socket.socket) -> Received:
    """Read a request with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise OSError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Received(line, headers, body)


@contextmanager
def receiver(answering: Answering) -> Iterator[Receiver]:
    """Listen on a free port of loopback, a thread for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = Receiver(listening, answering)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=running.serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.is_over.set()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def says(status: int = 200, body: bytes = b"", **headers: str) -> Answering:
    """Answer each request with this response."""

    def answer(connection: socket.socket, _: threading.Event) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def drips(beginning: bytes, drop: bytes = b"x", seconds: float = 0.05) -> Answering:
    """Answer with a beginning and then with a drop after each pause, without an end."""

    def answer(connection: socket.socket, is_over: threading.Event) -> None:
        connection.sendall(beginning)
        while not is_over.wait(seconds):
            connection.sendall(drop)

    return answer


def hangs(_: socket.socket, is_over: threading.Event) -> None:
    """Answer nothing until the end."""
    is_over.wait()
