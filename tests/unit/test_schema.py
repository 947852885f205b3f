"""config.api.schema: the hooks that complete the OpenAPI document."""

from typing import Any

import pytest
from drf_spectacular.utils import OpenApiParameter
from rest_framework.fields import IntegerField

from config.api.schema import (
    add_error_responses,
    envelope,
    ids,
    parameter,
    response_header,
    select_endpoints,
)

OK = {"200": {"description": ""}}


def error_statuses(path: str, **operation: Any) -> list[str]:
    """Return the statuses that the hook adds to an operation."""
    return [status for status in responses(path, **operation) if status != "200"]


def responses(path: str, **operation: Any) -> dict[str, Any]:
    """Return the responses of an operation after the hook."""
    document = {
        "paths": {path: {"post": {"responses": dict(OK)} | operation}},
        "components": {"schemas": {}},
    }
    found: dict[str, Any] = add_error_responses(document)["paths"][path]["post"]["responses"]
    return found


def test_every_operation_can_answer_400_429_and_503() -> None:
    assert error_statuses("/tags") == ["400", "429", "503"]


def test_an_operation_with_credentials_can_answer_401_403_and_422() -> None:
    assert error_statuses("/tags", security=[]) == ["400", "401", "403", "422", "429", "503"]


def test_an_operation_with_a_body_can_answer_411_413_and_415() -> None:
    assert error_statuses("/tags", requestBody={}) == ["400", "411", "413", "415", "429", "503"]


def test_an_operation_with_an_id_in_its_url_can_answer_404() -> None:
    assert error_statuses("/tags/{tag_id}") == ["400", "404", "429", "503"]


def test_responses_are_in_the_order_of_their_statuses() -> None:
    found = responses("/tags/{tag_id}", security=[], requestBody={})
    errors = ("400", "401", "403", "404", "411", "413", "415", "422", "429", "503")
    assert list(found) == ["200", *errors]


def test_503_has_the_header_retry_after() -> None:
    assert responses("/tags")["503"]["headers"] == {
        "Retry-After": {"schema": {"type": "string"}, "required": True}
    }


def test_401_has_the_header_www_authenticate() -> None:
    assert list(responses("/tags", security=[])["401"]["headers"]) == ["WWW-Authenticate"]


def test_422_has_field_errors_or_one_message() -> None:
    schema = responses("/tags", security=[])["422"]["content"]["application/json"]["schema"]
    by_field, message = schema["oneOf"]
    assert by_field["additionalProperties"]["additionalProperties"] == {"type": "string"}
    assert message["required"] == ["message"]


def test_422_of_activecampaigns_calls_has_a_list_of_errors() -> None:
    found = responses("/api/3/tags", security=[])["422"]["content"]["application/json"]["schema"]
    assert [each["required"] for each in found["oneOf"]] == [["errors"], ["message"]]


def test_a_422_of_the_view_is_one_more_alternative() -> None:
    described = {"content": {"application/json": {"schema": {"$ref": "#/Outcome"}}}}
    found = responses("/tags", security=[], responses={**OK, "422": described})
    schema = found["422"]["content"]["application/json"]["schema"]
    assert len(schema["oneOf"]) == 3
    assert schema["oneOf"][2] == {"$ref": "#/Outcome"}


def test_operations_do_not_share_parts_of_their_responses() -> None:
    document: dict[str, Any] = {
        "paths": {"/tags": {"get": {"responses": {}}, "post": {"responses": {}}}},
        "components": {"schemas": {}},
    }
    operations = add_error_responses(document)["paths"]["/tags"]
    first, second = (
        operations[method]["responses"]["400"]["content"]["application/json"]["schema"]
        for method in ("get", "post")
    )
    assert first == second
    assert first is not second


def test_the_error_body_becomes_a_component() -> None:
    document = add_error_responses({"paths": {}, "components": {"schemas": {"Tag": {}}}})
    assert list(document["components"]["schemas"]) == ["Tag", "RestError"]
    assert document["components"]["schemas"]["RestError"]["required"] == ["code", "data", "message"]


@pytest.mark.parametrize(
    ("path", "selected"),
    [
        ("/wp-json/fluent-crm/v2/tags", "/wp-json/fluent-crm/v2/tags"),
        ("/wp-json/fluent-crm/v2/tags/", "/wp-json/fluent-crm/v2/tags"),
        ("/event", "/event"),
        ("/api/3/eventTrackingEvents/", "/api/3/eventTrackingEvents"),
    ],
)
def test_an_endpoint_is_described_without_its_trailing_slash(path: str, selected: str) -> None:
    assert select_endpoints([(path, "regex", "GET", None)]) == [(selected, "regex", "GET", None)]


@pytest.mark.parametrize("path", ["/tags", "/subscribers/{id}", "/healthz", "/admin/"])
def test_endpoints_at_other_prefixes_are_not_described(path: str) -> None:
    assert select_endpoints([(path, "regex", "GET", None)]) == []


def test_a_parameter_is_text_in_the_query_string_by_default() -> None:
    described = parameter("search", "Part of a name.")
    assert (described.name, described.type) == ("search", {"type": "string"})
    assert (described.location, described.description) == (
        OpenApiParameter.QUERY,
        "Part of a name.",
    )


def test_a_parameter_that_repeats_is_an_array_with_brackets_in_its_name() -> None:
    described = parameter("tags", schema={"type": "integer"}, many=True)
    assert described.name == "tags[]"
    assert described.type == {"type": "array", "items": {"type": "integer"}}


def test_a_response_header_belongs_to_one_status() -> None:
    described = response_header("Idempotency-Replayed", 200)
    assert (described.location, described.response) == (OpenApiParameter.HEADER, [200])


def test_an_envelope_is_a_component_with_its_fields() -> None:
    serializer = envelope("TagEnvelope", id=IntegerField())
    assert type(serializer).__name__ == "TagEnvelope"
    assert list(serializer.fields) == ["id"]


def test_a_list_of_ids_has_1_to_1000_items() -> None:
    field = ids()
    assert (field.min_length, field.max_length) == (1, 1000)
