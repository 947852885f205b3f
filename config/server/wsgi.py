"""The WSGI application: it checks bodies before Django reads them, and limits statements."""

import gzip
import os
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import orjson
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from config.api.errors import status_error
from config.server.heartbeat import answering, start_beating

STATUS_LINES = {
    400: "400 Bad Request",
    411: "411 Length Required",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
}

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def body_limit(path: str) -> int:
    """Return the largest body that a URL's path accepts, in bytes."""
    is_large = path.endswith(settings.LARGE_BODY_PATHS)
    return settings.MAX_LARGE_BODY_BYTES if is_large else settings.MAX_BODY_BYTES


def buffer_body(application: Application) -> Application:
    """Wrap an application so that it gets whole bodies only, of a known length.

    Django reads CONTENT_LENGTH bytes, so a chunked body, which has no length, would be empty. The
    server does not report that a body broke off, so half a form would be stored.
    """

    def buffering(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["PATH_INFO"] = without_prefix(environ.get("PATH_INFO", ""))
        body = read_body(environ)
        if isinstance(body, int):
            return send_error(body, start_response)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        with answering():
            return buffered(application(environ, start_response))

    return buffering


def without_prefix(path: str) -> str:
    """Return a path without TALLYBOOK_URL_PREFIX, which the proxy may or may not have removed."""
    prefix = settings.FORCE_SCRIPT_NAME
    return path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path


def read_body(environ: Environ) -> bytes | int:
    """Return the body of a request, unpacked if it is gzip, or the status that rejects it."""
    path = environ.get("PATH_INFO", "").rstrip("/")
    limit = body_limit(path)
    encoding = environ.get("HTTP_CONTENT_ENCODING", "identity").lower()
    is_gzip = encoding == "gzip" and path.endswith(settings.GZIP_BODY_PATHS)
    if encoding != "identity" and not is_gzip:
        return 415
    if not is_readable(environ.get("CONTENT_TYPE", "")):
        return 415
    length = environ.get("CONTENT_LENGTH") or "0"
    if transfer_encoding := environ.get("HTTP_TRANSFER_ENCODING"):
        if transfer_encoding.lower() != "chunked":
            return 400
        # JSON and gzip show by themselves whether they are whole. Forms and lines do not.
        if not (is_gzip or environ.get("CONTENT_TYPE", "").lower().startswith("application/json")):
            return 411
        body = environ["wsgi.input"].read(limit + 1)
        if not body:
            return 400
    elif not (length.isascii() and length.isdigit()):
        return 400
    elif int(length) > limit:
        return 413
    else:
        body = environ["wsgi.input"].read(int(length)) if length != "0" else b""
        if len(body) < int(length):
            return 400
    if is_gzip and len(body) <= limit:
        try:
            # No more than is allowed, so that a gzip bomb is not unpacked.
            body = gzip.GzipFile(fileobj=BytesIO(body)).read(limit + 1)
        except (OSError, EOFError, zlib.error):
            return 400
    return 413 if len(body) > limit else body


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


def buffered(response: Iterable[bytes]) -> Iterable[bytes]:
    """Return a response in one piece, because the server sends that faster than a stream."""
    if getattr(response, "streaming", True):
        return response
    body = b"".join(response)
    response.close()  # type: ignore[attr-defined]  # Django's responses have it
    return [body]


def send_error(status: int, start_response: StartResponse) -> Iterable[bytes]:
    """Answer an error of STATUS_LINES without Django."""
    body = orjson.dumps(status_error(status))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(STATUS_LINES[status], headers)
    return [body]


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["ENGINE"] = "config.server.request_database"
application = buffer_body(get_wsgi_application())
# It needs the models, which exist from here on.
from config.api.description import description  # noqa: E402

# Before the first request, which would wait for it.
description()
start_beating()
