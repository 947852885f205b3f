"""Route ActiveCampaign's URLs: the event call of trackcmp.net, and its API, version 3."""

from config.api.routers import FluentRouter
from events.activecampaign.views import EventCallViewSet, EventNameViewSet, SwitchViewSet

router = FluentRouter()
router.register("", EventCallViewSet, basename="event-call")
router.register("api/3", SwitchViewSet, basename="event-tracking")
router.register("api/3/eventTrackingEvents", EventNameViewSet, basename="event-name")
urlpatterns = router.urls
