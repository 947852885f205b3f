"""Route FluentCRM's URLs, below where this is included."""

from config.api.routers import ID_REGEX, FluentRouter
from crm.api.views.absent import absent_urls
from crm.api.views.actions import ActionViewSet
from crm.api.views.bulk import BulkViewSet
from crm.api.views.contacts import SubscriberViewSet
from crm.api.views.custom_fields import CustomFieldViewSet
from crm.api.views.labels import ContactListViewSet, TagViewSet
from crm.api.views.navigation import NavigationViewSet
from crm.api.views.notes import NoteViewSet
from crm.api.views.reports import ReportViewSet
from crm.api.views.segments import FilterOptionViewSet, SegmentViewSet
from crm.api.views.users import AdminUserViewSet
from crm.api.views.webhooks import WebhookViewSet

router = FluentRouter()
router.register("subscribers", SubscriberViewSet, basename="subscriber")
router.register("subscribers", FilterOptionViewSet, basename="filter-option")
router.register("subscribers", ActionViewSet, basename="action")
router.register("subscribers", BulkViewSet, basename="bulk")
router.register("subscribers", NavigationViewSet, basename="navigation")
router.register(f"subscribers/(?P<contact_id>{ID_REGEX})/notes", NoteViewSet, basename="note")
router.register("segments", SegmentViewSet, basename="segment")
router.register("tags", TagViewSet, basename="tag")
router.register("lists", ContactListViewSet, basename="list")
router.register("custom-fields", CustomFieldViewSet, basename="custom-field")
router.register("webhooks", WebhookViewSet, basename="webhook")
router.register("reports", ReportViewSet, basename="crm-report")
router.register("users", AdminUserViewSet, basename="admin-user")
# Last, because they are long and seldom called.
urlpatterns = [*router.urls, *absent_urls()]
