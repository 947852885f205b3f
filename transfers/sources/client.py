"""Read JSON from another program's API: slowly, patiently, and with distrust."""

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.response import BaseHTTPResponse

from config import __version__
from crm.jobs import JobError

MAX_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
TIMEOUT = urllib3.Timeout(connect=10, read=60)
# Of a whole response, so that a server that sends a byte a minute ends.
MAX_SECONDS = 300
MAX_REDIRECTS = 3
REDIRECTS = (301, 302, 303, 307, 308)
# The server is busy or broken, and may answer later.
BUSY = (408, 425, 429, 500, 502, 503, 504)
MAX_TRIES = 7
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
# So often is looked whether the job has to stop.
CHECK_SECONDS = 0.5
DEFAULT_PORTS = {"http": 80, "https": 443}
SENTENCES = {
    401: "It does not accept the user and the password, or the token.",
    403: "The user may not read this there.",
}


class SourceRejection(JobError):
    """The source answers with an error, whose JSON is `body`, or None."""

    def __init__(self, message: str, body: Any) -> None:
        super().__init__(message)
        self.body = body


class NotFound(SourceRejection):
    """The URL does not exist at the source."""


class JsonClient:
    """A client of one host with one connection and a bounded rate of requests."""

    def __init__(
        self, url: str, headers: Mapping[str, str], rate: float, check: Callable[[], object]
    ) -> None:
        """Prepare a connection.

        Args:
            url: of the host. A path is ignored.
            headers: of each request, with the credentials.
            rate: requests a second at most.
            check: is called while the client waits. It raises if the job has to stop.

        Raises:
            JobError: the URL or the proxy of the environment is invalid.
        """
        self._origin = _origin(urlsplit(url))
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"Tallybook/{__version__}",
            **headers,
        }
        self._seconds = 1 / rate
        self._check = check
        self._next = 0.0
        self._pool = _pool(urlsplit(url))

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of a URL. After temporary errors it tries again for about a minute.

        Raises:
            NotFound: the source has no such URL.
            JobError: any other error that trying again does not mend.
        """
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"
        pause = FIRST_PAUSE
        for last in (False,) * (MAX_TRIES - 1) + (True,):
            self._wait(self._next - time.monotonic())
            self._next = time.monotonic() + self._seconds
            try:
                status, headers, body = self._follow(url)
            except HTTPError as error:
                if last:
                    raise JobError(f"{_shown(url)} cannot be read: {error}.") from None
                status, headers, body = 0, {}, b""
            if status and (status not in BUSY or last):
                return read_json(url, status, body)
            self._wait(_retry_after(headers) or pause)
            pause = min(2 * pause, MAX_PAUSE)
        raise AssertionError

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._check()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, CHECK_SECONDS))
            self._check()

    def _follow(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of a URL, also behind redirects to the same host.

        Raises:
            JobError: it leads to another host, which must not get the credentials.
            urllib3.exceptions.HTTPError: a network error.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response = self._pool.request(
                "GET",
                url,
                headers=self._headers,
                redirect=False,
                retries=False,
                timeout=TIMEOUT,
                preload_content=False,
                decode_content=False,
            )
            try:
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or not location:
                    return response.status, response.headers, _read(url, response)
                response.drain_conn() if _is_short(response) else response.close()
            finally:
                response.release_conn()
            try:
                target = urljoin(url, location)
            except ValueError:
                raise JobError(f"{_shown(url)} leads to no URL.") from None
            if not self._is_same_host(urlsplit(target)):
                host = urlsplit(target).netloc.rpartition("@")[2]
                raise JobError(f"{_shown(url)} leads to {host}. Use the URL of that site.")
            url = target
        raise JobError(f"{_shown(url)} leads to other URLs without an end.")

    def _is_same_host(self, target: SplitResult) -> bool:
        """Return whether a URL has the host of this client. HTTP may become HTTPS."""
        try:
            scheme, host, port = _origin(target)
        except JobError:
            return False
        own_scheme, own_host, own_port = self._origin
        if own_scheme == "http" and scheme == "https":
            return host == own_host and port in (own_port, DEFAULT_PORTS["https"])
        return (scheme, host, port) == self._origin


def site_url(text: str) -> str:
    """Return the URL of a site without a slash at its end. Without a scheme it is HTTPS.

    Raises:
        JobError: it is no URL.
    """
    url = text.strip().rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    parts = split_url(url)
    _origin(parts)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise JobError("The URL has to be that of the site alone, without a user or a password.")
    return url


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        JobError: it is no URL.
    """
    try:
        return urlsplit(url)
    except ValueError:
        raise JobError("This is no URL.") from None


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP Basic."""
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == -1:
        raise JobError(f"{_shown(parts.geturl())} is no URL of a site.")
    return parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme]


def _pool(parts: SplitResult) -> urllib3.PoolManager:
    """Return a pool of one connection, through the proxy that the environment names."""
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(num_pools=1, maxsize=1)
    url = proxy if "://" in proxy else f"http://{proxy}"
    user = urlsplit(url)
    headers = (
        urllib3.make_headers(proxy_basic_auth=f"{user.username}:{user.password or ''}")
        if user.username
        else None
    )
    try:
        return urllib3.ProxyManager(url, proxy_headers=headers, num_pools=1, maxsize=1)
    except (LocationParseError, ValueError) as error:
        raise JobError(f"The proxy of the environment is invalid: {error}.") from None


def _is_short(response: BaseHTTPResponse) -> bool:
    """Return whether the body of a redirect is worth reading, to keep the connection."""
    length = response.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) <= CHUNK_BYTES


def _read(url: str, response: BaseHTTPResponse) -> bytes:
    """Return the body of a response.

    Raises:
        JobError: it is too long, or arrives too slowly.
        urllib3.exceptions.HTTPError: a network error, also in the middle of the body.
    """
    body = bytearray()
    until = time.monotonic() + MAX_SECONDS
    while piece := response.read1(CHUNK_BYTES, decode_content=False):
        body += piece
        if len(body) > MAX_BYTES or time.monotonic() > until:
            response.close()
            raise JobError(f"The response of {_shown(url)} is too long.")
    return bytes(body)


def read_json(url: str, status: int, body: bytes) -> Any:
    """Return the JSON of a response.

    Raises:
        NotFound: the status is 404.
        JobError: it is an error, or no JSON.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if status == 404:
        raise NotFound(f"{_shown(url)} does not exist: is this the URL of the site?", value)
    if status in SENTENCES:
        raise JobError(f"{_shown(url)} answers {status}. {SENTENCES[status]}")
    if not isinstance(value, dict | list):
        kind = "HTML" if body.lstrip()[:1] == b"<" else "something else"
        raise JobError(
            f"{_shown(url)} answers {status} with {kind} instead of JSON: "
            "is this the URL of the site?"
        )
    if status >= 300:
        message = value.get("message") if isinstance(value, dict) else None
        detail = f": {message[:200].rstrip('.')}" if isinstance(message, str) else ""
        raise SourceRejection(f"{_shown(url)} answers {status}{detail}.", value)
    return value


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that the source asks to wait, or 0. A date is ignored."""
    text = headers.get("Retry-After", "")
    return min(float(text), MAX_PAUSE) if text.isdecimal() else 0


def _shown(url: str) -> str:
    """Return a URL for messages: without a user, and short."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()[:300]
