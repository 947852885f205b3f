"""Let pages of other sites call the API from a browser, as WordPress does (CORS).

No response lets a browser add cookies or a login that it remembers: a page sends its own password.
"""

from typing import Any

from django.conf import settings

Headers = list[tuple[str, str]]

# Of a preflight. A browser lets a page send a few more by itself.
PREFLIGHT: Headers = [
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS"),
    (
        "Access-Control-Allow-Headers",
        "Accept, Api-Token, Authorization, Content-Encoding, Content-Type, Idempotency-Key, "
        "X-HTTP-Method-Override, X-Requested-With, X-WP-Nonce",
    ),
    # In seconds. Chromium keeps it for two hours at most.
    ("Access-Control-Max-Age", "7200"),
    ("Content-Length", "0"),
]
EXPOSED = ("Access-Control-Expose-Headers", "Idempotency-Replayed, Retry-After")


def cors_headers(origin: str) -> Headers:
    """Return what lets a page of this origin read a response, or nothing if it may not."""
    allowed = settings.CORS_ALLOWED_ORIGINS
    if "*" in allowed:
        return [("Access-Control-Allow-Origin", "*"), EXPOSED]
    if origin in allowed:
        return [("Access-Control-Allow-Origin", origin), EXPOSED, ("Vary", "Origin")]
    return []


def preflight_headers(headers: Any) -> Headers:
    """Return the response to the question of a browser whether a page may send a request.

    With TALLYBOOK_HTTPS a page may ask over https alone, because its password would be readable.

    Args:
        headers: of an OPTIONS request.

    Returns:
        Nothing if it is no such question, or the page may not.
    """
    origin = headers.get("origin")
    if origin is None or headers.get("access-control-request-method") is None:
        return []
    if settings.HTTPS and (headers.get("x-forwarded-proto") or "").lower() != "https":
        return []
    allowed = cors_headers(origin)
    return allowed and allowed + PREFLIGHT
