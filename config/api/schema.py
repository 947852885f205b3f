"""Describe the API in OpenAPI: what serializers and pagination cannot say by themselves."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from typing_extensions import override

from config.api.pagination import Schema as OpenApiSchema

View = TypeVar("View", bound=Callable[..., Any])

API_PREFIX = "/wp-json/fluent-crm/v2/"
ACTIVECAMPAIGN_PREFIXES = ("/event", "/api/3/")
WORDPRESS_PREFIX = "/wp-json/wp/v2/"


class ApplicationPasswordScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describe the two ways to send an application password: HTTP Basic or a Bearer token."""

    target_class = "crm.authentication.ApplicationPasswordAuthentication"
    name = ["basic", "bearer"]  # noqa: RUF012

    @override
    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [{"type": "http", "scheme": scheme} for scheme in self.name]

    @override
    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        return [{scheme: []} for scheme in self.name]


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describe ActiveCampaign's header, which holds an application password."""

    target_class = "crm.authentication.ApiTokenAuthentication"
    name = "api_token"

    @override
    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "Api-Token"}


class Schema(AutoSchema):
    """Name operations after their viewset and action, and group them by their URL."""

    @override
    def get_operation_id(self) -> str:
        view = type(self.view).__name__.removesuffix("ViewSet").lower()
        return f"{view}_{getattr(self.view, 'action', self.method.lower())}"

    @override
    def get_paginated_name(self, serializer_name: str) -> str:
        paginator = type(getattr(self.view, "paginator", None))
        return paginator.__name__.removesuffix("Pagination") + "Page"

    @override
    def get_tags(self) -> list[str]:
        if self.path.startswith(ACTIVECAMPAIGN_PREFIXES):
            return ["ActiveCampaign"]
        if self.path.startswith(WORDPRESS_PREFIX):
            return ["WordPress"]
        return [self.path.removeprefix(API_PREFIX).split("/")[0]]


def select_endpoints(endpoints: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Keep each endpoint once: FluentCRM's at WordPress's prefix, without the trailing slash.

    A preprocessing hook of drf-spectacular.
    """
    prefixes = (API_PREFIX, WORDPRESS_PREFIX, *ACTIVECAMPAIGN_PREFIXES)
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints if path.startswith(prefixes)]


def _json(schema: OpenApiSchema, **headers: OpenApiSchema) -> OpenApiSchema:
    content = {"content": {"application/json": {"schema": schema}}, "description": ""}
    return {**content, "headers": headers} if headers else content


def _header() -> OpenApiSchema:
    return {"schema": {"type": "string"}, "required": True}


MESSAGE_REF = {"$ref": "#/components/schemas/Message"}
REST_ERROR_REF = {"$ref": "#/components/schemas/RestError"}
# Every invalid field with its rule and a message, or one message where no field is to blame.
UNPROCESSABLE: list[OpenApiSchema] = [
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
# What ActiveCampaign has instead of the former.
ERRORS: OpenApiSchema = {
    "type": "object",
    "properties": {
        "errors": {"type": "array", "items": {"type": "object", "additionalProperties": {}}}
    },
    "required": ["errors"],
    "additionalProperties": False,
}
REST_ERROR = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "data": {"type": "object", "additionalProperties": {}},
    },
    "required": ["code", "data", "message"],
}


def add_error_responses(result: OpenApiSchema, **_: Any) -> OpenApiSchema:
    """Add the error responses that follow from an operation's shape.

    Every operation has 400, 429 and 503, one with credentials 401, 403 and 422, one with a body
    411, 413 and 415, and one with an id or name in its URL 404. A 422 that the view describes is
    one more alternative. A postprocessing hook of drf-spectacular.
    """
    result["components"]["schemas"]["RestError"] = REST_ERROR
    for path, operations in result["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            errors = {"400": _json(REST_ERROR_REF)}
            for status in ("429", "503"):
                errors[status] = _json(REST_ERROR_REF, **{"Retry-After": _header()})
            if "security" in operation:
                errors["401"] = _json(REST_ERROR_REF, **{"WWW-Authenticate": _header()})
                errors["403"] = _json(REST_ERROR_REF)
                others = [
                    described["schema"]
                    for described in responses.pop("422", {}).get("content", {}).values()
                ]
                by_field, message = UNPROCESSABLE
                if path.startswith(ACTIVECAMPAIGN_PREFIXES):
                    by_field = ERRORS
                errors["422"] = _json({"oneOf": [by_field, message, *others]})
            if "requestBody" in operation:
                errors |= {status: _json(REST_ERROR_REF) for status in ("411", "413", "415")}
            if "{" in path:
                errors["404"] = _json({"anyOf": [MESSAGE_REF, REST_ERROR_REF]})
            # Copied, because the writer of YAML would make aliases of shared parts.
            operation["responses"] = dict(sorted((responses | deepcopy(errors)).items()))
    return result


class MessageSerializer(serializers.Serializer[Any]):
    """One message."""

    message = serializers.CharField()


class FieldWarningSerializer(serializers.Serializer[Any]):
    """A field that was not written as sent: `config.api.warnings.FieldWarning`."""

    field = serializers.CharField()
    rule = serializers.CharField()
    message = serializers.CharField()


WARNINGS: dict[str, Any] = {
    "warnings": FieldWarningSerializer(
        many=True, required=False, help_text="What was not written as sent."
    )
}


def describe(
    response: Any,
    request: Any = None,
    parameters: Iterable[OpenApiParameter] = (),
    *,
    created: bool = False,
    unprocessable: Any = None,
    conflict: Any = None,
    filters: bool | None = None,
    names_row: bool = False,
) -> Callable[[View], View]:
    """Describe an endpoint whose response is not the page or object of its serializer class.

    Args:
        response: the serializer of the response with status 200.
        request: the serializer of the body, None without a body.
        parameters: of the query string, and headers.
        created: whether the status is 201 if the request creates the object.
        unprocessable: a further serializer of the response with status 422.
        conflict: the serializer of the response with status 409, if there is one.
        filters: whether the view's filter backends have parameters, None for lists alone.
        names_row: whether the body names a row, so that the status may be 404.
    """
    responses: dict[int, Any] = {200: response}
    if created:
        responses[201] = response
    if unprocessable is not None:
        responses[422] = unprocessable
    if conflict is not None:
        responses[409] = conflict
    if names_row:
        responses[404] = MessageSerializer
    return extend_schema(
        request=request, responses=responses, parameters=[*parameters], filters=filters
    )


def envelope(component: str, /, **fields: Any) -> Any:
    """Return the serializer of an object with these fields, as a component of this name."""
    return inline_serializer(component, fields)


def ids() -> serializers.ListField:
    """Return the description of a list of 1 to 1,000 ids."""
    id_field = serializers.IntegerField(min_value=0)
    return serializers.ListField(child=id_field, min_length=1, max_length=1000)


def parameter(
    name: str, description: str = "", schema: OpenApiSchema | None = None, many: bool = False
) -> OpenApiParameter:
    """Describe a parameter of the query string; with `many` one that repeats as `name[]`."""
    schema = schema or {"type": "string"}
    if many:
        name, schema = f"{name}[]", {"type": "array", "items": schema}
    return OpenApiParameter(name, schema, description=description)


def response_header(name: str, status: int) -> OpenApiParameter:
    """Describe a header that responses with this status can have."""
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, response=[status])
