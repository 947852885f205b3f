"""Route ActiveCampaign's URLs about events: the event call, version 3, and the old door."""

from django.urls import path, re_path

from config.api.routers import ID_REGEX, FluentRouter
from config.server.target import OLD_DOOR_PATH
from events.activecampaign.logs import ContactLogViewSet
from events.activecampaign.old_door import OldDoorViewSet
from events.activecampaign.views import EventCallViewSet, EventNameViewSet, SwitchViewSet

router = FluentRouter()
router.register("", EventCallViewSet, basename="event-call")
router.register("api/3", SwitchViewSet, basename="event-tracking")
# Older clients delete at the singular.
router.register("api/3/eventTrackingEvents?", EventNameViewSet, basename="event-name")
old_door = OldDoorViewSet.as_view(dict.fromkeys(("get", "post", "put", "delete"), "answer"))
urlpatterns = [
    *router.urls,
    re_path(
        f"^api/3/contacts/(?P<contact_id>{ID_REGEX})/trackingLogs/?$",
        ContactLogViewSet.as_view({"get": "tracking_logs"}),
    ),
    re_path("^api/3/activities/?$", ContactLogViewSet.as_view({"get": "activities"})),
    path(OLD_DOOR_PATH.removeprefix("/"), old_door),
    path("2/<path:path>", old_door),
]
