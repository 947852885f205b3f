"""The simple parameters of the list of contacts, for people who type URLs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from crm.contacts import create
from events.tracking import track
from tests.api.filters import CONTACTS, get_with_body, names_of

PREFIX = "/wp-json/fluent-crm/v2"
KNOWN = (
    "created_after, event_key, event_count_min, event_since, event_provider, event_value_contains"
)
FORMS = "Send YYYY-MM-DD, YYYY-MM-DD HH:MM:SS, or ISO 8601 such as 2026-01-31T09:30:00+01:00."
ALL = f"{KNOWN}, advanced_filters, filter_type, segment, tags, lists, statuses"


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


@pytest.fixture
def shoppers(db: None) -> None:
    """Three contacts with events.

    Ada checked out three times long ago and once today, Bob three times this month. Cy logged in
    twice.
    """
    create({"email": "ada@example.com", "created_at": datetime(2020, 1, 1, tzinfo=UTC)})
    create({"email": "bob@example.com"})
    create({"email": "cy@example.com"})
    for days in (90, 80, 70, 0):
        track(
            {
                "event_key": "checkout",
                "provider": "woocommerce",
                "title": f"Order {days}",
                "value": f"EUR {days}",
                "email": "ada@example.com",
                "occurred_at": days_ago(days),
            }
        )
    paid = {"event_key": "checkout", "title": "Paid", "value": "100%", "email": "bob@example.com"}
    for days in (20, 10, 1):
        track({**paid, "occurred_at": days_ago(days)})
    login = {"event_key": "login", "title": "App", "email": "cy@example.com"}
    for _ in range(2):
        track({**login, "provider": "woocommerce"})


@pytest.mark.usefixtures("shoppers")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"event_key": "checkout"}, ["ada", "bob"]),
        ({"event_key": "Checkout"}, []),
        ({"event_provider": "woocommerce"}, ["ada", "cy"]),
        ({"event_value_contains": "eur"}, ["ada"]),
        ({"event_value_contains": "%"}, ["bob"]),
        ({"event_count_min": "1"}, ["ada", "bob", "cy"]),
        ({"event_count_min": "4"}, ["ada"]),
        ({"event_key": "login", "event_count_min": "2"}, ["cy"]),
        ({"event_key": "checkout", "event_count_min": "4"}, ["ada"]),
        ({"event_key": "checkout", "event_count_min": "5"}, []),
        ({"event_key": "checkout", "event_since": "30d"}, ["ada", "bob"]),
        ({"event_key": "checkout", "event_since": "12h"}, ["ada"]),
        ({"event_since": "1w"}, ["ada", "bob", "cy"]),
        ({"event_key": "checkout", "event_count_min": "3", "event_since": "30d"}, ["bob"]),
        ({"event_key": "checkout", "event_count_min": "3", "event_since": "2w"}, []),
        ({"event_count_min": "2", "event_since": days_ago(15).isoformat()}, ["bob", "cy"]),
        ({"event_key": "checkout", "event_provider": "woocommerce"}, ["ada"]),
        ({"event_key": "login", "event_value_contains": "eur"}, []),
        (
            {
                "event_key": "checkout",
                "event_provider": "custom",
                "event_value_contains": "100",
                "event_count_min": "2",
                "event_since": "15d",
            },
            ["bob"],
        ),
        (
            {"event_provider": "woocommerce", "event_count_min": "2", "event_since": "15d"},
            ["cy"],
        ),
        ({"created_after": "2020-01-01"}, ["bob", "cy"]),
        ({"created_after": "2019-12-31"}, ["ada", "bob", "cy"]),
        ({"created_after": "2020-01-02", "event_key": "checkout"}, ["bob"]),
        ({"event_key": "checkout", "search": "ada"}, ["ada"]),
    ],
)
def test_parameters_find_the_contacts_that_match_all_of_them(
    api: APIClient, query: dict[str, str], names: list[str]
) -> None:
    response = api.get(f"{CONTACTS}?{urlencode(query)}&sort_type=ASC")
    assert names_of(response) == names
    assert response.json()["subscribers"]["total"] == len(names)


@pytest.mark.parametrize(
    ("query", "rule", "text"),
    [
        ("event_key=", "required", "The event_key field is required."),
        ("event_key=%20", "required", "The event_key field is required."),
        ("event_key=a%00", "string", "The event_key must not contain a NUL character."),
        ("event_key[]=a", "string", "The event_key must be a string."),
        ("event_count_min=0", "min", "The event_count_min must be at least 1."),
        ("event_count_min=many", "numeric", "The event_count_min must be a number."),
        ("event_count_min=1.5", "numeric", "The event_count_min must be a number."),
        ("event_since=30", "date", f"The event_since is not a valid date. {FORMS}"),
        ("event_since=month", "date", f"The event_since is not a valid date. {FORMS}"),
        ("event_value_contains=", "required", "The event_value_contains field is required."),
        ("created_after=x", "date", f"The created_after is not a valid date. {FORMS}"),
        ("created_before=2020-01-01", "in", f"There is no created_before; there are {ALL}."),
        ("segments=bought", "in", f"There is no segments; there are {ALL}."),
        ("tag=vip", "in", f"There is no tag; there are {ALL}."),
        ("list_id=3", "in", f"There is no list_id; there are {ALL}."),
        ("status=subscribed", "in", f"There is no status; there are {ALL}."),
        ("filters=[]", "in", f"There is no filters; there are {ALL}."),
        ("company_ids[]=5", "in", f"There is no company_ids; there are {ALL}."),
        ("advanced_filter=[[]]", "in", f"There is no advanced_filter; there are {ALL}."),
        ("eventkey=checkout", "in", f"There is no eventkey; there are {ALL}."),
        ("created_after=20260101", "date", f"The created_after is not a valid date. {FORMS}"),
        ("user_id=59", "in", f"There is no user_id; there are {ALL}."),
        ("email=ada@example.com", "in", f"There is no email; there are {ALL}."),
        ("ids[]=3", "in", f"There is no ids; there are {ALL}."),
        ("Tags[]=1", "in", f"There is no Tags; there are {ALL}."),
        ("event_kye=checkout", "in", f"There is no event_kye; there are {ALL}."),
    ],
)
def test_a_parameter_with_a_mistake_is_422_and_does_not_find_every_contact(
    api: APIClient, query: str, rule: str, text: str
) -> None:
    response = api.get(f"{CONTACTS}?{query}")
    name = query.partition("=")[0].removesuffix("[]")
    assert (response.status_code, response.json()) == (422, {name: {rule: text}})


def test_null_in_a_json_body_is_a_mistake_too(api: APIClient) -> None:
    response = get_with_body(api, {"event_key": None})
    assert (response.status_code, list(response.json())) == (422, ["event_key"])


@pytest.mark.usefixtures("shoppers")
@pytest.mark.parametrize("count", [2**31, 2**32 + 1, 2**63 - 1])
@pytest.mark.parametrize("more", ["", "&event_since=30d", "&event_key=checkout&event_since=30d"])
def test_a_count_beyond_every_event_finds_no_contact(api: APIClient, count: int, more: str) -> None:
    response = api.get(f"{CONTACTS}?event_count_min={count}{more}")
    assert response.json()["subscribers"]["total"] == 0


def test_a_response_names_every_mistake(api: APIClient) -> None:
    response = api.get(f"{CONTACTS}?event_since=x&event_count_min=x")
    assert (response.status_code, set(response.json())) == (
        422,
        {"event_since", "event_count_min"},
    )


@pytest.fixture(scope="module")
def parameters() -> Any:
    """The parameters of the list of contacts in the API description."""
    description = APIClient().get("/api/schema/").json()
    return description["paths"][f"{PREFIX}/subscribers"]["get"]["parameters"]


@pytest.mark.parametrize("name", ALL.split(", "))
def test_the_api_description_explains_every_parameter(parameters: Any, name: str) -> None:
    [parameter] = [one for one in parameters if one["name"].rstrip("[]") == name]
    assert parameter["description"]
