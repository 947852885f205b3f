"""Limit the guessing of admin users' passwords, which django-axes counts for all workers.

API clients never come here. Their application passwords are looked up without Django's backends.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from axes.backends import AxesStandaloneBackend
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from typing_extensions import override

from config.addresses import client_address
from config.database import fetch_row

# No user name is longer, and axes has no room for more than 255 characters.
MAX_USERNAME_LENGTH = 150
LOCK_STATEMENT = "SELECT pg_advisory_xact_lock(%(key)s)"


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


class SerializedLoginBackend(AxesStandaloneBackend):  # type: ignore[misc]  # axes has no types
    """Reject a locked name, and check guesses at one name from one address one after the other.

    Concurrent guesses would all be checked before the first of them is counted. The first backend.
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
        """
        if request is not None:
            pair = f"{client_address(request)} {username}"
            digest = hashlib.sha256(pair.encode()).digest()
            fetch_row(LOCK_STATEMENT, {"key": int.from_bytes(digest[:8], signed=True)})
        super().authenticate(request, username=username, password=password, **kwargs)


class StaffBackend(ModelBackend):
    """Check passwords of admin users. That of another user is wrong, also where it is right.

    So it is counted as a guess, and the page does not tell that it was right.
    """

    @override
    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and user.is_staff


def is_locked_out(request: HttpRequest | None) -> bool:
    """Return whether axes rejected this login, or will reject the next one."""
    return bool(getattr(request, "axes_locked_out", False))


def attempted_username(request: HttpRequest, credentials: Mapping[str, str] | None) -> str:
    """Return the name that a guess is counted for."""
    return (credentials or request.POST).get("username", "")[:MAX_USERNAME_LENGTH]
