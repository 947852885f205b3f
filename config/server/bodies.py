"""Read request bodies: which are accepted, how long they may be, and how slowly they may arrive.

Nothing here holds a thread while a client sends.
"""

import gzip
import logging
import threading
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple, Protocol

from django.conf import settings
from django.utils.http import parse_header_parameters

from config.api.json_text import JSON_TYPE

logger = logging.getLogger(__name__)

# A body has these seconds, and a second more for each BYTES_PER_SECOND that have arrived.
BODY_SECONDS, BYTES_PER_SECOND = 5.0, 16 * 1024
# Up to this length a body is read in one piece.
PIECE_BYTES = 64 * 1024
# Longer than any program's, because each piece of a chunked body costs as much as a short request.
MAX_PIECES = 8192
# All longer bodies of a worker's requests together, until the requests are answered.
MAX_BUFFERED_BYTES = 64 * 1024 * 1024


class Headers(Protocol):
    """Request headers by their names in lower case, as RSGI has them."""

    def get(self, key: str) -> str | None:
        """Return the first value of a header."""


class BodyError(Exception):
    """A body that is not accepted."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ExpectedBody(NamedTuple):
    """What the headers of a request say about its body."""

    # In bytes; None if it comes in chunks.
    length: int | None
    # In bytes, also of what a gzip body unpacks to.
    limit: int
    is_gzip: bool

    @property
    def is_short(self) -> bool:
        """Return whether the body is read in one piece."""
        return self.length is not None and self.length <= PIECE_BYTES

    def check(self, body: bytes) -> bytes:
        """Return a body as it arrived, unpacked if it is gzip.

        Raises:
            BodyError: 400 if it broke off or cannot be unpacked, 413 if it is too long.
        """
        if self.length is None:
            if not body:
                raise BodyError(400)
        elif len(body) < self.length:
            raise BodyError(400)
        if self.is_gzip and len(body) <= self.limit:
            try:
                # No more than is allowed, so that a gzip bomb is not unpacked.
                body = gzip.GzipFile(fileobj=BytesIO(body)).read(self.limit + 1)
            except (OSError, EOFError, zlib.error):
                raise BodyError(400) from None
        if len(body) > self.limit:
            raise BodyError(413)
        return body


def body_limit(path: str) -> int:
    """Return the largest body that a URL's path accepts, in bytes."""
    is_large = path.endswith(settings.LARGE_BODY_PATHS)
    return settings.MAX_LARGE_BODY_BYTES if is_large else settings.MAX_BODY_BYTES


def expected_body(path: str, headers: Headers) -> ExpectedBody | None:
    """Return what to read of a request, or None if it has no body.

    Args:
        path: of the URL, without its trailing slash.
        headers: of the request.

    Raises:
        BodyError: 400, 411, 413 or 415.
    """
    encoding = headers.get("content-encoding")
    encoding = "identity" if encoding is None else encoding.lower()
    is_gzip = encoding == "gzip" and path.endswith(settings.GZIP_BODY_PATHS)
    if encoding != "identity" and not is_gzip:
        raise BodyError(415)
    content_type = headers.get("content-type") or ""
    if not is_readable(content_type):
        raise BodyError(415)
    if transfer_encoding := headers.get("transfer-encoding"):
        if transfer_encoding.lower() != "chunked":
            raise BodyError(400)
        # JSON and gzip show by themselves whether they are whole. Forms and lines do not.
        if not (is_gzip or JSON_TYPE.match(content_type)):
            raise BodyError(411)
        return ExpectedBody(None, body_limit(path), is_gzip)
    length = headers.get("content-length") or "0"
    if not (length.isascii() and length.isdigit()):
        raise BodyError(400)
    size, limit = int(length), body_limit(path)
    if size > limit:
        raise BodyError(413)
    return ExpectedBody(size, limit, is_gzip) if size else None


def is_readable(content_type: str) -> bool:
    """Return whether Django can parse a content type, and its charset is UTF-8.

    Django raises for `charset*=nonsense''x` and decodes by any charset that Python knows. Base64
    is an error there, and UTF-7 holds texts that PostgreSQL cannot store.
    """
    if "*" not in content_type and "charset" not in content_type.lower():
        return True
    try:
        _, parameters = parse_header_parameters(content_type)
    except (LookupError, ValueError):
        return False
    return parameters.get("charset", "utf-8").lower() in ("utf-8", "utf8")


