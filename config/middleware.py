"""Django's middleware for people, who have sessions; programs have none.

Programs call the API at every address that is not one of these. Taking them past the three saved
a tenth to a fifth of the time of a tracked event (docs/architecture.md).
"""

from collections.abc import Awaitable

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

PEOPLE = ("/admin/", "/api/docs/", "/api/schema/")


class ForPeople(MiddlewareMixin):
    """Mixed into a middleware: applies it at the addresses of people alone."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer, with or without the middleware."""
        if request.path_info.startswith(PEOPLE):
            return super().__call__(request)
        return self.get_response(request)


class Sessions(ForPeople, SessionMiddleware):
    """Sessions."""


class Authentication(ForPeople, AuthenticationMiddleware):
    """The user of a session."""


class Messages(ForPeople, MessageMiddleware):
    """Notes to the next page."""
