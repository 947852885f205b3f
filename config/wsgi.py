"""The WSGI application: bodies measured before Django sees them, and the limits of a request."""

import os
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import orjson
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.errors import status_error

MIB = 1024 * 1024
LARGE_BODY_PATHS = ("/subscribers/track-events", "/subscribers/bulk-add-update")
STATUS_LINES = {
    400: "400 Bad Request",
    411: "411 Length Required",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
}
# For requests only: a command may wait for a lock, and a migration may take its time.
# The zone is Django's own: said here, it costs no statement of its own at each new connection.
REQUEST_OPTIONS = "-c lock_timeout=2000 -c statement_timeout=5000 -c TimeZone=UTC"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def body_limit(path: str) -> int:
    """The most bytes a body may have at a path: 1 MiB, 5 MiB where many are sent at once."""
    return 5 * MIB if path.rstrip("/").endswith(LARGE_BODY_PATHS) else MIB


def measure_bodies(application: Application) -> Application:
    """Read the whole body before Django does, and refuse what is too long or cut off.

    Django reads CONTENT_LENGTH bytes: a chunked body, which has no length, would be empty. And
    the server does not tell that a body broke off: a form cut in two would be stored as it is.
    """

    def measured(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        limit = body_limit(environ.get("PATH_INFO", ""))
        length = environ.get("CONTENT_LENGTH") or "0"
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            return refuse(415, start_response)
        if encoding := environ.get("HTTP_TRANSFER_ENCODING"):
            if encoding.lower() != "chunked":
                return refuse(400, start_response)
            # JSON tells by itself whether it is whole; a form does not.
            if not environ.get("CONTENT_TYPE", "").lower().startswith("application/json"):
                return refuse(411, start_response)
            body = environ["wsgi.input"].read(limit + 1)
            if not body:
                return refuse(400, start_response)
        elif not (length.isascii() and length.isdigit()):
            return refuse(400, start_response)
        elif int(length) > limit:
            return refuse(413, start_response)
        else:
            body = environ["wsgi.input"].read(int(length)) if length != "0" else b""
            if len(body) < int(length):
                return refuse(400, start_response)
        if len(body) > limit:
            return refuse(413, start_response)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        return whole(application(environ, start_response))

    return measured


def whole(response: Iterable[bytes]) -> Iterable[bytes]:
    """A response in one piece, which the server sends faster than a stream."""
    if getattr(response, "streaming", True):
        return response
    body = b"".join(response)
    response.close()  # type: ignore[attr-defined]  # Django's responses have it
    return [body]


def refuse(status: int, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without asking Django."""
    body = orjson.dumps(status_error(status))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(STATUS_LINES[status], headers)
    return [body]


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["OPTIONS"]["options"] = REQUEST_OPTIONS
application = measure_bodies(get_wsgi_application())
