"""Contacts, beyond what was recorded of FluentCRM."""

from typing import Any
from urllib.parse import urlencode

import pytest
from rest_framework.test import APIClient

from crm.models import Subscriber, Tag
from events.models import EventOccurrence, TrackedEvent

FORM = "application/x-www-form-urlencoded"
CUSTOM = "?with[]=subscriber.custom_values"


def created(api: APIClient, email: str, **fields: Any) -> int:
    """Create a contact by the API, subscribed unless the fields say otherwise."""
    response = api.post("/subscribers", {"email": email, "status": "subscribed"} | fields)
    assert response.status_code == 200, response.content
    contact_id: int = response.json()["contact"]["id"]
    return contact_id


def shown(api: APIClient, contact_id: int, query: str = "") -> dict[str, Any]:
    """Return a contact as the API shows it."""
    found: dict[str, Any] = api.get(f"/subscribers/{contact_id}{query}").json()["subscriber"]
    return found


@pytest.mark.parametrize(
    "email",
    [
        "a@b",
        "a b@example.com",
        "a@example.com\r\nBcc: x@example.com",
        "@example.com",
        "a@",
        7,
        True,
        "x" * 64 + "@" + "y" * 60 + "." + "y" * 60 + "." + "y" * 60 + ".example",
        "a\u0000@example.com",
    ],
)
def test_a_text_that_is_no_email_is_rejected(api: APIClient, email: Any) -> None:
    response = api.post("/subscribers", {"email": email, "status": "subscribed"})
    assert response.status_code == 422
    assert list(response.json()) == ["email"]
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize(
    "email", ["ü@bücher.example", "a+b@shop.local", "x@y.test", "x" * 64 + "@example.com"]
)
def test_an_email_is_kept_as_sent(api: APIClient, email: str) -> None:
    assert shown(api, created(api, email))["email"] == email


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.com", "aDa@example.COM"])
def test_an_email_in_any_spelling_is_one_contact(
    api: APIClient, ada: Subscriber, email: str
) -> None:
    response = api.post("/subscribers", {"email": email, "status": "pending"})
    assert (response.status_code, list(response.json())) == (422, ["email"])
    assert Subscriber.objects.get() == ada


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("phone", 12345, "12345"),
        ("city", "  New \n York ", "New York"),
        ("state", True, "1"),
        ("total_points", "7", "7"),
        ("life_time_value", "29.50", "30"),
        ("latitude", "52.52", "52.52000000"),
        ("longitude", -139.5, "-139.50000000"),
        ("last_activity", "2026-01-02 03:04:05", "2026-01-02 03:04:05"),
        ("country", "", None),
        ("source", "s" * 60, "s" * 50),
        ("contact_type", "", "lead"),
    ],
)
def test_a_field_is_read_as_fluentcrm_reads_it(
    api: APIClient, field: str, sent: Any, kept: str | None
) -> None:
    assert shown(api, created(api, "ada@example.com", **{field: sent}))[field] == kept


def test_a_full_name_is_split_after_the_first_word(api: APIClient) -> None:
    contact = shown(api, created(api, "ada@example.com", full_name="Ada King Lovelace"))
    assert contact["first_name"] == "Ada"
    assert contact["last_name"] == "King Lovelace"
    assert contact["full_name"] == "Ada King Lovelace"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("first_name", ["x"], "string"),
        ("city", {"a": 1}, "string"),
        ("latitude", "north", "numeric"),
        ("latitude", "NaN", "numeric"),
        ("longitude", "-Infinity", "numeric"),
        ("total_points", "NaN", "numeric"),
        ("avatar", "javascript:alert(1)", "url"),
        ("longitude", 181, "numeric"),
        ("latitude", "1e999999999", "numeric"),
        ("total_points", -1, "numeric"),
        ("total_points", 2**63, "numeric"),
        ("total_points", "1e9999999", "numeric"),
        ("custom_values", "text", "json"),
        ("custom_values", "[1]", "object"),
        ("custom_values", [1], "object"),
        ("tags", {"a": 1}, "array"),
        ("tags", [["x"]], "string"),
    ],
)
def test_a_wrong_field_is_rejected_by_name_and_nothing_is_stored(
    api: APIClient, field: str, value: Any, rule: str
) -> None:
    fields = {"email": "ada@example.com", "status": "subscribed", field: value}
    response = api.post("/subscribers", fields)
    assert response.status_code == 422
    assert {name: list(rules) for name, rules in response.json().items()} == {field: [rule]}
    assert not Subscriber.objects.exists()


