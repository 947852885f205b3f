"""The RSGI application: read a request, give it to its class of work, and run Django for it.

granian calls `Application.begin` in one of its threads, without asyncio. docs/explanation/
architecture.md tells the way of a request.
"""

import logging
import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from sched import scheduler
from typing import Any

# It prepares Django, which the others need.
from config.server.responses import REQUEST_ID, Answer, environ_of, remote_address, respond

# isort: split
from django.conf import settings

from config import groups, json_log, time_limit
from config.addresses import origin
from config.api.description import description
from config.error_pages import BUSY, error_page_or_json
from config.log_writer import writer
from config.server import heartbeat, work
from config.server.bodies import (
    BodyError,
    Buffer,
    ExpectedBody,
    Reading,
    Readings,
    expected_body,
)
from config.server.connections import Connections
from config.server.cors import Headers, cors_headers, preflight_headers
from config.server.handover import LostAnswer, ask, encode
from config.server.metrics import GONE, PROBES, metrics
from config.server.queue import START_BYTES
from config.server.target import target_of

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
# Responses of this length on may wait in memory for a client that does not read.
LARGE_BYTES = 64 * 1024
# granian opens a file after it was told its name, and does not say when. Its descriptor stays open
# for ten seconds in which this process runs, because the number may be another file's afterwards.
OPENING_TICKS = round(10 / TICK_SECONDS)
# Of a body that is not read to its end.
ENDS_CONNECTION = (400, 408, 413)
# Who sends too many requests gets each 429 or 503 between so many seconds later. Which of them
# differs, so that clients that began together do not go on together.
PACE_SECONDS = (0.3, 0.7)
# After a large response its place in its class rests, because sending costs the processor that
# tracking needs.
BYTES_PER_SECOND, MAX_REST_SECONDS = 8 * 1024 * 1024, 1.0
HEALTHY = b'{"status": "ok"}'
LOST = (
    "The process that answered the request died, or failed. What the request should change may be "
    "changed or not."
)


class Request:
    """A request, from its headers to its response. Any thread may have it, one at a time."""

    __slots__ = (
        *("_asked", "_body", "_class", "_held_bytes", "_id", "_is_given_up", "_is_over", "_watch"),
        *("application", "protocol", "scope", "submitted_at", "target"),
    )

    def __init__(self, application: "Application", scope: Any, protocol: Any) -> None:
        """Prepare to answer a request.

        Args:
            application: that got it.
            scope: RSGI's, with its method, path and headers.
            protocol: RSGI's, which reads its body and sends its response.
        """
        self.application, self.scope, self.protocol = application, scope, protocol
        self.target = target_of(scope)
        self.submitted_at = 0.0
        self._body = b""
        self._held_bytes = 0
        self._id: str | None = None
        if json_log.is_written():
            self._id = json_log.request_id(scope.headers.get("x-request-id"))
        self._is_given_up = self._is_over = False
        method, path, query = self.target
        self._class = work.class_of(method, path.rstrip("/"), query)
        # The connection to an application process while it answers.
        self._asked: socket.socket | None = None
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
        if body and self._class is work.API and self.target.method in ("GET", "HEAD"):
            # Its parameters may be there, filters among them.
            self._class = work.MANY
        self._class.submit(self)

    def answer(self) -> None:
        """Run Django, or hand the request over to a process that does, and send the response."""
        json_log.set_request_id(self._id)
        try:
            environ = environ_of(self.scope, self.target, len(self._body))
            environ[REQUEST_ID] = self._id
            if self._class.handover is None:
                time_limit.begin(is_read=False)
                with groups.expected() if self._body else nullcontext():
                    answer = respond(environ, self._body)
            else:
                message = encode((self.submitted_at, environ), self._body)
                with self._class.handover.put(message[:START_BYTES]) as self._asked:
                    if self._is_given_up:
                        self._record(GONE, 0)
                        return
                    answer = ask(self._asked, message[START_BYTES:])
            self._send(answer)
            if answer.size >= LARGE_BYTES:
                self.application.connections.watch(self.scope.client)
                time.sleep(min(MAX_REST_SECONDS, answer.size / BYTES_PER_SECOND))
        except LostAnswer:
            self.reject(500, LOST)
        except BaseException:
            logger.exception("A request failed outside Django's views.")
            self.reject(500)
        finally:
            self._end()
            time_limit.end()

    def reject(self, status: int, explanation: str | None = None) -> None:
        """Send an error without Django. A response that was sent before stays."""
        self._end()
        response = error_page_or_json(self.target.path, status, explanation)
        if status in ENDS_CONNECTION:
            response["Connection"] = "close"
        headers = self._completed([*response.items()])
        self._record(status, len(response.content))
        self.protocol.response_bytes(status, headers, response.content)

    def reject_busy(self) -> None:
        """Send 503, because too many requests of the same class wait."""
        self.application.send_later(partial(self.reject, 503, BUSY))

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
            self._record(GONE, 0)
        return self._is_given_up

    def _give_up(self, future: Any) -> None:
        self._is_given_up = not future.cancelled()
        if self._is_given_up and self._asked:
            # It may have been closed.
            with suppress(OSError):
                self._asked.shutdown(socket.SHUT_WR)

    def _end(self) -> None:
        self.application.buffer.release(self._held_bytes)
        self._held_bytes = 0
        self._is_over = True
        if (watch := self._watch) is not None:
            # It has this object, and would stay as long as the connection.
            self._watch = None
            watch.cancel()

    def _record(self, status: int, size: int) -> None:
        """Count the request, and add it to the access log.

        Args:
            status: of the response, or GONE.
            size: of its content, in bytes.
        """
        if self._is_given_up:
            status = GONE
        now = time.monotonic()
        seconds = now - (self.submitted_at or now)
        is_probe = self.target.path in work.HEALTH_PATHS
        name = PROBES if is_probe else self._class.name
        metrics.count(name, status, seconds)
        if settings.ACCESS_LOG:
            forwarded = self.scope.headers.get("x-forwarded-for") or ""
            fields = {
                "log": "access",
                "request": self._id,
                "client": origin(remote_address(self.scope), forwarded),
                "method": json_log.shown_path(self.target.method),
                "path": json_log.shown_path(self.target.path),
                "status": status,
                "ms": round(seconds * 1000, 1),
                "bytes": size,
                "work": name,
            }
            writer.add(json_log.encode(fields), at_once=False)

    def _completed(self, headers: Headers) -> Headers:
        """Return response headers with the request's id, and with those of CORS.

        These let a page of another site read the response.
        """
        if self._id:
            headers = [*headers, ("X-Request-ID", self._id)]
        site = self.scope.headers.get("origin")
        if site is None or work.is_page(self.target.path):
            return headers
        return headers + cors_headers(site)

    def _send(self, answer: Answer) -> None:
        status, headers, content, file = answer
        headers = self._completed(headers)
        self._record(status, answer.size)
        if file is not None:
            if isinstance(file, int):
                self.application.close_later(file)
                file = f"/proc/self/fd/{file}"
            # granian reads it as fast as the client does.
            self.protocol.response_file(status, headers, file)
        elif status == 429:
            send = partial(self.protocol.response_bytes, status, headers, content)
            self.application.send_later(send)
        else:
            self.protocol.response_bytes(status, headers, content)


