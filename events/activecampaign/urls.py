"""ActiveCampaign's addresses: the event call of trackcmp.net, and of its API, version 3."""

from django.urls import re_path

from events.activecampaign.views import EventCallViewSet, EventNameViewSet, SwitchViewSet

urlpatterns = [
    re_path(r"^event/?$", EventCallViewSet.as_view({"post": "track"})),
    re_path(
        r"^api/3/eventTracking/?$",
        SwitchViewSet.as_view({"get": "show", "put": "update"}),
    ),
    re_path(
        r"^api/3/eventTrackingEvents/?$",
        EventNameViewSet.as_view({"get": "index", "post": "store"}),
    ),
    re_path(
        r"^api/3/eventTrackingEvents/(?P<name>.+)$",
        EventNameViewSet.as_view({"delete": "destroy"}),
    ),
]
