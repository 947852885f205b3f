"""People's login, with a limit to guessing; django-axes counts, in the database, for all workers.

Programs never come here: application passwords are looked up, and no backend is asked.
"""

import hashlib
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from config.database import fetch_row

# No user's name is longer, and axes has no room for more than 255.
MAX_USERNAME_LENGTH = 150
LOCK_STATEMENT = "SELECT pg_advisory_xact_lock(%(key)s)"


def login(request: HttpRequest) -> HttpResponse:
    """The admin's login; 429 where the name is locked from this address."""
    if request.method != "POST":
        return admin.site.login(request)
    # A guess is counted before its lock is let go.
    with transaction.atomic():
        response = admin.site.login(request)
    if is_locked_out(request):
        response.status_code = 429
        response.headers["Retry-After"] = f"{settings.AXES_COOLOFF_TIME.total_seconds():.0f}"
    return response


class LoginForm(AdminAuthenticationForm):
    """The admin's form, which says so when it did not look at the password."""

    def get_invalid_login_error(self) -> ValidationError:
        """Why nobody was let in."""
        if not is_locked_out(self.request):
            return super().get_invalid_login_error()
        minutes = settings.AXES_COOLOFF_TIME.total_seconds() / 60
        return ValidationError(
            "Too many wrong passwords: from where you are, this name is locked. "
            f"Try again in {minutes:.0f} minutes.",
            code="locked",
        )


class SerializedLoginBackend(AxesStandaloneBackend):  # type: ignore[misc]  # axes has no types
    """Asked first: refuses a locked name, and has guesses at one name come one after the other.

    Guesses that came at once would all be checked before the first of them is counted.
    """

    def authenticate(
        self,
        request: HttpRequest,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Nothing, so that the next backend is asked. Raises PermissionDenied when locked."""
        if request is not None:
            pair = f"{client_address(request)} {username}"
            digest = hashlib.sha256(pair.encode()).digest()
            fetch_row(LOCK_STATEMENT, {"key": int.from_bytes(digest[:8], signed=True)})
        super().authenticate(request, username=username, password=password, **kwargs)


def is_locked_out(request: HttpRequest | None) -> bool:
    """Whether axes refused this login, or refuses the next one."""
    return bool(getattr(request, "axes_locked_out", False))


def attempted_username(request: HttpRequest, credentials: Mapping[str, str] | None) -> str:
    """The name that guesses are counted for."""
    return (credentials or request.POST).get("username", "")[:MAX_USERNAME_LENGTH]


def client_address(request: HttpRequest) -> str | None:
    """Where a guess comes from: behind a proxy, what the last one wrote into X-Forwarded-For.

    What stands before it is the caller's to choose. An IPv6 address stands for its /64, all of
    which belongs to whoever has one address of it.
    """
    hops = [request.META.get("REMOTE_ADDR", "")]
    if settings.HTTPS:
        hops.insert(0, request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip())
    for hop in hops:
        try:
            address = ip_address(hop)
        except ValueError:
            continue
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64)
        return str(address)
    return None


admin.site.login_form = LoginForm
