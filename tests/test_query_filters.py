"""The list's simple parameters, for people who type addresses."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import psycopg
import pytest

from tests.system.server import API, Client

CONTACTS = f"{API}/subscribers"
KNOWN = (
    "created_after, event_key, event_count_min, event_since, event_provider, event_value_contains"
)
ALL = f"{KNOWN}, advanced_filters, segment"


def days_ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


@pytest.fixture
def people(api: Client, store: psycopg.Connection) -> Client:
    """Ada checked out thrice long ago and once today, Bob thrice this month, Cy logged in twice."""
    for name in ("ada", "bob", "cy"):
        api.contact(f"{name}@example.com")
    store.execute("UPDATE crm_subscriber SET created_at = '2020-01-01' WHERE email ~ '^ada'")
    shop = {"event_key": "checkout", "provider": "woocommerce"}
    for days in (90, 80, 70, 0):
        sent = {**shop, "title": f"Order {days}", "value": f"EUR {days}"}
        api.track(**sent, email="ada@example.com", occurred_at=days_ago(days))
    for days in (20, 10, 1):
        sent = {"event_key": "checkout", "title": "Paid", "value": "100%"}
        api.track(**sent, email="bob@example.com", occurred_at=days_ago(days))
    for _ in range(2):
        api.track(event_key="login", title="App", email="cy@example.com", provider="woocommerce")
    return api


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
        ({"event_count_min": "2", "event_since": days_ago(15)}, ["bob", "cy"]),
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
def test_finds_contacts_that_fit_all_of_them(
    people: Client, query: dict[str, str], names: list[str]
) -> None:
    page = people("GET", f"{CONTACTS}?{urlencode(query)}&sort_type=ASC").json()["subscribers"]
    assert [row["email"].partition("@")[0] for row in page["data"]] == names
    assert page["total"] == len(names)


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
        ("event_since=30", "date", "The event_since is not a valid date."),
        ("event_since=month", "date", "The event_since is not a valid date."),
        ("event_value_contains=", "required", "The event_value_contains field is required."),
        ("created_after=x", "date", "The created_after is not a valid date."),
        ("created_before=2020-01-01", "in", f"There is no created_before; there are {ALL}."),
        ("segments=bought", "in", f"There is no segments; there are {ALL}."),
        ("advanced_filter=[[]]", "in", f"There is no advanced_filter; there are {ALL}."),
        ("eventkey=checkout", "in", f"There is no eventkey; there are {ALL}."),
        ("created_after=20260101", "date", "The created_after is not a valid date."),
        ("event_kye=checkout", "in", f"There is no event_kye; there are {ALL}."),
    ],
)
def test_a_mistake_is_422_and_never_everybody(
    api: Client, query: str, rule: str, text: str
) -> None:
    answer = api("GET", f"{CONTACTS}?{query}")
    name = query.partition("=")[0].removesuffix("[]")
    assert (answer.status, answer.json()) == (422, {name: {rule: text}})


def test_null_in_a_json_body_is_a_mistake_as_well(api: Client) -> None:
    answer = api("GET", CONTACTS, {"event_key": None})
    assert (answer.status, list(answer.json())) == (422, ["event_key"])


@pytest.mark.parametrize("count", [2**31, 2**32 + 1, 2**63 - 1])
def test_a_count_that_nobody_reaches_finds_nobody(people: Client, count: int) -> None:
    for more in ("", "&event_since=30d", "&event_key=checkout&event_since=30d"):
        answer = people("GET", f"{CONTACTS}?event_count_min={count}{more}")
        assert answer.json()["subscribers"]["total"] == 0


def test_all_mistakes_are_told_at_once(api: Client) -> None:
    answer = api("GET", f"{CONTACTS}?event_since=x&event_count_min=x")
    assert (answer.status, set(answer.json())) == (422, {"event_since", "event_count_min"})


def test_the_api_description_has_every_parameter_with_its_words(api: Client) -> None:
    described = api("GET", "/api/schema/", auth=None).json()["paths"][CONTACTS]["get"]
    words = {one["name"]: one.get("description") for one in described["parameters"]}
    for name in KNOWN.split(", "):
        assert words[name]
    assert words["advanced_filters"]
    assert words["segment"]