class Application:
    """Answers the requests of one worker process."""

    def __init__(self) -> None:
        self.buffer, self.readings = Buffer(), Readings()
        self.connections = Connections()
        self._ticks = 0
        self._opening: deque[tuple[int, int]] = deque()
        self._later = scheduler(time.monotonic)

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
            path = request.target.path
            is_question = scope.method == "OPTIONS" and not work.is_page(path)
            if is_question and (headers := preflight_headers(scope.headers)):
                protocol.response_bytes(200, headers, b"")
                return
            expected = expected_body(path.rstrip("/"), scope.headers)
            if expected is None:
                request.submit()
            else:
                request.read(expected)
        except BodyError as error:
            request.reject(error.status)
        except BaseException:
            logger.exception("A request failed before Django.")
            request.reject(500)

    def close_later(self, descriptor: int) -> None:
        """Close a file when granian has opened it."""
        self._opening.append((self._ticks + OPENING_TICKS, descriptor))

    def send_later(self, send: Callable[[], None]) -> None:
        """Send a response after PACE_SECONDS, because its client is too fast. No thread waits."""
        self._later.enter(random.uniform(*PACE_SECONDS), 0, send)  # noqa: S311

    def send_due(self) -> float | None:
        """Send the responses that are due, and return the seconds until the next one, if any."""
        return self._later.run(blocking=False)

    def _keep_time(self) -> None:
        next_tick = 0.0
        while True:
            try:
                # No response that is added later is due before the next tick.
                pause = self.send_due() or TICK_SECONDS
                if (now := time.monotonic()) >= next_tick:
                    next_tick = now + TICK_SECONDS
                    self.tend(now)
                time.sleep(min(pause, max(0.0, next_tick - time.monotonic())))
            except Exception:
                logger.exception("The time limits could not be kept.")

    def tend(self, now: float) -> None:
        """End what has taken too long.

        Args:
            now: in seconds of time.monotonic().
        """
        # The others wait for processes that beat themselves.
        if not work.TRACKING.is_stuck(now):
            heartbeat.beat(now)
        self.readings.end_slow(now)
        for work_class in work.CLASSES:
            work_class.tend(now)
        metrics.observe()
        self._ticks += 1
        while self._opening and self._opening[0][0] < self._ticks:
            os.close(self._opening.popleft()[1])
        self.connections.drop_slow_readers(now)


application = Application()
# Before the first request, which would wait for it.
description()
