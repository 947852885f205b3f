"""events.activecampaign.fields: visits, switches and wrapped objects."""

from typing import Any

import pytest

from config.api.validation import InvalidPart
from crm.activecampaign.fields import unwrap
from events.activecampaign.fields import to_visit
from tests.unit.rejections import rejection, rule

NO_EMAIL = {"email": "A valid email address must be provided."}


def filled(value: Any) -> dict[str, str]:
    """Return the fields of a visit that are not empty."""
    return {field: text for field, text in to_visit(value).items() if text}


@pytest.mark.parametrize(
    "visit",
    [
        {"email": " ada@example.com ", "url": "/cart", "other": 1},
        '{"email": "ada@example.com", "url": "/cart"}',
    ],
)
def test_a_visit_is_an_object_or_its_json(visit: Any) -> None:
    assert filled(visit) == {"email": "ada@example.com", "url": "/cart"}


def test_a_visit_has_each_field_of_activecampaign() -> None:
    assert list(to_visit({"email": "ada@example.com"})) == [
        "email",
        *("url", "referrer", "ip4", "ip6", "ua", "browser", "platform", "device"),
        *("utm_source", "utm_campaign", "utm_medium", "utm_term", "utm_content"),
    ]


@pytest.mark.parametrize("visit", [None, "", "  ", False, [], {}, "{}", "[]", "null"])
def test_an_empty_visit_has_no_fields(visit: Any) -> None:
    assert to_visit(visit) == {}


def test_numbers_in_a_visit_become_text() -> None:
    assert filled({"email": "a@example.com", "device": 5})["device"] == "5"


def test_a_visit_that_is_not_json_is_rejected() -> None:
    assert rejection(to_visit, "{") == {"json": "The visit must be an object or its JSON."}


@pytest.mark.parametrize("visit", [[1], 5, True, "5", '"ada@example.com"'])
def test_a_visit_that_is_no_object_is_rejected(visit: Any) -> None:
    assert rule(to_visit, visit) == "object"


@pytest.mark.parametrize("value", [[], {"a": 1}, "a\0b"])
def test_a_field_of_a_visit_that_is_no_text_is_rejected(value: Any) -> None:
    assert rejection(to_visit, {"url": value}) == {"string": "The url in visit must be a text."}


def test_a_visit_over_64_kb_is_rejected() -> None:
    assert rule(to_visit, {"url": "a" * 65_536}) == "max"


@pytest.mark.parametrize(
    "email", ["undefined", "null", "NaN", "[object Object]", " undefined ", "NULL"]
)
def test_what_javascript_sends_without_an_email_is_rejected(email: str) -> None:
    assert rejection(to_visit, {"email": email}) == NO_EMAIL


@pytest.mark.parametrize("field", ["timestamp", "time", "created_at", "counter", "occurred_at"])
def test_a_field_of_a_visit_that_another_program_means_is_told(field: str) -> None:
    with pytest.raises(InvalidPart) as raised:
        to_visit({"email": "ada@example.com", field: "2020-01-01 12:00:00"})
    assert raised.value.kept["email"] == "ada@example.com"
    assert raised.value.message.startswith(f"The {field} in visit is not read")


def test_the_wrapped_object_is_returned() -> None:
    params = {"eventTrackingEvent": {"name": "checkout"}}
    assert unwrap(params, "eventTrackingEvent") == {"name": "checkout"}


@pytest.mark.parametrize("wrapped", [None, "a", [], [{"name": "a"}], 5])
def test_anything_else_wrapped_is_empty(wrapped: Any) -> None:
    assert unwrap({"eventTrackingEvent": wrapped}, "eventTrackingEvent") == {}


def test_a_request_without_the_wrapped_object_is_empty() -> None:
    assert unwrap({"name": "checkout"}, "eventTrackingEvent") == {}
