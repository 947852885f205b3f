"""The user of the application password, site tracking, and the fields of companies."""

from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import Unprocessable
from config.api.responses import Response
from crm.activecampaign import schema
from crm.activecampaign.viewsets import ApiV3ViewSet
from crm.api.rights import CHANGE, READ
from crm.permissions import Access, user_of

NO_SITE_TRACKING = "Tallybook has no site tracking. Send events to /event."


class ACUserViewSet(ApiV3ViewSet):
    """The user of the application password, of any scope: clients test a login by it."""

    access: ClassVar[dict[str, Access]] = {"me": Access(None)}
    pagination_class = None
    filter_backends = ()

    @schema.USER
    @action(detail=False)
    def me(self, request: Request) -> Response:
        """Return the user of the application password."""
        return Response({"user": describe_user(request)})


def describe_user(request: Request) -> dict[str, Any]:
    """Return the user of a request. See ActiveCampaign's page "Get logged-in user"."""
    user = user_of(request)
    return {
        "username": user.get_username(),
        "email": user.email,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "phone": "",
        "signature": None,
        "links": {},
        "id": str(user.pk),
    }


class SiteTrackingViewSet(ApiV3ViewSet):
    """ActiveCampaign's tracking of visits, which is off here and cannot be switched on."""

    access: ClassVar[dict[str, Access]] = {
        "status": READ,
        "refuse": CHANGE,
        "domains": READ,
        "refuse_domain": CHANGE,
    }
    pagination_class = None
    filter_backends = ()

    @schema.SITE_TRACKING
    @action(detail=False, url_path="siteTracking")
    def status(self, request: Request) -> Response:
        """Return that site tracking is off."""
        return Response({"siteTracking": {"enabled": False}})

    @schema.REFUSED
    @status.mapping.put
    def refuse(self, request: Request) -> Response:
        """Refuse to switch site tracking on: 422."""
        raise Unprocessable(NO_SITE_TRACKING)

    @schema.SITE_TRACKING_DOMAINS
    @action(detail=False, url_path="siteTrackingDomains")
    def domains(self, request: Request) -> Response:
        """Return that there are no domains."""
        return Response({"siteTrackingDomains": [], "meta": {"total": "0"}})

    @schema.REFUSED
    @domains.mapping.post
    def refuse_domain(self, request: Request) -> Response:
        """Refuse to add a domain: 422."""
        raise Unprocessable(NO_SITE_TRACKING)


class ACAccountFieldViewSet(ApiV3ViewSet):
    """Custom fields of ActiveCampaign's accounts, which are companies. Tallybook has none.

    WP Fusion reads them before it stores any fields (WPF_ActiveCampaign.sync_crm_fields).
    """

    access: ClassVar[dict[str, Access]] = {"account_fields": READ}
    pagination_class = None
    filter_backends = ()

    @schema.ACCOUNT_FIELDS
    @action(detail=False, url_path="accountCustomFieldMeta")
    def account_fields(self, request: Request) -> Response:
        """Return that there are no fields."""
        return Response({"accountCustomFieldMeta": [], "meta": {"total": "0"}})
