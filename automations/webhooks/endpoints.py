"""Endpoints: the URLs of webhooks, their secrets, and whether they are switched on."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

from django.db.models.functions import Now

from automations.models import Endpoint
from automations.webhooks.signing import new_secret
from config.database import insert_new

MAX_URL_LENGTH = 2000
# The deliverer asks each endpoint for its next delivery.
MAX_ENDPOINTS = 1000
# How long messages are signed by the old secret too.
KEEP_OLD_SECRET = timedelta(days=1)
# After so many failures in a row an endpoint is tried by one delivery at a time.
BREAKER_FAILURES = 5
# After so many days of nothing but failures it is switched off.
DISABLE_AFTER_DAYS = 5
# Those of a path and a query as they are sent. Others have to be percent-encoded.
PRINTABLE = re.compile(r"[!-~]+")
HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*", re.IGNORECASE)


class InvalidWebhook(ValueError):
    """A URL or a message that no webhook can have. The message of the error tells why."""


def check_url(url: str) -> str:
    """Return a URL of an endpoint without whitespace around it.

    Whether its address is public is checked at each attempt, because names change.

    Raises:
        InvalidWebhook: it is too long, or not a URL of http or https without credentials.
    """
    url = url.strip()
    if len(url) > MAX_URL_LENGTH:
        raise InvalidWebhook(f"The URL may have {MAX_URL_LENGTH:,} characters at most.")
    if not PRINTABLE.fullmatch(url) or "\\" in url:
        raise InvalidWebhook(
            "The URL may have ASCII characters without whitespace and \\ only. Write a host name "
            "as DNS does, such as xn--bcher-kva.example, and other characters percent-encoded."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidWebhook("This is no URL.") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidWebhook("The URL has to begin with https: or http:.")
    if "@" in parts.netloc:
        raise InvalidWebhook("The URL may not have a user or a password.")
    if "#" in url:
        raise InvalidWebhook("The URL may not have a part behind #, because it is never sent.")
    if not HOST.fullmatch(host) or port == 0:
        raise InvalidWebhook("The URL has no valid host or port.")
    return url


def endpoint_of(url: str) -> Endpoint:
    """Return the endpoint of a URL, which is created with a new secret if there is none.

    Raises:
        InvalidWebhook: the URL is invalid, or there are too many endpoints.
    """
    url = check_url(url)
    if endpoint := Endpoint.objects.filter(url=url).first():
        return endpoint
    if Endpoint.objects.count() >= MAX_ENDPOINTS:
        raise InvalidWebhook(
            f"There may be {MAX_ENDPOINTS:,} URLs of webhooks at most. What differs between "
            "contacts belongs into the data."
        )
    insert_new(Endpoint(url=url, secret=new_secret()))
    return Endpoint.objects.get(url=url)


def rotate_secret(endpoint: Endpoint) -> None:
    """Give an endpoint a new secret. Messages are signed by the old one too, for a day."""
    Endpoint.objects.filter(pk=endpoint.pk).update(
        secret=new_secret(), old_secret=endpoint.secret, old_secret_until=Now() + KEEP_OLD_SECRET
    )


def delete_endpoint(endpoint: Endpoint) -> None:
    """Send nothing to an endpoint any more. A step that posts to its URL creates it again.

    automations/deletion.py deletes the deliveries within an hour, because they may be millions.
    """
    Endpoint.objects.filter(pk=endpoint.pk).update(deleted_at=Now())


def switch_on(endpoint: Endpoint) -> None:
    """Send to an endpoint again, at once, as if it had never failed."""
    Endpoint.objects.filter(pk=endpoint.pk).update(
        enabled=True, disabled_reason="", failures=0, failing_since=None, retry_at=Now()
    )


def switch_off(endpoint: Endpoint, reason: str) -> None:
    """Send nothing to an endpoint until it is switched on. Its deliveries wait."""
    Endpoint.objects.filter(pk=endpoint.pk).update(enabled=False, disabled_reason=reason)
