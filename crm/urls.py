"""Route FluentCRM's address of a site, `/?fluentcrm=1`, which is `/fluentcrm` here."""

from django.urls import path

from crm.api.views.webhooks import ContactPostViewSet

METHODS = ("get", "post", "put", "patch", "delete")
urlpatterns = [
    path("fluentcrm", ContactPostViewSet.as_view(dict.fromkeys(METHODS, "receive"))),
]