def test_a_date_may_have_a_time_after_it(api: APIClient) -> None:
    contact_id = created(api, "ada@example.com", date_of_birth="1990-05-01 00:00:00")
    assert shown(api, contact_id)["date_of_birth"] == "1990-05-01"


@pytest.mark.parametrize("email", [{}, {"email": None}], ids=["no e-mail", "null"])
def test_an_update_without_an_email_or_with_null_keeps_it(
    api: APIClient, ada: Subscriber, email: dict[str, None]
) -> None:
    response = api.put(f"/subscribers/{ada.id}", {**email, "city": "London"})
    assert response.status_code == 200
    contact = shown(api, ada.id)
    assert (contact["email"], contact["city"]) == ("ada@example.com", "London")


def test_the_fields_of_an_update_may_come_as_json_text_in_a_form(
    api: APIClient, ada: Subscriber
) -> None:
    form = urlencode({"subscriber": '{"first_name":"Ada"}'})
    response = api.put(f"/subscribers/{ada.id}", form, content_type=FORM)
    assert response.json()["isDirty"] is True
    assert shown(api, ada.id)["first_name"] == "Ada"


@pytest.mark.parametrize(
    ("nested", "rule"), [("text", "json"), ("[1]", "object"), ([1], "object"), (7, "object")]
)
def test_a_nested_subscriber_that_is_no_object_is_rejected(
    api: APIClient, ada: Subscriber, nested: Any, rule: str
) -> None:
    response = api.put(f"/subscribers/{ada.id}", {"subscriber": nested})
    assert (response.status_code, list(response.json()["subscriber"])) == (422, [rule])


def test_the_stats_of_a_contact_count_no_emails(api: APIClient, ada: Subscriber) -> None:
    stats = shown(api, ada.id, "?with[]=stats")["stats"]
    assert stats == {"emails": 0, "opens": 0, "clicks": 0}


def test_the_custom_fields_of_a_contact_without_any_are_an_empty_list(
    api: APIClient, ada: Subscriber
) -> None:
    row = api.get("/subscribers?custom_fields=true").json()["subscribers"]["data"][0]
    assert row["custom_fields"] == []


@pytest.mark.parametrize(
    ("before", "sent", "after"),
    [
        ("subscribed", "pending", "subscribed"),
        ("subscribed", "unsubscribed", "unsubscribed"),
        ("unsubscribed", "pending", "pending"),
        ("pending", "subscribed", "subscribed"),
    ],
)
def test_a_subscribed_contact_stays_so_unless_the_request_unsubscribes_it(
    api: APIClient, ada: Subscriber, before: str, sent: str, after: str
) -> None:
    Subscriber.objects.update(status=before)
    fields = {"email": "ada@example.com", "status": sent, "__force_update": "yes"}
    assert api.post("/subscribers", fields).status_code == 200
    assert shown(api, ada.id)["status"] == after


VALUES = {"size": "M", "tried": [1, {"a": None}], "gone": "x"}
CHANGE = {"size": "L", "gone": ""}
CHANGED = {"size": "L", "tried": [1, {"a": None}]}


def test_custom_values_are_kept_as_sent_and_shown_on_request_only(api: APIClient) -> None:
    contact_id = created(api, "ada@example.com", custom_values=VALUES)
    assert "custom_values" not in shown(api, contact_id)
    assert shown(api, contact_id, CUSTOM)["custom_values"] == VALUES


