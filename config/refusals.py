"""Limit wrong credentials of API clients by address, in each worker.

A right credential is never looked at here, so that it passes from any address, at no cost. Wrong
passwords of admin users, which are guessed more easily, are limited in config/login.py.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from config.addresses import client_address
from config.limits import PerMinute

Authenticate = TypeVar("Authenticate", bound=Callable[..., Any])

MAX_REFUSALS = 30
refusals = PerMinute()


def refuse(request: HttpRequest | Request) -> None:
    """Count a wrong credential.

    Raises:
        Throttled: 429. Its address was wrong MAX_REFUSALS times within this minute before.
    """
    number, seconds = refusals.count(client_address(request))
    if number > MAX_REFUSALS:
        raise Throttled(seconds)


def limit_refusals(authenticate: Authenticate) -> Authenticate:
    """Decorate a DRF authenticator's method: 429 instead of 401 after MAX_REFUSALS in a minute."""

    @wraps(authenticate)
    def limited(self: Any, request: Request) -> Any:
        try:
            return authenticate(self, request)
        except AuthenticationFailed:
            refuse(request)
            raise

    return limited  # type: ignore[return-value]
