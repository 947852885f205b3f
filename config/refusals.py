"""Limit and log wrong credentials of API clients by address, in each worker.

A right credential is never looked at here, so that it passes from any address, at no cost. Wrong
passwords of admin users, which are guessed more easily, are limited in config/login.py.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from config.limits import PerMinute
from config.login import client_address

Authenticate = TypeVar("Authenticate", bound=Callable[..., Any])

audit = logging.getLogger("tallybook.audit")

MAX_REFUSALS = 30
refusals = PerMinute()


def refuse(request: HttpRequest | Request, kind: str) -> None:
    """Count and log one wrong credential.

    Args:
        request: the one that it came with.
        kind: what was wrong, such as "application password".

    Raises:
        Throttled: 429. Its address was wrong MAX_REFUSALS times within this minute before.
    """
    address = client_address(request)
    number, seconds = refusals.count(address)
    if number > MAX_REFUSALS:
        raise Throttled(seconds)
    audit.warning("wrong %s from %s", kind, address)
    if number == MAX_REFUSALS:
        audit.warning("further ones from %s are not logged for %.0f s", address, seconds)


def limit_refusals(authenticate: Authenticate) -> Authenticate:
    """Decorate a DRF authenticator's method: 429 instead of 401 after MAX_REFUSALS in a minute."""

    @wraps(authenticate)
    def limited(self: Any, request: Request) -> Any:
        try:
            return authenticate(self, request)
        except AuthenticationFailed:
            refuse(request, "application password")
            raise

    return limited  # type: ignore[return-value]
