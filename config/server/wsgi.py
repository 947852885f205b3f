"""The WSGI application: bodies measured before Django sees them, and the limits of a request."""

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

MIB = 1024 * 1024
PACKED_BODY_PATH = "/subscribers/track-events"
LARGE_BODY_PATHS = (PACKED_BODY_PATH, "/subscribers/bulk-add-update")
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
    return 5 * MIB if path.endswith(LARGE_BODY_PATHS) else MIB


def buffer_body(application: Application) -> Application:
    """Read the whole body before Django does, and refuse what is too long or cut off.

    Django reads CONTENT_LENGTH bytes: a chunked body, which has no length, would be empty. And
    the server does not tell that a body broke off: a form cut in two would be stored as it is.
    """

    def measured(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = read_body(environ)
        if isinstance(body, int):
            return send_error(body, start_response)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        return buffered(application(environ, start_response))

    return measured


def read_body(environ: Environ) -> bytes | int:
    """The body of a request, unpacked, or the status that refuses it."""
    path = environ.get("PATH_INFO", "").rstrip("/")
    limit = body_limit(path)
    packing = environ.get("HTTP_CONTENT_ENCODING", "identity").lower()
    packed = packing == "gzip" and path.endswith(PACKED_BODY_PATH)
    if packing != "identity" and not packed:
        return 415
    if not is_readable(environ.get("CONTENT_TYPE", "")):
        return 415
    length = environ.get("CONTENT_LENGTH") or "0"
    if encoding := environ.get("HTTP_TRANSFER_ENCODING"):
        if encoding.lower() != "chunked":
            return 400
        # JSON and gzip tell by themselves whether they are whole; forms and lines do not.
        if not (packed or environ.get("CONTENT_TYPE", "").lower().startswith("application/json")):
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
    if packed and len(body) <= limit:
        try:
            # No more than is allowed: a bomb is not unpacked.
            body = gzip.GzipFile(fileobj=BytesIO(body)).read(limit + 1)
        except (OSError, EOFError, zlib.error):
            return 400
    return 413 if len(body) > limit else body


def is_readable(content_type: str) -> bool:
    """Whether Django can read the parameters, and reads forms and addresses as UTF-8 by them.

    It has no answer to `charset*=nonsense''x`, and takes any charset that Python knows: with base64
    an address is an error, and UTF-7 has texts in it that cannot be stored.
    """
    if "*" not in content_type and "charset" not in content_type.lower():
        return True
    try:
        _, parameters = parse_header_parameters(content_type)
    except (LookupError, ValueError):
        return False
    return parameters.get("charset", "utf-8").lower() in ("utf-8", "utf8")


def buffered(response: Iterable[bytes]) -> Iterable[bytes]:
    """A response in one piece, which the server sends faster than a stream."""
    if getattr(response, "streaming", True):
        return response
    body = b"".join(response)
    response.close()  # type: ignore[attr-defined]  # Django's responses have it
    return [body]


def send_error(status: int, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without asking Django."""
    body = orjson.dumps(status_error(status))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(STATUS_LINES[status], headers)
    return [body]


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["OPTIONS"]["options"] = REQUEST_OPTIONS
application = buffer_body(get_wsgi_application())
