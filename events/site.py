"""The admin's site: its title, its login, and the overview on its first page.

It lies outside of events/admin, because importing that package registers models, and the site must
exist before.
"""

from math import ceil
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from typing_extensions import override

from config.error_pages import SITE_NAME, error_page_or_json
from config.login import AnotherLogin, LoginForm, TooManyLogins, is_locked_out, one_login
from events.stats.overview import overview

BUSY = "Another login is being checked. Try again in a moment."


class TallybookAdminSite(AdminSite):
    """`/admin/`, and `/admin/overview/`, the part of the first page that refreshes itself."""

    site_header = site_title = SITE_NAME
    site_url = None  # there is no other site
    login_form = LoginForm

    @override
    def get_urls(self) -> list[URLPattern | URLResolver]:
        overview_view = self.admin_view(self.overview)
        return [path("overview/", overview_view, name="overview"), *super().get_urls()]

    @override
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Log in; 429 if name or address is locked, 503 while another password is checked."""
        if request.method != "POST":
            return super().login(request, extra_context)
        try:
            with one_login(request):
                response = super().login(request, extra_context)
        except AnotherLogin:
            response = error_page_or_json(request.path_info, 503, BUSY)
            # Django logs a 503 as an error, and guesses come by the thousand.
            response._has_been_logged = True  # type: ignore[attr-defined]
            return response
        except TooManyLogins as error:
            return _locked(error_page_or_json(request.path_info, 429), error.seconds)
        if is_locked_out(request):
            return _locked(response, settings.AXES_COOLOFF_TIME.total_seconds())
        return response

    @override
    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {"title": "Overview", **overview(request.user), **(extra_context or {})}
        return super().index(request, context)

    def overview(self, request: HttpRequest) -> HttpResponse:
        """Return what the first page shows of events and contacts, as a fragment of HTML."""
        return render(request, "events/overview.html", overview(request.user))


def _locked(response: HttpResponse, seconds: float) -> HttpResponse:
    response.status_code = 429
    response.headers["Retry-After"] = str(ceil(seconds))
    return response
