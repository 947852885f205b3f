"""Django's middleware for people, who have sessions and forms; programs have neither.

Programs call the API at every address that is not one of these. Taking them past the five saved
a tenth to a fifth of the time of a tracked event (docs/architecture.md).
"""

from collections.abc import Callable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.csrf import CsrfViewMiddleware

PEOPLE = ("/admin/", "/api/")


class ForPeople:
    """Mixed into a middleware: applies it at the addresses of people alone."""

    get_response: Callable[[HttpRequest], HttpResponseBase]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, with or without the middleware."""
        if request.path_info.startswith(PEOPLE):
            return super().__call__(request)  # type: ignore[misc,no-any-return]
        return self.get_response(request)


class Sessions(ForPeople, SessionMiddleware):
    """Sessions."""


class Csrf(ForPeople, CsrfViewMiddleware):
    """Protection of forms; the API takes no cookies and needs none."""


class Authentication(ForPeople, AuthenticationMiddleware):
    """The user of a session."""


class Messages(ForPeople, MessageMiddleware):
    """Notes to the next page."""


class XFrameOptions(ForPeople, XFrameOptionsMiddleware):
    """No page of ours in somebody's frame."""
