"""The API description: shapes that several calls share, and how a call is described."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers

Fields = Mapping[str, Any]
Decorator = Callable[[Any], Any]

API_PREFIX = "/wp-json/fluent-crm/v2/"
ACTIVECAMPAIGN = ("/event", "/api/3/")


class Authentication(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells drf-spectacular the two ways to send an application password."""

    target_class = "crm.authentication.ApplicationPasswordAuthentication"
    name = ["basic", "bearer"]  # noqa: RUF012

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:  # noqa: ARG002
        """HTTP Basic `user:password`, or the password as a Bearer token."""
        return [{"type": "http", "scheme": scheme} for scheme in self.name]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:  # noqa: ARG002
        """Either of them."""
        return [{scheme: []} for scheme in self.name]


class ApiToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells drf-spectacular of ActiveCampaign's header."""

    target_class = "crm.authentication.ApiTokenAuthentication"
    name = "api_token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:  # noqa: ARG002
        """The secret of an application password in a header."""
        return {"type": "apiKey", "in": "header", "name": "Api-Token"}


class Schema(AutoSchema):
    """Operations named by what they do: view and action, as in the code."""

    def get_operation_id(self) -> str:
        """`subscriber_store` for SubscriberViewSet.store."""
        view = type(self.view).__name__.removesuffix("ViewSet").lower()
        return f"{view}_{getattr(self.view, 'action', self.method.lower())}"

    def get_tags(self) -> list[str]:
        """Calls are grouped by the first word of their address; ActiveCampaign's are together."""
        if self.path.startswith(ACTIVECAMPAIGN):
            return ["ActiveCampaign"]
        return [self.path.removeprefix(API_PREFIX).split("/")[0]]


def described_paths(endpoints: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """drf-spectacular's hook: each call once, without a last slash, FluentCRM's at WordPress's."""
    described = (API_PREFIX, *ACTIVECAMPAIGN)
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints if path.startswith(described)]


def shape(name: str, fields: Fields, many: bool = False) -> Any:
    """An object with these fields, or a list of them."""
    return inline_serializer(name, dict(fields), many=many)


def text() -> serializers.CharField:
    """A text."""
    return serializers.CharField()


def optional_text() -> serializers.CharField:
    """A text that may be left out."""
    return serializers.CharField(required=False)


def nullable_text() -> serializers.CharField:
    """A text or null."""
    return serializers.CharField(allow_null=True)


def optional_list() -> serializers.ListField:
    """A list of anything that may be left out."""
    return serializers.ListField(required=False)


def number() -> serializers.IntegerField:
    """A whole number."""
    return serializers.IntegerField()


def numbers() -> serializers.ListField:
    """A list of whole numbers."""
    return serializers.ListField(child=serializers.IntegerField())


def ids() -> serializers.ListField:
    """A list of ids to do something with."""
    one = serializers.IntegerField(min_value=0)
    return serializers.ListField(child=one, min_length=1, max_length=1000)


def texts() -> serializers.ListField:
    """A list of texts."""
    return serializers.ListField(child=serializers.CharField())


MESSAGE = shape("Message", {"message": text()})
REST_ERROR = shape(
    "RestError",
    {"code": text(), "message": text(), "data": serializers.DictField()},
)
# What 404 says: what is not there, or that nothing can be at such an address.
NOT_FOUND = [{"$ref": f"#/components/schemas/{name}"} for name in ("Message", "RestError")]
# What 422 says: the wrong fields, each with its rule and a text, or one message where no field is
# to blame.
REFUSALS: list[Fields] = [
    {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    {
        "type": "object",
        "properties": {"message": {"type": "string"}, "error_code": {"type": "string"}},
        "required": ["message"],
        "additionalProperties": False,
    },
]


def page_shape(name: str, row: Any) -> Any:
    """FluentCRM's page envelope around rows."""
    return shape(
        name,
        {
            "total": number(),
            "per_page": number(),
            "current_page": number(),
            "last_page": number(),
            "next_page_url": nullable_text(),
            "prev_page_url": nullable_text(),
            "from": serializers.IntegerField(allow_null=True),
            "to": serializers.IntegerField(allow_null=True),
            "data": row(many=True),
        },
    )


TEXT: Fields = {"type": "string"}
COUNT: Fields = {"type": "integer", "minimum": 0}


def query(name: str, says: str = "", many: bool = False, kind: Fields = TEXT) -> OpenApiParameter:
    """A parameter of the query string; `many` for `name[]=1&name[]=2`."""
    if many:
        return OpenApiParameter(f"{name}[]", {"type": "array", "items": kind}, description=says)
    return OpenApiParameter(name, dict(kind), description=says)


def answer_header(name: str, *statuses: int, required: bool = True) -> OpenApiParameter:
    """A header of the answers with these statuses."""
    return OpenApiParameter(
        name, OpenApiTypes.STR, OpenApiParameter.HEADER, required=required, response=[*statuses]
    )


PER_PAGE = query("per_page", "15, and at most 1000.", kind=COUNT)
PAGES = [query("page", "From 1.", kind=COUNT), PER_PAGE]
CHALLENGE = answer_header("WWW-Authenticate", 401)
RETRY_AFTER = answer_header("Retry-After", 503)


def call(
    answer: Any,
    fields: Any = None,
    parameters: Iterable[OpenApiParameter] = (),
    missing: bool = False,
    created: bool = False,
    refusals: Sequence[Fields] | None = REFUSALS,
) -> Decorator:
    """Describe a call: its answer, the fields of its body, its query string.

    `missing`: it can be 404; `created`: it is 201 where it makes something; `refusals`: what 422
    says, None for a call that asks for no password and refuses fields with 200.
    """
    responses = {200: answer, 400: REST_ERROR, 503: REST_ERROR}
    if refusals is not None:
        responses |= {401: REST_ERROR, 403: REST_ERROR, 422: {"oneOf": refusals}}
    if fields is not None:
        responses |= dict.fromkeys((411, 413, 415), REST_ERROR)
    if missing:
        responses[404] = {"anyOf": NOT_FOUND}
    if created:
        responses[201] = answer
    return extend_schema(
        request=fields,
        responses=dict(sorted(responses.items())),
        parameters=[*parameters, CHALLENGE, RETRY_AFTER],
    )
