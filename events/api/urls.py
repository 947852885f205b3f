"""FluentCRM's addresses of events, below wherever this is mounted."""

from django.urls import re_path

from events.api.views import BatchViewSet, EventViewSet, ExperimentViewSet, OptionViewSet

urlpatterns = [
    re_path(r"^subscribers/track-event/?$", EventViewSet.as_view({"post": "track"})),
    re_path(r"^subscribers/track-events/?$", BatchViewSet.as_view({"post": "track_many"})),
    re_path(
        r"^subscribers/(?P<contact_id>[0-9]{1,20})/tracking-events/?$",
        EventViewSet.as_view({"get": "index"}),
    ),
    re_path(
        r"^subscribers/(?P<contact_id>[0-9]{1,20})/tracking-events/"
        r"(?P<event_id>[0-9]{1,20})/occurrences/?$",
        EventViewSet.as_view({"get": "occurrences"}),
    ),
    re_path(
        r"^subscribers/(?P<contact_id>[0-9]{1,20})/timeline/?$",
        EventViewSet.as_view({"get": "timeline"}),
    ),
    re_path(
        r"^setting/experiments/?$",
        ExperimentViewSet.as_view({"get": "show", "post": "update"}),
    ),
    re_path(r"^reports/ajax-options/?$", OptionViewSet.as_view({"get": "index"})),
]
