"""The API description: shapes that several calls share, and how a call is described."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers

Fields = Mapping[str, Any]
Decorator = Callable[[Any], Any]

API_PREFIX = "/wp-json/fluent-crm/v2/"


class Schema(AutoSchema):
    """Operations named by what they do: view and action, as in the code."""

    def get_operation_id(self) -> str:
        """`subscriber_store` for SubscriberViewSet.store."""
        view = type(self.view).__name__.removesuffix("ViewSet").lower()
        return f"{view}_{getattr(self.view, 'action', self.method.lower())}"

    def get_tags(self) -> list[str]:
        """Calls are grouped by the first word of their address."""
        return [self.path.removeprefix(API_PREFIX).split("/")[0]]


def only_fluentcrm_paths(endpoints: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """drf-spectacular's hook: the same calls at the root are not described twice."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(API_PREFIX)]


def shape(name: str, fields: Fields, many: bool = False) -> Any:
    """An object with these fields, or a list of them."""
    return inline_serializer(name, dict(fields), many=many)


def text() -> serializers.CharField:
    """A text."""
    return serializers.CharField()


def number() -> serializers.IntegerField:
    """A whole number."""
    return serializers.IntegerField()


def numbers() -> serializers.ListField:
    """A list of whole numbers."""
    return serializers.ListField(child=serializers.IntegerField())


def texts() -> serializers.ListField:
    """A list of texts."""
    return serializers.ListField(child=serializers.CharField())


MESSAGE = shape("Message", {"message": text()})
REST_ERROR = shape(
    "RestError",
    {"code": text(), "message": text(), "data": serializers.DictField()},
)

def page_shape(name: str, row: Any) -> Any:
    """FluentCRM's page envelope around rows."""
    link = {"allow_null": True}
    return shape(
        name,
        {
            "total": number(),
            "per_page": number(),
            "current_page": number(),
            "last_page": number(),
            "next_page_url": serializers.CharField(**link),
            "prev_page_url": serializers.CharField(**link),
            "from": serializers.IntegerField(**link),
            "to": serializers.IntegerField(**link),
            "data": row(many=True),
        },
    )


def query(name: str, says: str = "", many: bool = False) -> OpenApiParameter:
    """A parameter of the query string; `many` for `name[]=1&name[]=2`."""
    kind = OpenApiTypes.STR
    if many:
        return OpenApiParameter(f"{name}[]", {"type": "array", "items": {"type": "string"}}, description=says)
    return OpenApiParameter(name, kind, description=says)


PAGES = [query("page", "From 1."), query("per_page", "15, and at most 1000.")]


def call(
    answer: Any,
    fields: Any = None,
    parameters: Iterable[OpenApiParameter] = (),
    missing: bool = False,
) -> Decorator:
    """Describe a call: its answer, the fields of its body, its query string; `missing` = 404."""
    responses = {
        200: answer,
        400: REST_ERROR,
        401: REST_ERROR,
        403: REST_ERROR,
        422: OpenApiTypes.OBJECT,
        503: REST_ERROR,
    }
    if missing:
        responses[404] = MESSAGE
    return extend_schema(request=fields, responses=responses, parameters=list(parameters))
