"""automations.placeholders: which texts are accepted, and what becomes of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations.placeholders import InvalidTemplate, parse_text, render
from config.api.validation import InvalidValue
from crm.api.serializers import SubscriberSerializer
from tests.unit.rejections import rejection, rule

CONTACT = {
    "id": 7,
    "first_name": "Ada",
    "last_name": None,
    "email": "ada@example.com",
    "total_points": "12",
    "latitude": None,
    "custom_values": {
        "plan": "Pro",
        "colours": ["red", "green"],
        "address": {"city": "London"},
        "empty": "",
        "nothing": None,
    },
}
EVENT = {
    "event_key": "checkout",
    "title": "Order placed",
    "value": "99.50",
    "counter": "3",
    "properties": {
        "order": {"total": 99.5, "items": [{"sku": "A-1"}, {"sku": "B-2"}]},
        "whole": 2.0,
        "paid": True,
        "gift": False,
        "spaced": "  a b  ",
        "long": "x" * 65_536,
        "a": {"b": [1, None]},
    },
    "context": {"url": "/cart"},
}


def rendered(text: str) -> str:
    """Return a text for the contact and the event."""
    return render(parse_text(text), CONTACT, EVENT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Hello", "Hello"),
        ("{{contact.first_name}}", "Ada"),
        ("Dear {{ contact.first_name }}, no. {{contact.id}}!", "Dear Ada, no. 7!"),
        ("{{contact.total_points}}", "12"),
        ("{{contact.custom_values.plan}}", "Pro"),
        ("{{contact.custom.plan}}", "Pro"),
        ("{{contact.custom.colours}}", "red, green"),
        ("{{contact.custom.address.city}}", "London"),
        ("{{contact.custom.address}}", '{"city":"London"}'),
        ("{{event.event_key}} {{event.title}}", "checkout Order placed"),
        ("{{event.value}} {{event.counter}}", "99.50 3"),
        ("{{event.context.url}}", "/cart"),
        ("{{event.properties.order.total}}", "99.5"),
        ("{{event.properties.order.items.1.sku}}", "B-2"),
        ("{{event.properties.whole}}", "2"),
        ("{{event.properties.paid}}", "1"),
        ("{{event.properties.spaced}}", "a b"),
        ("{{event.properties.a}}", '{"b":[1,null]}'),
        ("{{event.properties.a.b}}", "[1,null]"),
        ('{"a":{"total":{{event.properties.order.total}}}}', '{"a":{"total":99.5}}'),
        ("{ {contact.id} } }}", "{ {contact.id} } }}"),
    ],
)
def test_a_placeholder_becomes_its_value(text: str, expected: str) -> None:
    assert rendered(text) == expected


@pytest.mark.parametrize(
    "name",
    [
        "contact.last_name",
        "contact.latitude",
        "contact.phone",
        "contact.custom.unknown",
        "contact.custom.empty",
        "contact.custom.nothing",
        "contact.custom.plan.deeper",
        "contact.custom.colours.7",
        "contact.custom.colours.-1",
        "contact.custom.address.__class__",
        "event.provider",
        "event.properties.unknown.total",
        "event.properties.gift",
        "event.properties.a.b.1",
        "event.properties.long",
    ],
)
def test_a_value_that_is_missing_or_empty_becomes_the_default(name: str) -> None:
    assert rendered(f"[{{{{{name}}}}}] [{{{{{name}| you there }}}}]") == "[] [you there]"


def test_without_an_event_its_values_are_missing() -> None:
    template = parse_text("{{contact.first_name}}: {{event.value|none}}{{event.properties.a.b}}")
    assert render(template, CONTACT) == "Ada: none"


def test_a_value_with_a_placeholder_is_not_rendered_again() -> None:
    contact = {"first_name": "{{contact.email}}", "email": "ada@example.com"}
    assert render(parse_text("{{contact.first_name}}"), contact) == "{{contact.email}}"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("{{contact.password}}", 1),
        ("Hello {{contact.firstname}}", 7),
        ("{{contact.id}} {{contact.hash}}", 16),
        ("{{contact}}", 1),
        ("{{contact.first_name.upper}}", 1),
        ("{{contact.custom_values}}", 1),
        ("{{contact.custom}}", 1),
        ("{{contact.custom.}}", 1),
        ("{{contact.custom..plan}}", 1),
        ("{{Contact.first_name}}", 1),
        ("{{event.properties}}", 1),
        ("{{event.id}}", 1),
        ("{{event.custom.plan}}", 1),
        ("{{crm.business_name}}", 1),
        ("{{}}", 1),
        ("{{{contact.id}}}", 1),
        ("{{contact.__class__}}", 1),
    ],
)
def test_an_unknown_name_is_rejected_by_its_position(text: str, position: int) -> None:
    with pytest.raises(InvalidTemplate) as raised:
        parse_text(text)
    assert (raised.value.rule, raised.value.position) == ("in", position)


def test_the_error_of_an_unknown_name_has_the_names() -> None:
    message = rejection(parse_text, "Hello {{contact.{firstname}}}")["in"]
    assert message.startswith(
        'The field is invalid at character 7: there is no "contact.{firstname". The names are:'
        " contact.id, contact.user_id, contact.contact_owner, contact.company_id, contact.email,"
    )
    assert message.endswith("contact.custom_values.…, event.properties.…, event.context.….")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("Hello {{contact.first_name", 7),
        ("Hello {{contact.first_name}", 7),
        ("{{contact.id {{contact.id}}", 1),
        ("{{contact.id|{{contact.email}}}}", 1),
        ("{{contact.id}}{{", 15),
    ],
)
def test_an_unclosed_placeholder_is_rejected_by_its_position(text: str, position: int) -> None:
    with pytest.raises(InvalidTemplate) as raised:
        parse_text(text)
    assert (raised.value.rule, raised.value.position) == ("unclosed", position)


@pytest.mark.parametrize(
    "text", ["{{contact.first_name||ucfirst}}", "{{contact.first_name|you|ucfirst}}"]
)
def test_fluentcrms_transformers_are_rejected(text: str) -> None:
    assert rule(parse_text, text) == "default"


def test_a_text_of_65535_characters_is_accepted() -> None:
    assert rendered("x" * 65_535) == "x" * 65_535


def test_a_longer_text_is_rejected() -> None:
    message = "The field may not be greater than 65535 characters."
    assert rejection(parse_text, "x" * 65_536) == {"max": message}


def test_a_text_with_100_placeholders_is_accepted() -> None:
    assert rendered("{{contact.id}}" * 100) == "7" * 100


def test_a_text_with_more_placeholders_is_rejected() -> None:
    assert rule(parse_text, "{{contact.id}}" * 101) == "max"


def test_a_text_that_is_too_long_for_every_use_ends_early() -> None:
    template = parse_text("{{contact.first_name}}" * 100)
    assert len(render(template, {"first_name": "x" * 60_000})) == 180_000


@pytest.mark.parametrize("text", [["a"], {"a": 1}, "a\0b", "a\udcffb"])
def test_what_is_no_text_is_rejected(text: Any) -> None:
    assert rule(parse_text, text) == "string"


@pytest.mark.parametrize(
    "column", sorted({*SubscriberSerializer.names} - {"hash", "avatar", "photo"})
)
def test_a_column_that_the_api_shows_can_be_named(column: str) -> None:
    template = parse_text(f"{{{{contact.{column}}}}}")
    assert render(template, {column: "shown"}) == "shown"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.sampled_from("abc"), children),
    max_leaves=10,
)


@given(JSON, JSON)
def test_every_value_can_be_rendered(value: Any, other: Any) -> None:
    template = parse_text("{{contact.first_name}}{{contact.custom.a.0.b}}{{event.properties.a.b}}")
    contact = {"first_name": value, "custom_values": other}
    assert isinstance(render(template, contact, {"properties": value}), str)


PIECES = st.sampled_from(["{{", "}}", "{", "}", "|", ".", " ", "contact", "first_name", "custom"])


@given(st.lists(PIECES, max_size=12))
def test_every_text_is_rendered_or_rejected(pieces: list[str]) -> None:
    try:
        result: object = rendered("".join(pieces))
    except InvalidValue as error:
        result = error.for_field("field")
    assert result is not None