def test_an_update_changes_its_custom_values_and_removes_empty_ones(api: APIClient) -> None:
    contact_id = created(api, "ada@example.com", custom_values=VALUES)
    response = api.put(f"/subscribers/{contact_id}", {"custom_values": CHANGE})
    assert response.json()["values"] == CHANGE
    assert shown(api, contact_id, CUSTOM)["custom_values"] == CHANGED


def test_the_list_shows_custom_values_on_request(api: APIClient) -> None:
    created(api, "ada@example.com", custom_values=CHANGED)
    response = api.get("/subscribers?custom_fields=Yes").json()
    assert response["custom"] == "Yes"
    assert response["subscribers"]["data"][0]["custom_fields"] == CHANGED


def test_numbers_beyond_64_bits_in_custom_values_are_shown(api: APIClient) -> None:
    values = {"mole": 6.02214076e23, "largest": 1e308, "word": 2**64 - 1}
    contact_id = created(api, "ada@example.com", custom_values=values)
    assert shown(api, contact_id, CUSTOM)["custom_values"] == values
    rows = api.get("/subscribers?custom_fields=true").json()["subscribers"]["data"]
    assert [row["custom_fields"] for row in rows] == [values]


def test_an_email_cannot_be_changed_to_that_of_another_contact(
    api: APIClient, ada: Subscriber
) -> None:
    bob = created(api, "bob@example.com")
    response = api.put(f"/subscribers/{ada.id}", {"email": "BOB@example.com"})
    assert (response.status_code, list(response.json()["email"])) == (422, ["unique"])
    assert shown(api, ada.id)["email"] == "ada@example.com"
    assert shown(api, bob)["email"] == "bob@example.com"


def test_an_email_can_be_changed_to_another_spelling(api: APIClient, ada: Subscriber) -> None:
    response = api.put(f"/subscribers/{ada.id}", {"email": "Ada@Example.com"})
    assert response.json()["isDirty"] is True
    assert shown(api, ada.id)["email"] == "Ada@Example.com"


def test_an_update_that_changes_nothing_is_not_dirty(api: APIClient, ada: Subscriber) -> None:
    response = api.put(f"/subscribers/{ada.id}", {"email": "ada@example.com"})
    assert response.json()["isDirty"] is False


def test_a_tag_is_created_by_its_name_and_unknown_ids_are_ignored(api: APIClient) -> None:
    contact_id = created(api, "ada@example.com", tags=["Early Bird", "ab", 987654])
    assert [tag["slug"] for tag in shown(api, contact_id)["tags"]] == ["early-bird"]


def test_a_list_is_created_by_its_name_alone(api: APIClient) -> None:
    contact_id = created(api, "ada@example.com", lists="News")
    assert [one["title"] for one in shown(api, contact_id)["lists"]] == ["News"]


@pytest.mark.parametrize("names", [["early-bird"], ["EARLY bird", "EARLY-BIRD"]])
def test_a_tag_is_found_by_slug_or_title_in_any_case(api: APIClient, names: list[str]) -> None:
    first = created(api, "ada@example.com", tags=["Early Bird"])
    second = created(api, "bob@example.com", tags=names)
    assert shown(api, second)["tags"] == shown(api, first)["tags"]
    assert Tag.objects.count() == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=ADA", ["ada"]),
        ("search=Ada Lovelace", ["ada"]),
        ("search=%25", ["cy"]),
        ("search=_", ["cy"]),
        ("search=\\", ["cy"]),
        ("search='", []),
        ("statuses[]=pending&statuses[]=bounced", ["cy", "bob"]),
        ("statuses[0]=pending", ["bob"]),
        ("statuses=pending", ["bob"]),
        ("tags[]=vip", ["ada"]),
        ("tags[]=987654", []),
        ("tags[]=nobody-has-this", []),
        ("lists[]=news&tags[]=vip", ["ada"]),
        ("sort_by=email&sort_type=ASC", ["ada", "bob", "cy"]),
        ("sort_by=first_name&sort_type=asc", ["cy", "ada", "bob"]),
        ("sort_by=password&sort_type=DROP", ["cy", "bob", "ada"]),
        ("sort_by=user_id", ["cy", "bob", "ada"]),
        ("search=", ["cy", "bob", "ada"]),
    ],
)
def test_the_list_is_filtered_and_sorted(api: APIClient, query: str, found: list[str]) -> None:
    created(api, "ada@example.com", first_name="Ada", tags=["vip"], lists=["news"])
    created(api, "bob@example.com", first_name="bob", status="pending")
    created(api, "cy@example.com", last_name="50%_\\", status="bounced")
    page = api.get(f"/subscribers?{query.replace(' ', '+')}").json()["subscribers"]
    assert [row["email"].split("@")[0] for row in page["data"]] == found
    assert page["total"] == len(found)


