"""Route FluentCRM's URLs of automations, below where this is included."""

from automations.api.funnels.editing import FunnelEditViewSet
from automations.api.funnels.subscribers import FunnelRunViewSet, FunnelSubscriberViewSet
from automations.api.funnels.views import FunnelViewSet
from config.api.routers import ID_REGEX, FluentRouter

router = FluentRouter()
router.register("funnels", FunnelViewSet, basename="funnel")
router.register("funnels", FunnelEditViewSet, basename="funnel-edit")
router.register("funnels", FunnelRunViewSet, basename="funnel-run")
router.register(
    f"funnels/(?P<funnel_id>{ID_REGEX})/subscribers",
    FunnelSubscriberViewSet,
    basename="funnel-subscriber",
)
urlpatterns = router.urls
