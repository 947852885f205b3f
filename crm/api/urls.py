"""Route FluentCRM's URLs of contacts, labels, segments and fields, below where this is included."""

from config.api.routers import FluentRouter
from crm.api.views.bulk import BulkViewSet
from crm.api.views.contacts import SubscriberViewSet
from crm.api.views.custom_fields import CustomFieldViewSet
from crm.api.views.labels import ContactListViewSet, TagViewSet
from crm.api.views.segments import FilterOptionViewSet, SegmentViewSet
from crm.api.views.webhooks import WebhookViewSet

router = FluentRouter()
router.register("subscribers", SubscriberViewSet, basename="subscriber")
router.register("subscribers", FilterOptionViewSet, basename="filter-option")
router.register("subscribers", BulkViewSet, basename="bulk")
router.register("segments", SegmentViewSet, basename="segment")
router.register("tags", TagViewSet, basename="tag")
router.register("lists", ContactListViewSet, basename="list")
router.register("custom-fields", CustomFieldViewSet, basename="custom-field")
router.register("webhooks", WebhookViewSet, basename="webhook")
urlpatterns = router.urls
