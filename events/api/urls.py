"""Route FluentCRM's URLs of events, below where this is included."""

from config.api.routers import FluentRouter
from events.api.merging import MergeViewSet
from events.api.views import EventViewSet, ReportViewSet, SettingViewSet

router = FluentRouter()
router.register("subscribers", EventViewSet, basename="event")
router.register("subscribers", MergeViewSet, basename="merge")
router.register("setting", SettingViewSet, basename="setting")
router.register("reports", ReportViewSet, basename="report")
urlpatterns = router.urls
