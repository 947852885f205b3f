"""The options from which people build filters: they are FluentCRM's, and each of them works."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.models import List, Subscriber, Tag
from events.tracking import track
from tests.api.filters import ask, condition

# A value of each type, and what a condition may need besides.
EXAMPLES: dict[str | None, Any] = {
    None: "",
    "text": "x",
    "texts": ["x"],
    "text or number": 1,
    "status": "pending",
    "statuses": ["pending"],
    "id": 1,
    "ids": [1],
    "number": 1,
    "whole number": 1,
    "days": 7,
    "hours": 36,
    "date": "2026-01-01",
    "date or time": "2026-01-01 10:00:00",
    "event key": "buy",
    "event keys": ["buy"],
    "providers": ["custom"],
    "path": "a.b",
}
TEXT = "= != contains not_contains in not_in is_null not_null"
DATE = "before after date_equal days_before days_within"
SEEN = f"{DATE} hours_before hours_within"
PROPERTY = "= != > < contains exists"
COMPARISON = "= != > >= < <="
SUBSCRIBER_TEXTS = (
    "first_name last_name email address_line_1 address_line_2 city state postal_code country "
    "timezone phone source prefix status contact_type user_id"
)
SUBSCRIBER_DATES = "date_of_birth last_activity created_at updated_at"
OPERATORS: dict[str, dict[str, str]] = {
    "subscriber": {
        **dict.fromkeys(SUBSCRIBER_TEXTS.split(), TEXT),
        **dict.fromkeys(SUBSCRIBER_DATES.split(), DATE),
    },
    "segment": {
        "status": "in not_in",
        "contact_type": "in not_in",
        "tags": "in not_in in_all not_in_all",
        "lists": "in not_in in_all not_in_all",
    },
    "event_tracking": {
        "event_tracking_key": "in not_in",
        "event_tracking_key_count": "= != > <",
        "event_tracking_value": "= != contains not_contains > <",
        "event_tracking_title": "= != contains not_contains",
        "event_tracking_total": COMPARISON,
        "event_tracking_count_within": COMPARISON,
        "event_tracking_first_seen": SEEN,
        "event_tracking_last_seen": SEEN,
        "event_tracking_not_done": "days_within hours_within",
        "event_tracking_provider": "in not_in",
        "event_tracking_property": PROPERTY,
        "event_tracking_any_value": "= != contains not_contains > <",
        "event_tracking_any_title": "= != contains not_contains",
        "event_tracking_any_provider": "in not_in",
        "event_tracking_any_property": PROPERTY,
        "event_tracking_since_last": "done not_done",
        "event_tracking_since_first": "done not_done",
    },
}
NEEDS: dict[str, list[str]] = {
    "event_tracking_key_count": ["extra_value"],
    "event_tracking_value": ["extra_value"],
    "event_tracking_total": ["extra_value"],
    "event_tracking_count_within": ["extra_value"],
    "event_tracking_first_seen": ["extra_value"],
    "event_tracking_last_seen": ["extra_value"],
    "event_tracking_not_done": ["extra_value"],
    "event_tracking_property": ["extra_value", "path"],
    "event_tracking_any_value": ["extra_value"],
    "event_tracking_any_title": ["extra_value"],
    "event_tracking_any_provider": ["extra_value"],
    "event_tracking_any_property": ["extra_value", "path"],
    "event_tracking_since_last": ["extra_value"],
    "event_tracking_since_first": ["extra_value"],
}
WINDOW = ["within_days", "within_hours"]
OPTIONAL: dict[str, list[str]] = {
    "event_tracking_count_within": WINDOW,
    "event_tracking_any_value": WINDOW,
    "event_tracking_any_title": WINDOW,
    "event_tracking_any_provider": WINDOW,
    "event_tracking_any_property": WINDOW,
    "event_tracking_since_last": ["same", *WINDOW],
    "event_tracking_since_first": ["same", *WINDOW],
}
EACH_OPERATOR = [
    (provider, name, operator)
    for provider, properties in OPERATORS.items()
    for name, operators in properties.items()
    for operator in operators.split()
]


def get_options(api: APIClient) -> dict[str, dict[str, Any]]:
    """Return the options of each provider by the name of the property."""
    groups = api.get("/subscribers/filter-options").json()["options"]
    return {
        group["value"]: {child["value"]: child for child in group["children"]} for group in groups
    }


def example(
    api: APIClient, provider: str, name: str, operator: str, without: str = ""
) -> dict[str, Any]:
    """Return a condition with the values and fields that the options name, or without one field."""
    option = get_options(api)[provider][name]
    [value_type] = [one["value_type"] for one in option["operators"] if one["value"] == operator]
    # Of a window one field is allowed, and event_tracking_count_within needs it.
    fields = {**option["needs"], **option["optional"]}
    needs = {
        field: EXAMPLES[kind]
        for field, kind in fields.items()
        if field not in (without, "within_days")
    }
    # Since an event, another one is done.
    value = "pay" if name.startswith("event_tracking_since") else EXAMPLES[value_type]
    return condition([provider, name], operator, value, **needs)


def test_the_options_are_every_property_and_operator(api: APIClient) -> None:
    shown = {
        provider: {
            name: " ".join(one["value"] for one in option["operators"])
            for name, option in options.items()
        }
        for provider, options in get_options(api).items()
    }
    assert shown == OPERATORS
    assert list(shown) == list(OPERATORS)


def test_the_options_name_the_operators_as_fluentcrm_does(api: APIClient) -> None:
    shown = {
        provider: {name: " ".join(option["custom_operators"]) for name, option in options.items()}
        for provider, options in get_options(api).items()
    }
    assert shown == OPERATORS


@pytest.mark.parametrize(
    ("provider", "name", "sentence"),
    [
        ("event_tracking", "event_tracking_first_seen", "Contacts that never did it are not in it"),
        ("event_tracking", "event_tracking_last_seen", "Contacts that never did it are not in it"),
        ("event_tracking", "event_tracking_not_done", "Contacts that never did it are in it"),
        ("subscriber", "last_activity", "Contacts without a date are not in it"),
        ("subscriber", "date_of_birth", "Contacts without a date are not in it"),
    ],
)
def test_an_option_says_what_becomes_of_contacts_that_have_no_date(
    api: APIClient, provider: str, name: str, sentence: str
) -> None:
    assert sentence in get_options(api)[provider][name]["help"]


@pytest.mark.parametrize(("member", "fields"), [("needs", NEEDS), ("optional", OPTIONAL)])
def test_the_options_name_the_further_fields_of_a_condition(
    api: APIClient, member: str, fields: dict[str, list[str]]
) -> None:
    shown = {
        name: list(option[member])
        for properties in get_options(api).values()
        for name, option in properties.items()
        if option[member]
    }
    assert shown == fields


@pytest.mark.parametrize(("provider", "name", "operator"), EACH_OPERATOR)
def test_a_condition_with_what_its_option_needs_is_accepted(
    api: APIClient, provider: str, name: str, operator: str
) -> None:
    Tag.objects.create(id=1, title="VIP", slug="vip")
    List.objects.create(id=1, title="News", slug="news")
    response = ask(api, [[example(api, provider, name, operator)]])
    assert response.status_code == 200, response.content


@pytest.mark.parametrize(
    ("provider", "name", "operator", "field"),
    [
        (provider, name, operator, field)
        for provider, name, operator in EACH_OPERATOR
        for field in NEEDS.get(name, [])
    ],
)
def test_a_condition_without_a_field_that_its_option_needs_is_rejected(
    api: APIClient, provider: str, name: str, operator: str, field: str
) -> None:
    response = ask(api, [[example(api, provider, name, operator, without=field)]])
    assert response.status_code == 422
    assert list(response.json()) == [f"advanced_filters.0.0.{field}"]


@pytest.mark.parametrize(
    ("option", "names"), [("keys", ["Login", "buy"]), ("providers", ["custom", "shop"])]
)
def test_the_keys_and_providers_to_choose_from_are_those_of_tracked_events(
    api: APIClient, ada: Subscriber, option: str, names: list[str]
) -> None:
    for key, provider in (("buy", "custom"), ("Login", "custom"), ("buy", "shop")):
        track({"event_key": key, "title": provider, "provider": provider, "email": ada.email})
    response = api.get(f"/reports/ajax-options?option_key=event_tracking_{option}")
    assert response.json() == {"options": [{"id": name, "title": name} for name in names]}


def test_the_group_of_events_is_fluentcrms(api: APIClient) -> None:
    group = api.get("/subscribers/filter-options").json()["options"][2]
    assert (group["label"], group["value"]) == ("Event Tracking", "event_tracking")


def test_the_option_of_a_key_is_fluentcrms(api: APIClient) -> None:
    option = get_options(api)["event_tracking"]["event_tracking_key"]
    assert {name: option[name] for name in ("type", "component", "option_key", "is_multiple")} == {
        "type": "selections",
        "component": "ajax_selector",
        "option_key": "event_tracking_keys",
        "is_multiple": True,
    }


def test_the_option_of_a_count_is_fluentcrms(api: APIClient) -> None:
    option = get_options(api)["event_tracking"]["event_tracking_key_count"]
    assert option["type"] == "composite_optioned_compare"
    assert option["custom_operators"] == {
        "=": "equal",
        "!=": "not equal",
        ">": "greater than",
        "<": "less than",
    }
