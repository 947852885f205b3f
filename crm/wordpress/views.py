"""The index of WordPress's REST API, and its users, who are the user of the password alone."""

from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import slugify
from django.utils.timezone import localtime
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.responses import Response
from config.api.viewsets import ApiViewSet
from config.error_pages import SITE_NAME
from config.views import require_safe
from crm.permissions import Access

NAMESPACES = ("fluent-crm/v2", "wp/v2")


def site_url(request: HttpRequest | Request) -> str:
    """Return the public URL of Tallybook, which a client puts before `/wp-json/`."""
    return f"{request.scheme}://{request.get_host()}{settings.FORCE_SCRIPT_NAME}"


@require_safe
def index(request: HttpRequest) -> Response:
    """Return what the site is, and where a password is to be had.

    As get_index in wp-includes/rest-api/class-wp-rest-server.php, with the key that
    rest_add_application_passwords_to_index adds. Its routes are at `/api/schema/` here.
    """
    site, offset = site_url(request), localtime().utcoffset()
    assert offset is not None
    page = request.build_absolute_uri(reverse("authorize-application"))
    body = {
        "name": SITE_NAME,
        "description": "",
        "url": site,
        "home": site,
        "gmt_offset": offset.total_seconds() / 3600,
        "timezone_string": settings.TIME_ZONE,
        "namespaces": NAMESPACES,
        "authentication": {"application-passwords": {"endpoints": {"authorization": page}}},
        "routes": {},
    }
    return Response(body, headers={"Cache-Control": "no-store"})


class UserSerializer(serializers.Serializer[Any]):
    """A user as WordPress shows one to clients that read.

    See prepare_item_for_response in endpoints/class-wp-rest-users-controller.php, context view.
    """

    id = serializers.IntegerField()
    name = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()
    link = serializers.CharField()
    slug = serializers.CharField()
    avatar_urls = serializers.DictField(child=serializers.CharField())
    meta = serializers.ListField(child=serializers.CharField())


def describe_user(request: Request) -> dict[str, Any]:
    """Return the fields of UserSerializer. Those that Tallybook does not have are empty."""
    name = request.user.get_username()
    texts = dict.fromkeys(("url", "description", "link"), "")
    lists: dict[str, Any] = {"avatar_urls": {}, "meta": []}
    return {"id": request.user.pk, "name": name, "slug": slugify(name), **texts, **lists}


class UserViewSet(ApiViewSet):
    """The user of the application password, of any scope: clients test a login by it."""

    serializer_class = UserSerializer
    filter_backends = ()
    pagination_class = None
    access: ClassVar[dict[str, Access]] = {"list": Access(None), "me": Access(None)}

    @extend_schema(responses=UserSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Return a list of the user of the application password."""
        return Response([describe_user(request)])

    @extend_schema(responses=UserSerializer)
    @action(detail=False)
    def me(self, request: Request) -> Response:
        """Return the user of the application password."""
        return Response(describe_user(request))
