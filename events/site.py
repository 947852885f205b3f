"""The admin's site: Django's, with what happened lately on its first page."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path

from events.stats.overview import overview


class OverviewSite(AdminSite):
    """`/admin/`, and `/admin/overview/`, the part of it that refreshes itself."""

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Django's, and the overview alone."""
        return [
            path("overview/", self.admin_view(self.overview), name="overview"),
            *super().get_urls(),
        ]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """The first page."""
        more = {"title": "Overview", **overview(request.user), **(extra_context or {})}
        return super().index(request, more)

    def overview(self, request: HttpRequest) -> HttpResponse:
        """What the first page shows of events and contacts, as a piece of HTML."""
        return render(request, "events/overview.html", overview(request.user))
