"""Route FluentCRM's URL of a site, `/?fluentcrm=1`, which is `/fluentcrm` here."""

from django.urls import path

from crm.api.views.contact_posts import ContactPostViewSet

urlpatterns = [
    path("fluentcrm", ContactPostViewSet.as_view({"get": "receive", "post": "receive"})),
]
