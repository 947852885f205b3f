"""Route all URLs.

FluentCRM's endpoints are at WordPress's prefix and, the same, at the root. ActiveCampaign's are at
the root, where ActiveCampaign has them, and WordPress's own at its paths.
"""

from importlib import import_module

from django.contrib import admin
from django.urls import URLPattern, include, path
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.renderers import TemplateHTMLRenderer

from config import views
from config.api.description import describe_api

admin.autodiscover()

handler400 = "config.error_pages.handler400"
handler403 = "config.error_pages.handler403"
handler404 = "config.error_pages.handler404"
handler500 = "config.error_pages.handler500"


def urls_of(module: str) -> list[URLPattern]:
    """Return the URLs of a module. They are resolved in fewer steps than those of `include`."""
    patterns: list[URLPattern] = import_module(module).urlpatterns
    return patterns


fluentcrm = [
    *urls_of("events.api.urls"),
    *urls_of("automations.api.urls"),
    *urls_of("automations.api.funnels.urls"),
    # Last, because it ends with the routes that are answered with nothing.
    *urls_of("crm.api.urls"),
]

urlpatterns = [
    path("wp-json/fluent-crm/v2/", include(fluentcrm)),
    *fluentcrm,
    *urls_of("events.activecampaign.urls"),
    *urls_of("crm.activecampaign.urls"),
    *urls_of("crm.urls"),
    *urls_of("crm.wordpress.urls"),
    path("", views.home),
    path("admin", views.home),
    path("admin/", admin.site.urls),
    path("api/schema/", views.require_safe(describe_api), name="schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(
            url_name="schema", renderer_classes=[TemplateHTMLRenderer]
        ),
        name="docs",
    ),
]
