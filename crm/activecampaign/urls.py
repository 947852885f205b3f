"""Route ActiveCampaign's URLs, version 3, of contacts, labels, custom fields and the user."""

from django.urls import re_path

from config.api.routers import FluentRouter
from crm.activecampaign.views.account import (
    ACAccountFieldViewSet,
    ACUserViewSet,
    SiteTrackingViewSet,
)
from crm.activecampaign.views.contacts import ACContactViewSet
from crm.activecampaign.views.fields import ACFieldValueViewSet, ACFieldViewSet
from crm.activecampaign.views.labels import (
    ACContactListStatusViewSet,
    ACContactListViewSet,
    ACContactTagViewSet,
    ACTagViewSet,
)

router = FluentRouter()
router.register("api/3", SiteTrackingViewSet, basename="ac-site-tracking")
router.register("api/3", ACAccountFieldViewSet, basename="ac-account-field")
router.register("api/3/users", ACUserViewSet, basename="ac-user")
router.register("api/3/contacts", ACContactViewSet, basename="ac-contact")
router.register("api/3/tags", ACTagViewSet, basename="ac-tag")
router.register("api/3/contactTags", ACContactTagViewSet, basename="ac-contact-tag")
router.register("api/3/lists", ACContactListViewSet, basename="ac-list")
router.register("api/3/contactLists", ACContactListStatusViewSet, basename="ac-contact-list")
router.register("api/3/fields", ACFieldViewSet, basename="ac-field")
router.register("api/3/fieldValues", ACFieldValueViewSet, basename="ac-field-value")
urlpatterns = [
    re_path("^api/3/contact/sync/?$", ACContactViewSet.as_view({"post": "sync"})),
    *router.urls,
]
