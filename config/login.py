"""Limit the guessing of admin users' passwords, which django-axes counts for all workers.

API clients never come here. Their application passwords are looked up without Django's backends.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

from axes.backends import AxesStandaloneBackend
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from typing_extensions import override

from config.addresses import client_address
from config.database import fetch_one
from config.limits import PerMinute

# No user name is longer, and axes has no room for more than 255 characters.
MAX_USERNAME_LENGTH = 150
# Wrong passwords from one address, whatever the names, within the time of a lock.
MAX_ADDRESS_FAILURES = 20
ADDRESS_FAILURES = """
SELECT COALESCE(sum(failures_since_start), 0) FROM axes_accessattempt
WHERE ip_address IS NOT DISTINCT FROM %(address)s::inet AND attempt_time > %(since)s
"""
# Logins that one worker looks at, from one address within a minute.
MAX_LOGINS = 30
# A wrong password keeps others waiting for at least this time, so that two a second are checked.
GUESS_SECONDS = 0.5
# Any number that is the same in every process of all servers on one database.
GUESS_LOCK = 0x7A11_6E55
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%(key)s)"


logins = PerMinute()
_checking = Lock()


class LoginForm(AdminAuthenticationForm):
    """The admin's login form, which says so if the name is locked and the password unchecked."""

    @override
    def get_invalid_login_error(self) -> ValidationError:
        if not is_locked_out(self.request):
            return super().get_invalid_login_error()
        minutes = settings.AXES_COOLOFF_TIME.total_seconds() / 60
        return ValidationError(
            "Too many wrong passwords: from where you are, this name is locked. "
            f"Try again in {minutes:.0f} minutes.",
            code="locked",
        )


class AnotherLogin(Exception):
    """Another password is being checked, so this one is not."""


class TooManyLogins(Exception):
    """Too many logins were tried from this address. `seconds` have to pass before the next one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


@contextmanager
def one_login(request: HttpRequest) -> Iterator[None]:
    """Try a login in a transaction, so that a wrong password is counted before the next check.

    Raises:
        TooManyLogins: the password is not checked.
        AnotherLogin: the password is not checked.
    """
    number, seconds = logins.count(client_address(request))
    if number > MAX_LOGINS:
        raise TooManyLogins(seconds)
    # The others of this worker need no statement to see that one is being checked.
    if not _checking.acquire(blocking=False):
        raise AnotherLogin
    try:
        with transaction.atomic():
            yield
            if not request.user.is_authenticated:
                _slow_down(request)
    finally:
        _checking.release()


def _slow_down(request: HttpRequest) -> None:
    """Keep others waiting until GUESS_SECONDS have passed since the check of a wrong password."""
    began = getattr(request, "password_checked_at", None)
    if began is not None:
        time.sleep(max(0.0, began + GUESS_SECONDS - time.monotonic()))


class SerializedLoginBackend(AxesStandaloneBackend):  # type: ignore[misc]  # axes has no types
    """Let one password be checked at a time on all servers, because a check takes 0.2 s of a core.

    So each wrong password is counted before the next one is checked. The first backend.
    """

    @override
    def authenticate(
        self,
        request: HttpRequest,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Return None, so that the next backend checks the password.

        Raises:
            PermissionDenied: the name is locked from this address.
            TooManyLogins: the address has guessed too often.
            AnotherLogin: another password is being checked.
        """
        if request is not None:
            if is_guessing(client_address(request)):
                raise TooManyLogins(settings.AXES_COOLOFF_TIME.total_seconds())
            # A locked name does not keep others from logging in.
            super().authenticate(request, username=username, password=password, **kwargs)
            if not fetch_one(TRY_LOCK, {"key": GUESS_LOCK})[0]:
                raise AnotherLogin
            request.password_checked_at = time.monotonic()  # type: ignore[attr-defined]
        # Again, because a guess that ended since then may have locked the name.
        super().authenticate(request, username=username, password=password, **kwargs)


class StaffBackend(ModelBackend):
    """Check passwords of admin users. That of another user is wrong, also where it is right.

    So it is counted as a guess, and the page does not tell that it was right.
    """

    @override
    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and user.is_staff


def is_guessing(address: str | None) -> bool:
    """Return whether too many wrong passwords came from an address."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    failures: int = fetch_one(ADDRESS_FAILURES, {"address": address, "since": since})[0]
    return failures >= MAX_ADDRESS_FAILURES


def prune_failures() -> int:
    """Delete wrong passwords that lock nothing any more. Returns their number."""
    before = timezone.now() - settings.AXES_COOLOFF_TIME
    number: int
    number, _ = AccessAttempt.objects.filter(attempt_time__lte=before).delete()
    return number


def is_locked_out(request: HttpRequest | None) -> bool:
    """Return whether axes rejected this login, or will reject the next one."""
    return bool(getattr(request, "axes_locked_out", False))


def attempted_username(request: HttpRequest, credentials: Mapping[str, str] | None) -> str:
    """Return the name that a guess is counted for."""
    return (credentials or request.POST).get("username", "")[:MAX_USERNAME_LENGTH]
