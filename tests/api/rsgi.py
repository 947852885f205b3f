"""Send the requests of the library requests to the RSGI application in this process."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPHeaderDict, HTTPResponse


def load_module() -> ModuleType:
    """Return config.server.rsgi, whose import bounds the statements of this process: undone."""
    with pytest.MonkeyPatch.context() as patch:
        database = settings.DATABASES["default"]
        patch.setitem(database, "ENGINE", database["ENGINE"])
        return importlib.import_module("config.server.rsgi")


class RSGIAdapter(HTTPAdapter):
    """Calls the application instead of sending a request over a socket.

    The request has the bytes and headers that it would have over the socket.
    """

    def __init__(self) -> None:
        super().__init__()
        self.application = load_module().application

    @override
    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        protocol = HTTPProtocol(body_of(request))
        with connections_kept():
            self.application.begin(scope_of(request), protocol)
        [(status, fields, body)] = protocol.sent
        headers = HTTPHeaderDict(fields)
        raw = HTTPResponse(BytesIO(body), headers, status, version=11, preload_content=False)
        return self.build_response(request, raw)


@contextmanager
def connections_kept() -> Iterator[None]:
    """Have Django not close the connection of a test's transaction, as its test client does."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


class Headers(dict[str, str]):
    """Headers as granian has them: it has the names of those that are not ASCII, but no values."""

    @override
    def items(self) -> Any:
        return [(name, value) for name, value in super().items() if value.isascii()]

    @override
    def get(self, name: str, default: Any = None) -> Any:
        value = super().get(name, default)
        return value if value is None or value.isascii() else default


class Completed:
    """A future of granian's that has its result."""

    def __init__(self, result: bytes | Exception) -> None:
        self._result = result

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def cancel(self) -> None:
        """Do nothing, as with every future that has its result."""

    def result(self) -> bytes:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class HTTPProtocol:
    """granian's side of a request: it has the body, whole or in pieces, and gets the response."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = list(pieces)
        self.sent: list[tuple[int, list[tuple[str, str]], bytes]] = []

    def __call__(self) -> Completed:
        return Completed(b"".join(piece for piece in self.pieces if isinstance(piece, bytes)))

    def __aiter__(self) -> "HTTPProtocol":
        return self

    def __anext__(self) -> Completed:
        return Completed(self.pieces.pop(0) if self.pieces else b"")

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if not self.sent:
            self.sent.append((status, headers, body))


def scope_of(request: PreparedRequest) -> SimpleNamespace:
    """Return what granian makes of a request."""
    url = urlsplit(str(request.url))
    headers = {
        text_of(name).lower(): text_of(value).strip(" \t")
        for name, value in request.headers.items()
    }
    return scope(
        method=request.method,
        path=unquote(url.path, errors="replace"),
        query_string=url.query,
        server=f"{url.hostname}:{url.port or 80}",
        scheme=url.scheme,
        headers=Headers({"host": url.netloc} | headers),
    )


def scope(**parts: Any) -> SimpleNamespace:
    """Return an RSGI scope of a GET request, with other parts."""
    usual = {
        "method": "GET",
        "path": "/",
        "query_string": "",
        "server": "localhost:80",
        "client": "127.0.0.1:50000",
        "scheme": "http",
        "http_version": "1.1",
        "authority": None,
        "headers": {"host": "localhost"},
    }
    return SimpleNamespace(**usual | parts)


def text_of(header: str | bytes) -> str:
    return header.decode("latin-1") if isinstance(header, bytes) else header


def body_of(request: PreparedRequest) -> bytes:
    """Return the body of a request: text, bytes, or the chunks of an iterable."""
    body: Any = request.body or b""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b"".join(body)
