"""Filters by custom fields.

What matches is FluentCRM's as its app/Models/Subscriber.php, buildCustomFieldsFilterQuery, says.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from crm import contacts
from crm.contacts import create
from crm.custom_fields import replace_fields
from crm.filters import compile_filters
from crm.models import CustomField, CustomKey
from tests.api.filters import ask, condition, found, names_of

TODAY = timezone.localdate()
FIELDS = (
    CustomField(label="Nickname", slug="name", type="text"),
    CustomField(label="Points", slug="points", type="number"),
    CustomField(label="Plan", slug="plan", type="select-one", options=["Pro", "Pro Plus", "Free"]),
    CustomField(label="Colours", slug="colours", type="checkbox", options=["Red", "Infrared"]),
    CustomField(label="Renewal", slug="renewal", type="date"),
    CustomField(label="Last call", slug="call", type="date_time"),
)
CONTACTS: dict[str, dict[str, Any]] = {
    "ada": {
        **{"name": "Countess", "points": "9", "plan": "Pro", "colours": ["Red", "Blue"]},
        **{"renewal": "2026-01-31", "call": "2026-01-31 10:00:00", "2026": "yes", "a.b": 5},
    },
    "bob": {
        **{"name": "countess 50%", "points": "10.0", "plan": "Pro Plus", "colours": ["Infrared"]},
        **{"renewal": str(TODAY - timedelta(days=3)), "call": "2026-02-01 00:00:00"},
    },
    # As they are from before the fields were declared.
    "cyd": {
        **{"name": 7, "points": "many", "plan": ["Pro"], "colours": "Red", "renewal": "soon"},
        "call": "2026-01-31",
    },
    "dan": {"name": None, "points": None, "colours": [], "renewal": "2026-02-31 10:00:00"},
    "eve": {},
}


@pytest.fixture(autouse=True)
def stored(api: APIClient) -> None:
    """The fields and the contacts."""
    replace_fields(FIELDS)
    for name, values in CONTACTS.items():
        contact = create({"email": f"{name}@example.com"})
        contacts.set_custom_values(contact, values)


@pytest.mark.parametrize(
    ("slug", "operator", "value", "names"),
    [
        ("name", "=", "COUNTESS", "ada"),
        ("name", "!=", "countess", "bob cyd dan eve"),
        ("name", "contains", "50%", "bob"),
        ("name", "not_contains", "countess", "cyd dan eve"),
        ("name", "in", ["count", "7"], "ada bob cyd"),
        ("name", "not_in", ["50", "7"], "ada dan eve"),
        ("name", "is_null", "", "dan eve"),
        ("name", "not_null", "", "ada bob cyd"),
        ("points", ">", 9, "bob"),
        ("points", "<", "10", "ada"),
        ("points", "=", "10", "bob"),
        ("points", "!=", 10, "ada cyd dan eve"),
        ("points", "not_null", None, "ada bob cyd"),
        # A part of the value, as in FluentCRM.
        ("plan", "in", ["pro"], "ada bob cyd"),
        ("plan", "not_in", ["plus", "free"], "ada cyd dan eve"),
        ("plan", "=", "Pro", "ada"),
        ("plan", "!=", "Pro", "bob cyd dan eve"),
        ("colours", "in", ["red"], "ada bob cyd"),
        ("colours", "not_in", ["infra"], "ada cyd dan eve"),
        ("colours", "=", "red", "ada cyd"),
        ("colours", "!=", "red", "bob dan eve"),
        # No part of the JSON around the values.
        ("colours", "in", ["[", '", "'], ""),
        ("colours", "is_null", None, "dan eve"),
        ("renewal", "before", "2026-02-01", "ada"),
        ("renewal", "date_equal", "2026-01-31", "ada"),
        ("renewal", "days_within", 5, "bob"),
        ("renewal", "days_before", 2, "ada bob dan"),
        ("renewal", "not_null", None, "ada bob cyd dan"),
        ("call", "before", "2026-01-31 10:00:00", "cyd"),
        ("call", "after", "2026-01-31", "ada bob"),
        ("call", "date_equal", "2026-01-31", "ada cyd"),
        ("call", "days_within", 30, ""),
        # Keys without a definition are texts.
        ("2026", "=", "yes", "ada"),
        ("a.b", "contains", "5", "ada"),
    ],
)
def test_the_contacts_that_a_condition_matches(
    api: APIClient, slug: str, operator: str, value: Any, names: str
) -> None:
    by_field = condition(["custom_fields", slug], operator, value)
    assert found(api, by_field) == names.split()
    # In a UNION of groups, and as the only contact.
    both = ask(api, [[by_field], [condition(["subscriber", "email"], "=", "no@example.com")]])
    assert sorted(names_of(both)) == names.split()


@pytest.mark.parametrize(
    ("slug", "operator", "value", "path", "message"),
    [
        ("Plan", "=", "Pro", ".source", "must be one of: name, points, plan,"),
        ("points", "contains", "1", ".operator", "must be one of: >, <, =, !=, is_null, not_null."),
        ("points", ">", "many", ".value", "must be a number."),
        ("plan", "in", [], ".value", "is required."),
        ("renewal", "before", "soon", ".value", "YYYY-MM-DD"),
        ("name", "=", "a\0", ".value", "NUL"),
    ],
)
def test_a_mistake_in_a_condition_is_422(
    api: APIClient, slug: str, operator: str, value: Any, path: str, message: str
) -> None:
    response = ask(api, [[condition(["custom_fields", slug], operator, value)]])
    [(found_path, rules)] = response.json().items()
    assert (response.status_code, found_path) == (422, f"advanced_filters.0.0{path}")
    assert message in next(iter(rules.values()))


def test_the_options_are_those_of_fluentcrm(api: APIClient) -> None:
    groups = api.get("/subscribers/filter-options").json()["options"]
    [group] = [group for group in groups if group["value"] == "custom_fields"]
    fields = {child["value"]: child for child in group["children"]}
    assert [*fields] == ["name", "points", "plan", "colours", "renewal", "call", "2026", "a.b"]
    own = ("label", "value", "custom_operators", "operators", "needs", "optional")
    options = {slug: {k: v for k, v in f.items() if k not in own} for slug, f in fields.items()}
    assert (group["label"], fields["points"]["label"]) == ("Custom Fields", "Points")
    assert options["name"] == options["a.b"] == {"type": "text"}
    assert options["points"] == {"type": "numeric"}
    assert options["colours"] == {
        **{"type": "selections", "is_multiple": True, "is_singular_value": True},
        "options": {"Red": "Red", "Infrared": "Infrared"},
    }
    assert options["renewal"] == {
        **{"type": "dates", "date_type": "date", "value_format": "yyyy-MM-dd"}
    }
    assert options["call"]["value_format"] == "yyyy-MM-dd HH:mm:ss"


def test_without_fields_the_options_have_no_group(api: APIClient) -> None:
    CustomField.objects.all().delete()
    CustomKey.objects.all().delete()
    groups = api.get("/subscribers/filter-options").json()["options"]
    assert [group["value"] for group in groups] == ["subscriber", "segment", "event_tracking"]


def test_the_fields_of_a_filter_are_read_once(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    by_name = condition(["custom_fields", "name"], "=", "x")
    by_plan = condition(["custom_fields", "plan"], "=", "x")
    with django_assert_num_queries(2):
        compile_filters([[by_name, by_plan], [by_plan]], "filters")


def test_a_segment_tells_of_a_field_that_is_gone(api: APIClient) -> None:
    gone = CustomField(label="Gone", slug="gone", type="text")
    replace_fields([*FIELDS, gone])
    filters = [[condition(["custom_fields", "gone"], "!=", "x")]]
    segment_id = api.post("/segments", {"title": "S", "filters": filters}).json()["segment"]["id"]
    assert api.get(f"/segments/{segment_id}/subscribers").status_code == 200
    replace_fields(FIELDS)
    response = api.get(f"/segments/{segment_id}/subscribers")
    assert (response.status_code, response.json()["segment"]) == (
        422,
        {"invalid": 'The filter of the segment "S" is invalid.'},
    )


def test_the_admin_describes_a_condition_by_the_label(admin_client: Client, api: APIClient) -> None:
    filters = [[condition(["custom_fields", "colours"], "in", ["Red"])]]
    api.post("/segments", {"title": "S", "filters": filters})
    page = admin_client.get("/admin/crm/segment/").content.decode()
    assert "Colours includes in “<bdi>Red</bdi>”" in page


@pytest.mark.parametrize("value", ["two  blanks", "line\nend", " before", "behind "])
def test_white_space_of_values_counts(api: APIClient, value: str) -> None:
    contact = create({"email": "fay@example.com"})
    contacts.set_custom_values(contact, {"name": value})
    for operator in ("=", "contains", "in"):
        assert found(api, condition(["custom_fields", "name"], operator, value)) == ["fay"]


def types_with(**changes: str) -> list[dict[str, Any]]:
    """Return the definitions as FluentCRM writes them, with other types, or without those of ""."""
    return [
        {"label": field.label, "slug": field.slug, "type": kind, "options": field.options}
        for field in FIELDS
        if (kind := changes.get(field.slug, field.type))
    ]


@pytest.mark.parametrize("changes", [{"colours": ""}, {"colours": "text"}, {"colours": "number"}])
def test_a_field_that_a_segment_uses_keeps_its_type(
    api: APIClient, changes: dict[str, str]
) -> None:
    filters = [[condition(["custom_fields", "colours"], "!=", "red")]]
    api.post("/segments", {"title": "Not red", "filters": filters})
    response = api.put("/custom-fields/contacts", {"fields": types_with(**changes)})
    message = 'Segments use a field whose type would change: "Not red". Change them first.'
    assert (response.status_code, response.json()) == (422, {"fields": {"in_use": message}})
    assert CustomField.objects.count() == len(FIELDS)


def test_other_fields_are_replaced_and_a_text_field_may_go(api: APIClient) -> None:
    for slug in ("colours", "name"):
        filters = [[condition(["custom_fields", slug], "=", "red")]]
        api.post("/segments", {"title": slug, "filters": filters})
    response = api.put("/custom-fields/contacts", {"fields": types_with(name="", points="text")})
    assert response.status_code == 200
    assert found(api, condition(["custom_fields", "name"], "=", "countess")) == ["ada"]


def test_a_key_that_a_segment_uses_gets_no_type(api: APIClient) -> None:
    filters = [[condition(["custom_fields", "2026"], "=", "yes")]]
    api.post("/segments", {"title": "Came", "filters": filters})
    added = [*types_with(), {"label": "2026", "slug": "2026", "type": "number"}]
    response = api.put("/custom-fields/contacts", {"fields": added})
    assert (response.status_code, list(response.json())) == (422, ["fields"])
