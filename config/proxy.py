"""Explain requests that fail because the proxy passes another address than the browser has.

An operator sees these explanations on the page and in the log, because a wrong line in the proxy's
configuration has no other trace here.
"""

import logging
import time
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

logger = logging.getLogger(__name__)

LOG_PAUSE_SECONDS = 600.0
MAX_SHOWN = 200
PROTO_HEADER = "HTTP_X_FORWARDED_PROTO"
# kind of fault -> when its next line may be logged, by time.monotonic()
_next_line: dict[str, float] = {}


def log_fault(kind: str, sentences: str) -> None:
    """Log a fault of the proxy's configuration, once in ten minutes for each kind and process.

    Every stranger can cause these lines, so they must not fill the log.
    """
    now = time.monotonic()
    if now >= _next_line.get(kind, now):
        _next_line[kind] = now + LOG_PAUSE_SECONDS
        logger.warning("%s Reported at most once in ten minutes.", sentences)


def form_address_fault(request: HttpRequest) -> str | None:
    """Return why a form from this site looks as one from another, or None if it does not.

    Django compares the same headers: CsrfViewMiddleware in django/middleware/csrf.py.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None and not request.is_secure():
        return None
    named = _address(request.META.get("HTTP_REFERER", "") if origin is None else origin)
    passed = f"{request.scheme}://{request.get_host()}"
    if named == passed:
        return None
    if not named:
        return "Your browser does not say which address the form came from (Origin, Referer)."
    headers = (
        f"Host {_shown(request.META.get('HTTP_HOST'))}, "
        f"X-Forwarded-Proto {_shown(request.META.get(PROTO_HEADER))}, "
        f"TALLYBOOK_HTTPS={str(settings.HTTPS).lower()}"
    )
    return (
        f"The form came from {_shown(named)}, but the proxy passed {_shown(passed)} ({headers}). "
        f"If {_shown(named)} is where you reach Tallybook, {_remedy(named, passed)}."
    )


def protocol_fault(request: HttpRequest) -> str | None:
    """Return why it is unknown whether the browser uses https, or None if the proxy says so.

    A redirect to https would come back the same way and be redirected again, without an end.
    """
    protocol = request.META.get(PROTO_HEADER)
    if (protocol or "").partition(",")[0].strip().lower() in ("http", "https"):
        return None
    return (
        "TALLYBOOK_HTTPS=true needs a proxy that passes X-Forwarded-Proto with http or https "
        '("proxy_set_header X-Forwarded-Proto $scheme;" in nginx). Here the header is '
        f"{_shown(protocol)}."
    )


def host_fault(request: HttpRequest) -> str:
    """Return which Host the server does not answer to."""
    return (
        f"ALLOWED_HOSTS does not have the Host {_shown(request.META.get('HTTP_HOST'))} of this "
        "request."
    )


def _remedy(named: str, passed: str) -> str:
    if named.partition("://")[2] != passed.partition("://")[2]:
        return (
            "let the proxy pass the browser's Host with its port "
            '("proxy_set_header Host $http_host;" in nginx)'
        )
    if settings.HTTPS:
        return "let the proxy pass the browser's protocol in X-Forwarded-Proto"
    return "set TALLYBOOK_HTTPS=true and let the proxy pass X-Forwarded-Proto"


def _address(url: str) -> str:
    """Return scheme, host and port of a URL, or "" if it has none, as Origin: null."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if parts.scheme and host else ""


def _shown(value: str | None) -> str:
    """Return a header as one short line of ASCII, because a stranger may have written it."""
    return "missing" if value is None else ascii(value[:MAX_SHOWN])
