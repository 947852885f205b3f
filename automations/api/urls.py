"""Route the URLs of automations, below where this is included."""

from automations.api.contacts import AutomationContactViewSet
from automations.api.runs import ContactAutomationViewSet, RunViewSet
from automations.api.views import AutomationViewSet
from config.api.routers import FluentRouter

router = FluentRouter()
router.register("automations/runs", RunViewSet, basename="run")
router.register("automations", AutomationViewSet, basename="automation")
router.register("automations", AutomationContactViewSet, basename="automation-contact")
router.register("subscribers", ContactAutomationViewSet, basename="contact-automation")
urlpatterns = router.urls
