"""A small HTTP server on loopback, which plays another program."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.api.played import Answer, Sent


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Write nothing of a client that goes away."""


class Loopback:
    """The server, and the requests that it got."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []
        self.authorizations: set[str | None] = set()


@contextmanager
def loopback(answer: Answer) -> Iterator[Loopback]:
    """Serve the responses of a function."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet, because the second would wait for 40 ms.
        wbufsize = -1

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            running.requests.append(self.path)
            running.authorizations.add(self.headers.get("Authorization"))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            sent = answer(parts.path, query)
            body = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
            self.send_response(sent.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            for name, value in (headers | sent.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Write no log."""

    with QuietServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        running = Loopback(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()


def in_turn(*responses: Sent) -> Answer:
    """Answer with each response once, and then with the last one."""
    waiting = list(responses)

    def answer(_path: str, _query: dict[str, str]) -> Sent:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return answer
