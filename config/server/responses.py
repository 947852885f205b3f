"""Run Django for a request that granian has read, and return its response as granian sends it."""

import os
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponseBase
from django.urls import set_script_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["ENGINE"] = "config.server.request_database"
handler: Final[WSGIHandler] = get_wsgi_application()

# Up to this length a file is read into memory and sent like every other response.
FILE_BYTES = 256 * 1024
Environ = dict[str, Any]


class Answer(NamedTuple):
    """A response in the parts that granian sends."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes = b""
    # Sent instead of the content: a path, or an open descriptor, which its receiver closes.
    file: str | int | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the content or the file."""
        if self.file is None:
            return len(self.content)
        return int(dict(self.headers)["Content-Length"])


def respond(environ: Environ, body: bytes) -> Answer:
    """Run Django.

    Args:
        environ: of `environ_of`.
        body: the complete one.
    """
    environ["wsgi.input"] = BytesIO(body)
    set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")
    signals.request_started.send(sender=WSGIHandler, environ=environ)
    response = handler.get_response(WSGIRequest(environ))
    # As Django's own handlers do.
    response._handler_class = WSGIHandler  # type: ignore[attr-defined]
    headers = [*response.items()]
    headers += [("Set-Cookie", morsel.OutputString()) for morsel in response.cookies.values()]
    file = _large_file(response)
    # granian sends no content for HEAD, but it would read the whole file.
    if file is None or environ["REQUEST_METHOD"] == "HEAD":
        answer = Answer(response.status_code, headers, b"" if file else b"".join(response))
    else:
        answer = Answer(
            response.status_code, headers, file=os.dup(file) if isinstance(file, int) else file
        )
    # Before the response is sent, so that the client's next request finds what its signals did.
    response.close()
    return answer


def environ_of(scope: Any, path: str, length: int) -> Environ:
    """Return a request as WSGI has it (PEP 3333), in values that JSON has too.

    A header with an underscore is dropped, because WSGI could not tell it from the one with a
    hyphen, which a proxy may have set.

    Args:
        scope: RSGI's, with its method, query string and headers.
        path: without the prefix.
        length: of the body, in bytes.
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
    environ["CONTENT_LENGTH"] = str(length)
    return environ


@lru_cache(maxsize=256)
def _header_key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _latin1(text: str) -> str:
    """Return the UTF-8 of a text as WSGI has it."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _large_file(response: HttpResponseBase) -> str | int | None:
    """Return the path or descriptor of the file that a response sends, or None for its content."""
    file = getattr(response, "file_to_stream", None)
    if file is None or int(response.get("Content-Length", "0")) < FILE_BYTES:
        return None
    # A part of a file, as whitenoise answers Range, has no descriptor.
    with suppress(AttributeError, OSError):
        descriptor: int = file.fileno()
        # A temporary file has no name, and its descriptor stands for it.
        return file.name if isinstance(file.name, str) else descriptor
    return None