@pytest.mark.parametrize(
    "query",
    [
        "statuses[]=nonsense",
        "statuses[]=subscribed&statuses[]=subscribd",
        "filter_type=advanced",
        "filter_type=advanced&advanced_filters={}",
        "advanced_filters=[]",
        "tags[a]=1",
        "tags[][]=1",
    ],
)
def test_a_mistake_in_a_filter_is_422_and_shows_no_contacts(
    api: APIClient, ada: Subscriber, query: str
) -> None:
    response = api.get(f"/subscribers?{query}")
    assert response.status_code == 422
    assert "subscribers" not in response.json()


def test_no_custom_field_is_declared(api: APIClient) -> None:
    assert api.get("/custom-fields/contacts").json() == {"fields": []}


def test_an_unknown_option_key_has_no_options(api: APIClient) -> None:
    response = api.get("/reports/ajax-options?option_key=campaigns")
    assert response.json() == {"options": []}


@pytest.fixture
def ids(api: APIClient) -> list[int]:
    """The ids of c0@example.com, c1@example.com …, five contacts."""
    return [created(api, f"c{number}@example.com") for number in range(5)]


def test_search_contacts_finds_as_many_as_its_limit(api: APIClient, ids: list[int]) -> None:
    found = api.get("/subscribers/search-contacts?search=example&limit=2").json()["contacts"]
    assert list(found) == [str(number) for number in ids[:2]]


def test_search_contacts_shows_the_contacts_that_are_chosen(api: APIClient, ids: list[int]) -> None:
    found = api.get(f"/subscribers/search-contacts?values[]={ids[2]}").json()["contacts"]
    assert list(found) == [str(ids[2])]


def test_search_contacts_without_a_search_finds_none(api: APIClient, ids: list[int]) -> None:
    assert api.get("/subscribers/search-contacts").json() == {"contacts": {}}


def test_search_contacts_rejects_a_limit_that_is_no_number(api: APIClient) -> None:
    assert api.get("/subscribers/search-contacts?search=x&limit=x").status_code == 422


def test_deleting_a_contact_deletes_its_events_and_no_others(
    api: APIClient, ada: Subscriber
) -> None:
    ada.tags.create(title="vip", slug="vip")
    bob = created(api, "bob@example.com")
    for contact_id in (ada.id, ada.id, bob):
        event = {"event_key": "k", "title": "t", "subscriber_id": contact_id}
        assert api.post("/subscribers/track-event", event).status_code == 200
    assert api.delete(f"/subscribers/{ada.id}").status_code == 200
    assert [event.subscriber_id for event in TrackedEvent.objects.all()] == [bob]
    assert [occurrence.subscriber_id for occurrence in EventOccurrence.objects.all()] == [bob]


def test_the_links_of_a_page_keep_the_parameters_and_their_order(
    api: APIClient, ids: list[int]
) -> None:
    response = api.get("/subscribers/?page=2&search=example&per_page=2&x=%20y")
    page = response.json()["subscribers"]
    assert page["next_page_url"] == "/subscribers/?search=example&per_page=2&x=%20y&page=3"
    assert page["prev_page_url"] == "/subscribers/?search=example&per_page=2&x=%20y&page=1"
    assert (page["from"], page["to"], page["last_page"]) == (3, 4, 3)
