"""The RSGI application: read a request, give it to its class of work, and run Django for it.

granian calls `Application.begin` in one of its threads, without asyncio. docs/explanation/
architecture.md tells the way of a request.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from io import BytesIO
from typing import Any, Final

from django.conf import settings
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponseBase
from django.urls import set_script_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["ENGINE"] = "config.server.request_database"
handler: Final[WSGIHandler] = get_wsgi_application()

# They need the models, which exist from here on.
from config import time_limit  # noqa: E402
from config.api.description import description  # noqa: E402
from config.error_pages import BUSY, error_page_or_json  # noqa: E402
from config.server import heartbeat, work  # noqa: E402
from config.server.bodies import (  # noqa: E402
    BodyError,
    Buffer,
    ExpectedBody,
    Reading,
    Readings,
    expected_body,
)
from config.server.connections import Connections  # noqa: E402

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
# Up to this length a file is read into memory and sent like every other response.
FILE_BYTES = 256 * 1024
# Responses of this length on may wait in memory for a client that does not read.
WATCHED_BYTES = 64 * 1024
# granian opens a file after it was told its name, and does not say when. Its descriptor stays open
# for ten seconds in which this process runs, because the number may be another file's afterwards.
OPENING_TICKS = round(10 / TICK_SECONDS)
DESCRIPTORS = "/proc/self/fd/"
# Of a body that is not read to its end.
ENDS_CONNECTION = (400, 408, 413)
# Who sends too many requests gets each 429 so much later.
PACE_SECONDS = 0.5
HEALTHY = b'{"status": "ok"}'
Environ = dict[str, Any]


class Request:
    """A request, from its headers to its response. Any thread may have it, one at a time."""

    __slots__ = (
        *("_body", "_held_bytes", "_is_given_up", "_is_over", "_time_limit", "_watch"),
        *("application", "path", "protocol", "scope", "submitted_at"),
    )

    def __init__(self, application: "Application", scope: Any, protocol: Any) -> None:
        """Prepare to answer a request.

        Args:
            application: that got it.
            scope: RSGI's, with its method, path and headers.
            protocol: RSGI's, which reads its body and sends its response.
        """
        self.application, self.scope, self.protocol = application, scope, protocol
        self.path = without_prefix(scope.path)
        self.submitted_at = 0.0
        self._body = b""
        self._held_bytes = 0
        self._is_given_up = self._is_over = False
        self._time_limit: time_limit.TimeLimit | None = None
        self._watch: Any = None

    def read(self, expected: ExpectedBody) -> None:
        """Read the body, and submit the request as soon as it is complete."""
        readings = self.application.readings
        Reading(expected, self.protocol, readings, self._hold, self.submit).start()

    def _hold(self, count: int) -> None:
        """Count bytes of a longer body until the request is answered.

        If this worker holds too many, the body that has been arriving for the longest time is
        ended: others may send slowly to keep the room.

        Raises:
            BodyError: 503, that was not enough.
        """
        buffer = self.application.buffer
        try:
            buffer.reserve(count)
        except BodyError:
            self.application.readings.end_oldest()
            buffer.reserve(count)
        self._held_bytes += count

    def submit(self, body: bytes | int = b"") -> None:
        """Give the request with its complete body to its class of work.

        Args:
            body: or the status that rejects it.
        """
        if isinstance(body, int):
            self.reject(body)
            return
        self._body = body
        work.class_of(self.path.rstrip("/")).submit(self)

    def answer(self) -> None:
        """Run Django and send its response."""
        self._time_limit = time_limit.begin(is_read=self.scope.method in ("GET", "HEAD"))
        try:
            environ = environ_of(self.scope, self.path, self._body)
            set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")
            signals.request_started.send(sender=WSGIHandler, environ=environ)
            response = handler.get_response(WSGIRequest(environ))
            # As Django's own handlers do.
            response._handler_class = WSGIHandler  # type: ignore[attr-defined]
            self._send(response)
        except BaseException:
            logger.exception("A request failed outside Django's views.")
            self.reject(500)
        finally:
            self._end()
            time_limit.end()

    def reject(self, status: int, explanation: str | None = None) -> None:
        """Send an error without Django. A response that was sent before stays."""
        self._end()
        response = error_page_or_json(self.path, status, explanation)
        if status in ENDS_CONNECTION:
            response["Connection"] = "close"
        self.protocol.response_bytes(status, [*response.items()], response.content)

    def reject_busy(self) -> None:
        """Send 503, because too many requests of the same class wait."""
        self.reject(503, BUSY)

    def watch(self) -> None:
        """Notice from now on if the client goes away."""
        if self._watch is None:
            self._watch = self.protocol.client_disconnect()
            self._watch.add_done_callback(self._give_up)
            # Another thread may have answered meanwhile.
            if self._is_over:
                self._end()

    def is_given_up(self) -> bool:
        """Return whether the client has gone away."""
        if self._is_given_up:
            self._end()
        return self._is_given_up

    def _give_up(self, future: Any) -> None:
        self._is_given_up = not future.cancelled()
        if self._is_given_up and self._time_limit:
            self._time_limit.is_given_up = True

    def _end(self) -> None:
        self.application.buffer.release(self._held_bytes)
        self._held_bytes = 0
        self._is_over = True
        if (watch := self._watch) is not None:
            # It has this object, and would stay as long as the connection.
            self._watch = None
            watch.cancel()

    def _send(self, response: HttpResponseBase) -> None:
        status = response.status_code
        headers = [*response.items()]
        headers += [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
        file = _large_file(response)
        if file is None:
            content = b"".join(response)
            # First, so that the client's next request finds what its signals did.
            response.close()
            send = partial(self.protocol.response_bytes, status, headers, content)
            if status == 429:
                self.application.send_later(send)
            else:
                send()
            size = len(content)
        elif self.scope.method == "HEAD":
            response.close()
            self.protocol.response_empty(status, headers)
            size = 0
        else:
            # granian reads it as fast as the client does.
            self.protocol.response_file(status, headers, file)
            if file.startswith(DESCRIPTORS):
                self.application.close_later(response)
            else:
                response.close()
            size = FILE_BYTES
        if size >= WATCHED_BYTES:
            self.application.connections.watch(self.scope.client)


class Application:
    """Answers the requests of one worker process."""

    def __init__(self) -> None:
        self.buffer, self.readings = Buffer(), Readings()
        self.connections = Connections()
        self._ticks = 0
        self._opening: deque[tuple[int, HttpResponseBase]] = deque()
        self._paced: deque[tuple[float, Callable[[], None]]] = deque()

    def start(self) -> None:
        """Start the thread that enforces limits of time, and tells `serve` that this worker lives.

        A worker does so when it listens.
        """
        self.connections.listen(settings.PORT)
        threading.Thread(target=self._keep_time, daemon=True, name="time limits").start()

    def begin(self, scope: Any, protocol: Any) -> None:
        """Answer a request, or leave it to the threads of its class of work."""
        if scope.path == "/healthz" and scope.method in ("GET", "HEAD"):
            protocol.response_bytes(200, [("Content-Type", "application/json")], HEALTHY)
            return
        request = Request(self, scope, protocol)
        try:
            expected = expected_body(request.path.rstrip("/"), scope.headers)
            if expected is None:
                request.submit()
            else:
                request.read(expected)
        except BodyError as error:
            request.reject(error.status)
        except BaseException:
            logger.exception("A request failed before Django.")
            request.reject(500)

    def close_later(self, response: HttpResponseBase) -> None:
        """Close a response when granian has opened its file."""
        self._opening.append((self._ticks + OPENING_TICKS, response))

    def send_later(self, send: Callable[[], None]) -> None:
        """Send a response after PACE_SECONDS, because its client is too fast. No thread waits."""
        self._paced.append((time.monotonic() + PACE_SECONDS, send))

    def _keep_time(self) -> None:
        while True:
            try:
                self.tend(time.monotonic())
            except Exception:
                logger.exception("The time limits could not be kept.")
            time.sleep(TICK_SECONDS)

    def tend(self, now: float) -> None:
        """End what has taken too long.

        Args:
            now: in seconds of time.monotonic().
        """
        if not any(work_class.is_stuck(now) for work_class in work.CLASSES):
            heartbeat.beat(now)
        self.readings.end_slow(now)
        for work_class in work.CLASSES:
            work_class.tend(now)
        self._ticks += 1
        while self._opening and self._opening[0][0] < self._ticks:
            self._opening.popleft()[1].close()
        while self._paced and self._paced[0][0] < now:
            self._paced.popleft()[1]()
        self.connections.drop_slow_readers(now)


def without_prefix(path: str) -> str:
    """Return a path without TALLYBOOK_URL_PREFIX, which the proxy may or may not have removed."""
    prefix = settings.FORCE_SCRIPT_NAME
    return path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path


def environ_of(scope: Any, path: str, body: bytes) -> Environ:
    """Return a request as WSGI has it (PEP 3333).

    A header with an underscore is dropped, because WSGI could not tell it from the one with a
    hyphen, which a proxy may have set.
    """
    host, _, port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _latin1(path),
        "QUERY_STRING": _latin1(scope.query_string),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
    }
    headers = scope.headers
    names = set()
    for name, value in headers.items():
        names.add(name)
        if "_" in name:
            continue
        key = _header_key(name)
        if key in environ:
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        environ[key] = value
    if len(names) < len(headers):
        # granian leaves out values that are not ASCII. Headers of which none is left are empty and
        # not missing, so that an idempotency key is rejected and not ignored.
        for name in set(headers.keys()) - names:
            if "_" not in name:
                environ[_header_key(name)] = ""
    if "HTTP_HOST" not in environ and scope.authority:
        environ["HTTP_HOST"] = scope.authority
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ


@lru_cache(maxsize=256)
def _header_key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _latin1(text: str) -> str:
    """Return the UTF-8 of a text as WSGI has it."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _large_file(response: HttpResponseBase) -> str | None:
    """Return the path of the file that a response sends, or None to send it from memory."""
    file = getattr(response, "file_to_stream", None)
    if file is None or int(response.get("Content-Length", "0")) < FILE_BYTES:
        return None
    # A part of a file, as whitenoise answers Range, has no descriptor.
    with suppress(AttributeError, OSError):
        descriptor: int = file.fileno()
        # A temporary file has no other name.
        return file.name if isinstance(file.name, str) else f"{DESCRIPTORS}{descriptor}"
    return None


application = Application()
# Before the first request, which would wait for it.
description()
