"""Post one message to a URL that anyone may have chosen, within a bounded time and memory.

Each attempt looks the name up again, and connects to the address that was checked. Redirects are
not followed, and proxies of the environment are not used, because both would lead elsewhere.
"""

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.parse import urlsplit

from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from automations.webhooks.addresses import Blocked, LookupFailed, permitted_addresses
from config import __version__

# Of an attempt, from the look-up of the name to the end of the response.
DEADLINE_SECONDS = 20.0
# So much is read, so that a receiver is not interrupted while it answers, and so much is kept.
MAX_READ_BYTES = 64 * 1024
KEEP_BYTES = 1024
MAX_REASON_LENGTH = 300
MAX_ADDRESSES = 4
MIN_TIMEOUT_SECONDS = 0.001
MAX_RETRY_AFTER_SECONDS = 3600
DEFAULT_PORTS = {"http": 80, "https": 443}


class Answer(NamedTuple):
    """What came of an attempt.

    Attributes:
        status: of the response, or None if there was none.
        error: a sentence if there was none, or "".
        text: the first kilobyte of the response.
        retry_after: the seconds that the receiver asks to wait, an hour at most, or None.
    """

    status: int | None
    error: str = ""
    text: str = ""
    retry_after: int | None = None


class _Guard:
    """A second handle of a connection, by which its deadline ends it, whatever is going on.

    A time-out of a socket is that of one read. A receiver that sends a byte a second would never
    reach it, neither within TLS, nor the headers, nor the body.
    """

    _handle: socket.socket | None = None
    is_over = False

    def keep(self, connected: socket.socket) -> socket.socket:
        """Remember a connection, and return it."""
        # TLS detaches the socket that it wraps, so that only a copy stays usable.
        self._handle = connected.dup()
        if self.is_over:
            self.end()
        return connected

    def end(self) -> None:
        """End the connection. Who reads from it gets an error."""
        self.is_over = True
        if self._handle:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the handle."""
        if self._handle:
            self._handle.close()


class _FinalResponse(HTTPResponse):
    """The final response of a receiver, which may send some of the status 1xx before."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # `begin` ignores a 100 with its headers, and takes 102 and 103 for the final response.
        if HTTPStatus.PROCESSING <= status < HTTPStatus.OK:
            status = HTTPStatus.CONTINUE
        return version, status, reason


class _GuardedHTTP(HTTPConnection):
    guard: _Guard
    response_class = _FinalResponse

    @override
    def _new_conn(self) -> socket.socket:
        return self.guard.keep(super()._new_conn())


class _GuardedHTTPS(HTTPSConnection):
    guard: _Guard
    response_class = _FinalResponse

    @override
    def _new_conn(self) -> socket.socket:
        return self.guard.keep(super()._new_conn())


def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Post a message, and return what came of it. Never raises for what the receiver does.

    Args:
        url: a URL that `check_url` has accepted.
        headers: those of the signature.
        body: JSON.
    """
    until = time.monotonic() + DEADLINE_SECONDS
    parts = urlsplit(url)
    host, scheme = (parts.hostname or "").rstrip("."), parts.scheme
    port = parts.port or DEFAULT_PORTS[scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {
        "Host": parts.netloc,
        "User-Agent": f"Tallybook/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/json",
        **headers,
    }
    guard = _Guard()
    timer = threading.Timer(max(0.0, until - time.monotonic()), guard.end)
    timer.daemon = True
    timer.start()
    try:
        addresses = permitted_addresses(scheme, host, port, until)[:MAX_ADDRESSES]
        connection = _connect(scheme, host, port, addresses, until, guard)
        try:
            connection.request("POST", target, body=body, headers=sent, preload_content=False)
            response = connection.getresponse()
            # An end within the headers looks like their end.
            if guard.is_over:
                raise TimeoutError
            return _read(response, until)
        finally:
            connection.close()
    except (Blocked, LookupFailed) as error:
        return Answer(None, str(error))
    except (OSError, HTTPError, HTTPException, ValueError) as error:
        return Answer(None, _sentence(error, until))
    finally:
        timer.cancel()
        guard.close()


def _connect(
    scheme: str, host: str, port: int, addresses: list[str], until: float, guard: _Guard
) -> HTTPConnection:
    """Return a connection to the first of the addresses that accepts one.

    Raises:
        OSError, urllib3.exceptions.HTTPError: none does, within the time.
    """
    for left in range(len(addresses), 0, -1):
        address = addresses[-left]
        # One that drops packets leaves time for the next.
        timeout = max(MIN_TIMEOUT_SECONDS, (until - time.monotonic()) / left)
        connection: _GuardedHTTP | _GuardedHTTPS
        if scheme == "https":
            # OpenSSL verifies the certificate of this name, not of the address.
            connection = _GuardedHTTPS(address, port, timeout=timeout, server_hostname=host)
        else:
            connection = _GuardedHTTP(address, port, timeout=timeout)
        connection.guard = guard
        try:
            connection.connect()
        except (OSError, HTTPError):
            connection.close()
            guard.close()
            if left == 1:
                raise
        else:
            connection.timeout = max(MIN_TIMEOUT_SECONDS, until - time.monotonic())
            return connection
    raise LookupFailed(f"{host} leads to no address.")


def _read(response: BaseHTTPResponse, until: float) -> Answer:
    """Return status and beginning of a response. The status counts, however the body ends."""
    text = bytearray()
    number = 0
    with suppress(OSError, HTTPError, HTTPException, ValueError):
        while number < MAX_READ_BYTES and time.monotonic() < until:
            piece = response.read1(MAX_READ_BYTES - number, decode_content=False)
            if not piece:
                break
            number += len(piece)
            text += piece[: KEEP_BYTES - len(text)]
    return Answer(
        response.status,
        text=_storable(text.decode("utf-8", "replace")),
        retry_after=_retry_after(response.headers.get("Retry-After", "")),
    )


def _retry_after(value: str) -> int | None:
    """Return the seconds of the header Retry-After, or None. A date is ignored."""
    digits = value.strip()
    if not (digits.isascii() and digits.isdecimal()):
        return None
    # The first digits of a long number exceed the limit as well. Python rejects thousands of them.
    return min(int(digits.lstrip("0")[:10] or "0"), MAX_RETRY_AFTER_SECONDS)


def _sentence(error: Exception, until: float) -> str:
    if time.monotonic() >= until or isinstance(error, TimeoutError):
        return f"There was no response within {DEADLINE_SECONDS:g} seconds."
    return f"There was no response: {_storable(_reason(error))[:MAX_REASON_LENGTH].rstrip('.')}."


def _reason(error: Exception) -> str:
    """Return why there was no response, without the names of Python's classes."""
    # urllib3 repeats the representation of its connection, and keeps the cause.
    cause = error.__cause__ or error
    match cause:
        case ConnectionRefusedError():
            return "the connection was refused"
        case ConnectionError():
            return "the receiver closed the connection"
        case ssl.SSLCertVerificationError():
            return f"the certificate is invalid: {cause.verify_message}"
        case ssl.SSLError(reason=str(reason)):
            return f"TLS failed: {reason.replace('_', ' ').lower()}"
        case OSError(strerror=str(reason)):
            return f"the connection failed: {reason}"
        case BadStatusLine():
            return f"the receiver sends no HTTP, but: {str(cause).strip()}"
    return str(cause)


def _storable(text: str) -> str:
    """Return a text without NUL, because PostgreSQL stores none."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
