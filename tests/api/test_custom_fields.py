"""Definitions of custom fields, and the values that contacts have for them."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from crm.models import CustomField, Subscriber

URL = "/custom-fields/contacts"
PLAN = {
    "field_key": "single-select",
    "type": "select-one",
    "label": "Plan",
    "slug": "plan",
    "options": ["Gold", "Silver"],
}
AGE = {"field_key": "number", "type": "number", "label": "Age", "slug": "age", "group": "Person"}
TEXT = {"field_key": "text", "type": "text"}
CUSTOM = "with[]=subscriber.custom_values"
BULK = "/subscribers/bulk-add-update"
# One field of each type, whose slug is the type.
TYPES = (
    *("text", "textarea", "number", "select-one", "select-multi", "radio", "checkbox", "date"),
    "date_time",
)


def put(api: APIClient, *fields: Any) -> Any:
    """Replace the definitions."""
    return api.put(URL, {"fields": fields})


def slugs(api: APIClient) -> list[str]:
    """Return the slugs that are listed."""
    return [field["slug"] for field in api.get(URL).json()["fields"]]


def shown(api: APIClient, contact: Subscriber) -> Any:
    """Return the custom values of a contact as a response shows them."""
    return api.get(f"/subscribers/{contact.pk}?{CUSTOM}").json()["subscriber"]["custom_values"]


@pytest.fixture
def declared(api: APIClient) -> None:
    """A field of each type."""
    options = {"options": ["Red", "Blue", "Black, shiny"]}
    put(api, *({"type": kind, "label": kind, "slug": kind, **options} for kind in TYPES))


# The definitions


def test_stored_definitions_are_answered_and_listed_as_sent(api: APIClient) -> None:
    response = put(api, PLAN, AGE)
    assert (response.status_code, response.json()) == (
        200,
        {"fields": [PLAN, AGE], "message": "Fields saved successfully!"},
    )
    assert api.get(URL).json() == {"fields": [PLAN, AGE]}


def test_definitions_are_read_from_json_text(api: APIClient) -> None:
    api.put(URL, {"fields": json.dumps([PLAN])})
    assert slugs(api) == ["plan"]


def test_the_types_and_groups_are_shown_on_request(api: APIClient) -> None:
    body = api.get(f"{URL}?with[]=field_types&with[]=field_groups").json()
    assert body["field_groups"] == [{"slug": "default", "title": "Custom Profile Data"}]
    assert body["field_types"]["multi-select"] == {
        "type": "select-multi",
        "label": "Multiple Select choice",
        "value_type": "array",
    }


@pytest.mark.parametrize(
    ("label", "slug"),
    [
        ("Favourite colour", "favourite_colour"),
        ("What's your T-shirt size?", "whats_your_t-shirt_size"),
        ("a" * 30, "a" * 25),
        ("2026", "cf_2026"),
        ("Email", "cf_email"),
        ("Größe", "grosse"),
        ("日本", "custom_field"),
        ("v1.5", "v1-5"),
    ],
)
def test_a_slug_is_made_from_the_label(api: APIClient, label: str, slug: str) -> None:
    assert put(api, {"type": "text", "label": label}).json()["fields"] == [
        {**TEXT, "label": label, "slug": slug}
    ]


def test_a_made_slug_differs_from_the_others(api: APIClient) -> None:
    plan = {"type": "text", "label": "Plan"}
    put(api, plan, {**plan, "slug": "plan"}, plan)
    assert slugs(api) == ["plan_1", "plan", "plan_2"]


def test_of_definitions_with_one_slug_the_first_is_stored(api: APIClient) -> None:
    response = put(api, PLAN, {**AGE, "slug": "plan"}).json()
    assert response["fields"] == [PLAN]
    assert [(each["field"], each["rule"]) for each in response["warnings"]] == [
        ("fields.1.slug", "unique")
    ]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (None, {"fields": "required"}),
        ("", {"fields": "required"}),
        ("{", {"fields": "json"}),
        ({"a": 1}, {"fields": "array"}),
        ([PLAN] * 301, {"fields": "max"}),
        (["text"], {"fields.0": "object"}),
        ([{"label": "Plan"}], {"fields.0.type": "required"}),
        ([{"type": "email", "label": "Plan"}], {"fields.0.type": "in"}),
        ([{"type": []}], {"fields.0.type": "required", "fields.0.label": "required"}),
        ([PLAN, {**PLAN, "type": ["text"]}], {"fields.1.type": "string"}),
        ([{**PLAN, "slug": "s" * 193}], {"fields.0.slug": "max"}),
        ([{**PLAN, "slug": "a\0"}], {"fields.0.slug": "string"}),
        ([{**PLAN, "options": [["Gold"]]}], {"fields.0.options": "string"}),
        ([{**PLAN, "options": ["x" * 17_000]}], {"fields.0.options": "max"}),
    ],
)
def test_an_invalid_definition_is_422_and_nothing_is_replaced(
    api: APIClient, fields: Any, error: dict[str, str]
) -> None:
    put(api, AGE)
    response = api.put(URL, {"fields": fields})
    rules = {field: next(iter(rules)) for field, rules in response.json().items()}
    assert (response.status_code, rules) == (422, error)
    assert slugs(api) == ["age"]


def test_the_empty_list_deletes_all_definitions(api: APIClient) -> None:
    put(api, PLAN)
    assert put(api).status_code == 200
    assert api.get(URL).json() == {"fields": []}


def test_a_definition_keeps_its_id_where_its_slug_stays(api: APIClient) -> None:
    put(api, PLAN, AGE)
    before = CustomField.objects.get(slug="age").pk
    put(api, {**AGE, "label": "Years"}, PLAN)
    assert [field["label"] for field in api.get(URL).json()["fields"]] == ["Years", "Plan"]
    assert CustomField.objects.get(slug="age").pk == before


def test_a_deleted_definition_leaves_the_values_and_their_key(
    api: APIClient, ada: Subscriber
) -> None:
    put(api, PLAN, AGE)
    api.put(f"/subscribers/{ada.pk}", {"custom_values": {"plan": "Gold"}})
    put(api)
    assert shown(api, ada) == {"plan": "Gold"}
    assert api.get(URL).json()["fields"] == [{**TEXT, "label": "plan", "slug": "plan"}]


def test_keys_of_values_alone_are_listed_as_text_after_the_definitions(
    api: APIClient, ada: Subscriber
) -> None:
    put(api, PLAN)
    api.put(f"/subscribers/{ada.pk}", {"custom_values": {"size": 4, "gone": "", "plan": "Gold"}})
    bob = {"email": "bob@example.com", "custom_values": {"hat": "yes"}}
    api.post(BULK, {"contacts": [bob]})
    assert slugs(api) == ["plan", "hat", "size"]


def test_a_contact_shows_the_definitions_on_request(api: APIClient, ada: Subscriber) -> None:
    put(api, PLAN)
    body = api.get(f"/subscribers/{ada.pk}?with[]=custom_fields").json()
    assert body["custom_fields"] == [PLAN]


def test_a_group_gets_another_name(api: APIClient) -> None:
    put(api, PLAN, AGE)
    names = {"old_name": "Person", "new_name": "About"}
    response = api.put(f"{URL}/update_group_name", names)
    assert response.json() == {
        "fields": [PLAN, {**AGE, "group": "About"}],
        "message": "Group name updated successfully!",
    }


# The values


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("text", 42, "42"),
        ("text", True, "1"),
        ("textarea", "two\nlines", "two\nlines"),
        ("select-one", "Red", "Red"),
        ("select-one", "Pink", "Pink"),
        ("radio", "Blue", "Blue"),
        ("number", 42, "42"),
        ("number", 1.5, "1.5"),
        ("number", " 1.50 ", "1.50"),
        ("checkbox", ["Red", "Pink"], ["Red", "Pink"]),
        ("checkbox", "Red, Blue", ["Red", "Blue"]),
        ("checkbox", "Black, shiny", ["Black, shiny"]),
        ("checkbox", {"0": "Red", "2": "Blue"}, ["Red", "Blue"]),
        ("checkbox", [], []),
        ("select-multi", "Red", ["Red"]),
        ("select-multi", [1, "", None], ["1"]),
        ("date", "2026-01-31", "2026-01-31"),
        ("date", "2026-01-31 10:00:00", "2026-01-31"),
        ("date", "0000-00-00", None),
        ("date_time", "2026-01-31 10:00:00", "2026-01-31 10:00:00"),
        ("date_time", "2026-01-31T10:00:00+01:00", "2026-01-31 09:00:00"),
        ("date_time", "2026-01-31", "2026-01-31 00:00:00"),
        ("text", None, None),
        ("text", {"a": [1]}, '{"a":[1]}'),
        ("undeclared", [{"a": 42}], [{"a": 42}]),
    ],
)
def test_a_value_is_stored_as_its_field_has_it(
    api: APIClient, ada: Subscriber, key: str, value: Any, stored: Any
) -> None:
    response = api.put(f"/subscribers/{ada.pk}", {"custom_values": {key: value}})
    assert (response.status_code, response.json()["values"]) == (200, {key: stored})
    assert shown(api, ada) == {key: stored}


INVALID = [
    ("number", "many", {"numeric": "The custom_values.number must be a number."}),
    ("number", True, {"numeric": "The custom_values.number must be a number."}),
    ("checkbox", {"a": 1}, {"array": "The custom_values.checkbox must be an array."}),
    ("checkbox", [["Red"]], {"string": "The custom_values.checkbox must be a string."}),
]


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(("key", "value", "error"), INVALID)
def test_a_value_that_its_field_cannot_have_is_422_and_nothing_is_stored(
    api: APIClient, ada: Subscriber, key: str, value: Any, error: Any
) -> None:
    values = {"undeclared": 1, key: value}
    response = api.put(f"/subscribers/{ada.pk}", {"city": "Ulm", "custom_values": values})
    assert (response.status_code, response.json()) == (422, {f"custom_values.{key}": error})
    ada.refresh_from_db()
    assert (ada.city, shown(api, ada)) == (None, {})


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(("key", "value"), [("date", "soon"), ("date_time", "25/12/1990")])
def test_an_invalid_date_is_422(api: APIClient, ada: Subscriber, key: str, value: str) -> None:
    response = api.put(f"/subscribers/{ada.pk}", {"custom_values": {key: value}})
    assert (response.status_code, list(response.json())) == (422, [f"custom_values.{key}"])


@pytest.mark.usefixtures("declared")
def test_in_a_batch_an_invalid_value_costs_that_contact_alone(api: APIClient) -> None:
    contacts = [
        {"email": "ada@example.com", "custom_values": {"number": "many"}},
        {"email": "bob@example.com", "custom_values": {"number": 7}},
    ]
    body = api.post(BULK, {"contacts": contacts}).json()
    assert [row["email"] for row in body["created"]] == ["bob@example.com"]
    assert [list(row["errors"]) for row in body["errors"]] == [["custom_values.number"]]
    assert Subscriber.objects.values_list("custom_values", flat=True).get() == {"number": "7"}


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("is_batch", [False, True])
def test_a_new_contact_has_values_by_the_slug_of_their_field(
    api: APIClient, is_batch: bool
) -> None:
    new = {"email": "ada@example.com", "status": "subscribed", "checkbox": "Red", "other": "x"}
    response = api.post(BULK, {"contacts": [new]}) if is_batch else api.post("/subscribers", new)
    assert response.status_code == 200
    assert Subscriber.objects.values_list("custom_values", flat=True).get() == {"checkbox": ["Red"]}


@pytest.mark.usefixtures("declared")
def test_custom_values_of_a_new_contact_win_over_fields_beside_them(api: APIClient) -> None:
    new = {
        **{"email": "ada@example.com", "status": "subscribed", "text": "beside"},
        "custom_values": {"number": 1},
    }
    api.post("/subscribers", new)
    assert Subscriber.objects.values_list("custom_values", flat=True).get() == {"number": "1"}


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    ("path", "body", "number"),
    [
        ("/subscribers", {"text": "a", "other": "b", "custom_values": {"date": "2026-01-31"}}, 1),
        ("/subscribers", {"text": "a", "first_name": "Bob"}, 1),
        ("/subscribers", {"first_name": "Bob", "tags": ["vip"], "double_optin": True}, 0),
        (BULK, {"contacts": [{"email": f"{n}@example.com", "text": "a"} for n in range(5)]}, 1),
        ("/subscribers/track-event", {"event_key": "k", "title": "t", "email": "a@example.com"}, 0),
    ],
)
def test_a_request_reads_the_definitions_once_and_only_for_custom_values(
    api: APIClient, path: str, body: dict[str, Any], number: int
) -> None:
    with CaptureQueriesContext(connection) as queries:
        api.post(path, {"email": "bob@example.com", "status": "subscribed"} | body)
    assert sum("crm_customfield" in query["sql"] for query in queries) == number


# Several contacts


@pytest.mark.usefixtures("declared")
def test_an_action_sets_a_value_of_several_contacts(api: APIClient, ada: Subscriber) -> None:
    action = {
        "action_name": "update_custom_fields",
        "subscriber_ids": [ada.pk, ada.pk + 1],
        "custom_field": {"key": "checkbox", "value": "Red,Blue"},
    }
    response = api.post("/subscribers/do-bulk-action", action)
    assert (response.status_code, response.json()["message"]) == (
        200,
        "Custom Fields has been updated for the selected subscribers",
    )
    assert shown(api, ada) == {"checkbox": ["Red", "Blue"]}


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    ("custom_field", "error"),
    [
        ({}, "message"),
        ({"key": "", "value": 1}, "message"),
        ({"key": ["a"], "value": 1}, "key"),
        ({"key": "number", "value": "many"}, "custom_values.number"),
        ({"key": "a", "value": "x" * 70_000}, "custom_values"),
        ({"key": "a", "value": "\0"}, "custom_values"),
        ("x", "custom_field"),
    ],
)
def test_an_action_without_a_valid_value_changes_nothing(
    api: APIClient, ada: Subscriber, custom_field: Any, error: str
) -> None:
    action = {"action_name": "update_custom_fields", "subscriber_ids": [ada.pk]}
    response = api.post("/subscribers/do-bulk-action", action | {"custom_field": custom_field})
    assert (response.status_code, list(response.json())) == (422, [error])
    assert shown(api, ada) == {}


@pytest.mark.parametrize(("query", "total"), [("", 0), ("&custom_fields=true", 1)])
def test_a_search_with_custom_fields_looks_into_their_values(
    api: APIClient, ada: Subscriber, query: str, total: int
) -> None:
    api.put(f"/subscribers/{ada.pk}", {"custom_values": {"pets": ["One ZEBRA_", 7]}})
    response = api.get(f"/subscribers?search=zebra_{query}")
    assert response.json()["subscribers"]["total"] == total