class Buffer:
    """Counts the bytes of longer bodies that this worker holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def reserve(self, count: int) -> None:
        """Add bytes that have arrived.

        Raises:
            BodyError: 503, they would be more than MAX_BUFFERED_BYTES.
        """
        with self._lock:
            if self._bytes + count > MAX_BUFFERED_BYTES:
                raise BodyError(503)
            self._bytes += count

    def release(self, count: int) -> None:
        """Subtract bytes whose request has been answered."""
        with self._lock:
            self._bytes -= count


class Readings:
    """The bodies that are being read, so that those that arrive too slowly can be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readings: set[Reading] = set()

    def add(self, reading: "Reading") -> None:
        """Add a body that is being read."""
        with self._lock:
            self._readings.add(reading)

    def end_oldest(self) -> None:
        """End the longer body that has been arriving for the longest time."""
        with self._lock:
            longer = [reading for reading in self._readings if not reading.expected.is_short]
        if longer:
            min(longer, key=lambda reading: reading.started).end()

    def remove(self, reading: "Reading") -> None:
        """Remove a body that has been read, or that never will be."""
        with self._lock:
            self._readings.discard(reading)

    def end_slow(self, now: float) -> None:
        """End the bodies that should have arrived by now, in seconds of time.monotonic()."""
        with self._lock:
            slow = [reading for reading in self._readings if now > reading.until]
        for reading in slow:
            reading.end()


class Reading:
    """The reading of one body.

    granian completes a future with each piece and calls this object back, in any of its threads.
    """

    __slots__ = (
        *("_all", "_future", "_hold", "_on_end", "_pieces", "_protocol", "_size"),
        *("expected", "started", "until"),
    )

    def __init__(
        self,
        expected: ExpectedBody,
        protocol: Any,
        readings: Readings,
        hold: Callable[[int], None],
        on_end: Callable[[bytes | int], None],
    ) -> None:
        """Prepare to read a body.

        Args:
            expected: what the request says about it.
            protocol: granian's, of the request.
            readings: of this worker.
            hold: is called with the bytes of each piece of a longer body, and may raise BodyError.
            on_end: is called with the body, or with the status that rejects it.
        """
        self.expected, self._protocol, self._on_end = expected, protocol, on_end
        self._all, self._hold = readings, hold
        self._pieces: list[bytes] = []
        self._size = 0
        self.started = time.monotonic()
        self.until = self.started + BODY_SECONDS
        self._future: Any = None

    def start(self) -> None:
        """Begin to read."""
        self._all.add(self)
        if self.expected.is_short:
            self._wait_for(self._protocol())
        else:
            # RSGI: an iterator of pieces, which ends with an empty one.
            self._wait_for(anext(aiter(self._protocol)))

    def end(self) -> None:
        """Answer 408, unless the body has been read meanwhile."""
        if (future := self._future) is not None:
            future.cancel()

    def __call__(self, future: Any) -> None:
        """Add a piece that has arrived, and those after it that have arrived meanwhile."""
        # The future has this object, and the garbage collector does not look into futures.
        self._future = None
        try:
            following = self._add(future)
            while following is not None and following.done():
                following = self._add(following)
            if following is not None:
                self._wait_for(following)
        except BaseException:
            # granian ignores what a callback raises, and the client would wait without end.
            logger.exception("A request failed while its body was read.")
            self._finish(500)

    def _add(self, future: Any) -> Any:
        """Add a piece and return the future of the next one, or None at the end."""
        if future.cancelled():
            return self._finish(408)
        try:
            piece = future.result()
        except Exception:  # whatever granian raises when the client breaks off
            return self._finish(400)
        self._pieces.append(piece)
        self._size += len(piece)
        if self.expected.is_short or not piece:
            return self._finish(b"".join(self._pieces))
        try:
            self._hold(len(piece))
        except BodyError as error:
            return self._finish(error.status)
        if self._size > self.expected.limit:
            return self._finish(413)
        if len(self._pieces) > MAX_PIECES:
            return self._finish(400)
        self.until = self.started + BODY_SECONDS + self._size / BYTES_PER_SECOND
        return anext(self._protocol)

    def _wait_for(self, future: Any) -> None:
        self._future = future
        future.add_done_callback(self)

    def _finish(self, result: bytes | int) -> None:
        self._all.remove(self)
        if isinstance(result, bytes):
            try:
                result = self.expected.check(result)
            except BodyError as error:
                result = error.status
        self._on_end(result)
