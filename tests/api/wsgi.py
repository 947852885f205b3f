"""Send the requests of the library requests to the WSGI application in this process."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from django.conf import settings
from django.core.servers.basehttp import get_internal_wsgi_application
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPHeaderDict, HTTPResponse

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def load_application() -> Application:
    """Return the application that the server runs: Django, and the checks of bodies before it."""
    with pytest.MonkeyPatch.context() as patch:
        # Its module limits the statements of every connection that is opened later.
        patch.setitem(settings.DATABASES["default"]["OPTIONS"], "options", "")
        return get_internal_wsgi_application()


class WSGIAdapter(HTTPAdapter):
    """Calls an application instead of sending a request over a socket.

    The request has the bytes and headers that it would have over the socket.
    """

    def __init__(self, application: Application) -> None:
        super().__init__()
        self.application = application

    @override
    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Response:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            started.append((status, headers))

        with connections_kept():
            chunks = self.application(environ_of(request), start_response)
            try:
                body = b"".join(chunks)
            finally:
                if close := getattr(chunks, "close", None):
                    close()
        [(status, fields)] = started
        code, reason = status.split(" ", 1)
        headers = HTTPHeaderDict(fields)
        raw = HTTPResponse(
            BytesIO(body), headers, int(code), version=11, reason=reason, preload_content=False
        )
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


def environ_of(request: PreparedRequest) -> Environ:
    """Return what a WSGI server makes of a request (PEP 3333)."""
    url = urlsplit(str(request.url))
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port or 80),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": url.netloc,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": BytesIO(body_of(request)),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = text_of(name).upper().replace("-", "_")
        is_plain = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        environ[key if is_plain else f"HTTP_{key}"] = text_of(value).strip(" \t")
    return environ


def text_of(header: str | bytes) -> str:
    """Return a header's name or value as WSGI has it."""
    return header.decode("latin-1") if isinstance(header, bytes) else header


def body_of(request: PreparedRequest) -> bytes:
    """Return the body of a request: text, bytes, or the chunks of an iterable."""
    body: Any = request.body or b""
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b"".join(body)
