"""Limit and log wrong credentials of API clients by address, in each worker.

A right credential is never looked at here, so that it passes from any address, at no cost. Wrong
passwords of admin users, which are guessed more easily, are limited in config/login.py.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import wraps
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from config.login import client_address

Authenticate = TypeVar("Authenticate", bound=Callable[..., Any])

audit = logging.getLogger("tallybook.audit")

MAX_REFUSALS = 30
WINDOW_SECONDS = 60.0
# Further addresses of one window are neither counted nor logged.
MAX_ADDRESSES = 10_000


class Refusals:
    """The number of wrong credentials by address within the present minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ends_at = 0.0
        self._numbers: Counter[str | None] = Counter()

    def count(self, request: HttpRequest | Request, kind: str) -> float:
        """Count and log one wrong credential.

        Args:
            request: where it came with.
            kind: what was wrong, such as "application password".

        Returns:
            The seconds until its address may be wrong again, or 0.
        """
        address = client_address(request)
        with self._lock:
            now = monotonic()
            if now >= self._ends_at:
                self._numbers.clear()
                self._ends_at = now + WINDOW_SECONDS
            if address in self._numbers or len(self._numbers) < MAX_ADDRESSES:
                self._numbers[address] += 1
            number = self._numbers[address]
            wait = self._ends_at - now
        if 0 < number <= MAX_REFUSALS:
            audit.warning("wrong %s from %s", kind, address)
        if number == MAX_REFUSALS:
            audit.warning("further ones from %s are not logged for %.0f s", address, wait)
        return wait if number > MAX_REFUSALS else 0

    def clear(self) -> None:
        """Forget all numbers."""
        self._ends_at = 0.0


refusals = Refusals()


def limit_refusals(authenticate: Authenticate) -> Authenticate:
    """Decorate a DRF authenticator's method: 429 instead of 401 after MAX_REFUSALS in a minute."""

    @wraps(authenticate)
    def limited(self: Any, request: Request) -> Any:
        try:
            return authenticate(self, request)
        except AuthenticationFailed:
            if wait := refusals.count(request, "application password"):
                raise Throttled(wait) from None
            raise

    return limited  # type: ignore[return-value]
