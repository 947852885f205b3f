"""Contacts over HTTP, beyond what was recorded."""

import threading
from typing import Any

import psycopg
import pytest

from tests.system.server import API, Client, Server

CONTACTS = f"{API}/subscribers"


def shown(api: Client, contact: int, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = api("GET", f"{CONTACTS}/{contact}{query}").json()["subscriber"]
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
def test_what_is_no_email_is_refused(api: Client, store: psycopg.Connection, email: Any) -> None:
    answer = api("POST", CONTACTS, {"email": email, "status": "subscribed"})
    assert answer.status == 422
    assert list(answer.json()) == ["email"]
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (0,)


@pytest.mark.parametrize(
    "email", ["ü@bücher.example", "a+b@shop.local", "x@y.test", "x" * 64 + "@example.com"]
)
def test_an_email_is_kept_as_sent(api: Client, email: str) -> None:
    assert shown(api, api.contact(email))["email"] == email


def test_two_spellings_of_an_email_are_one_contact_although_eight_ask_at_once(
    server: Server, api: Client, store: psycopg.Connection
) -> None:
    statuses: list[int] = []

    def create(email: str) -> None:
        client = server.client()
        statuses.append(client("POST", CONTACTS, {"email": email, "status": "pending"}).status)
        client.close()

    spellings = ["ada@example.com", "ADA@example.com", "Ada@Example.com", "aDa@example.COM"] * 2
    threads = [threading.Thread(target=create, args=[email]) for email in spellings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [422] * 7
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (1,)


def test_fields_are_read_as_fluentcrm_reads_them(api: Client) -> None:
    contact = shown(
        api,
        api.contact(
            "ada@example.com",
            full_name="Ada King Lovelace",
            phone=12345,
            city="  New \n York ",
            state=True,
            total_points="7",
            life_time_value="29.50",
            latitude="52.52",
            longitude=-139.5,
            last_activity="2026-01-02 03:04:05",
            country="",
            source="s" * 60,
            contact_type="",
        ),
    )
    assert contact["first_name"] == "Ada"
    assert contact["last_name"] == "King Lovelace"
    assert contact["full_name"] == "Ada King Lovelace"
    assert contact["phone"] == "12345"
    assert contact["city"] == "New York"
    assert contact["state"] == "1"
    assert contact["total_points"] == "7"
    assert contact["life_time_value"] == "30"
    assert contact["latitude"] == "52.52000000"
    assert contact["longitude"] == "-139.50000000"
    assert contact["last_activity"] == "2026-01-02 03:04:05"
    assert contact["country"] is None
    assert contact["source"] == "s" * 50
    assert contact["contact_type"] == "lead"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("first_name", ["x"], "string"),
        ("city", {"a": 1}, "string"),
        ("date_of_birth", "yesterday", "date"),
        ("date_of_birth", "2026-02-30", "date"),
        ("date_of_birth", "300000-01-01", "date"),
        ("last_activity", "0001-01-01 00:00:00", "date"),
        ("last_activity", "2026-01-01 00:00:61", "date"),
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
        ("custom_values", "text", "object"),
        ("custom_values", [1], "object"),
        ("tags", {"a": 1}, "array"),
        ("tags", [["x"]], "string"),
    ],
)
def test_a_wrong_field_is_refused_by_name_and_nothing_is_stored(
    api: Client, store: psycopg.Connection, field: str, value: Any, rule: str
) -> None:
    fields = {"email": "ada@example.com", "status": "subscribed", field: value}
    answer = api("POST", CONTACTS, fields)
    assert answer.status == 422
    assert {name: list(rules) for name, rules in answer.json().items()} == {field: [rule]}
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (0,)


def test_a_date_may_have_a_time_after_it(api: Client) -> None:
    contact = api.contact("ada@example.com", date_of_birth="1990-05-01 00:00:00")
    assert shown(api, contact)["date_of_birth"] == "1990-05-01"


def test_an_update_without_an_email_or_with_null_keeps_it(api: Client) -> None:
    contact = api.contact("ada@example.com")
    answer = api("PUT", f"{CONTACTS}/{contact}", {"email": None, "city": "London"})
    assert answer.status == 200
    assert shown(api, contact)["email"] == "ada@example.com"
    assert shown(api, contact)["city"] == "London"


def test_the_fields_may_come_as_json_text_in_a_form_as_fluentcrms_own_page_sends_them(
    api: Client,
) -> None:
    contact = api.contact("ada@example.com")
    form = {"subscriber": '{"first_name":"Ada"}'}
    assert api("PUT", f"{CONTACTS}/{contact}", form=form).json()["isDirty"] is True
    assert shown(api, contact)["first_name"] == "Ada"


@pytest.mark.parametrize(
    ("nested", "rule"), [("text", "json"), ("[1]", "object"), ([1], "object"), (7, "object")]
)
def test_a_nested_subscriber_that_is_no_object_is_refused(
    api: Client, nested: Any, rule: str
) -> None:
    contact = api.contact("ada@example.com")
    answer = api("PUT", f"{CONTACTS}/{contact}", {"subscriber": nested})
    assert (answer.status, list(answer.json()["subscriber"])) == (422, [rule])


def test_stats_are_the_mails_that_nobody_sends_here(api: Client) -> None:
    contact = api.contact("ada@example.com")
    stats = shown(api, contact, "?with[]=stats")["stats"]
    assert stats == {"emails": 0, "opens": 0, "clicks": 0}


def test_custom_fields_of_a_contact_without_any_are_phps_empty_list(api: Client) -> None:
    api.contact("ada@example.com")
    row = api("GET", f"{CONTACTS}?custom_fields=true").json()["subscribers"]["data"][0]
    assert row["custom_fields"] == []


def test_an_unknown_status_is_passed_over_as_fluentcrm_does(api: Client) -> None:
    contact = api.contact("ada@example.com", status="nonsense")
    assert shown(api, contact)["status"] == "subscribed"


def test_a_subscribed_contact_stays_so_unless_it_is_said_to_be_unsubscribed(api: Client) -> None:
    contact = api.contact("ada@example.com")

    def after(status: str) -> str:
        fields = {"email": "ada@example.com", "status": status, "__force_update": "yes"}
        assert api("POST", CONTACTS, fields).status == 200
        found: str = shown(api, contact)["status"]
        return found

    assert after("pending") == "subscribed"
    assert after("unsubscribed") == "unsubscribed"
    assert after("pending") == "pending"
    assert after("subscribed") == "subscribed"


def test_custom_values_are_kept_as_sent_and_shown_where_asked_for(api: Client) -> None:
    values = {"size": "M", "tried": [1, {"a": None}], "gone": "x"}
    contact = api.contact("ada@example.com", custom_values=values)
    assert "custom_values" not in shown(api, contact)
    assert shown(api, contact, "?with[]=subscriber.custom_values")["custom_values"] == values
    change = {"custom_values": {"size": "L", "gone": ""}}
    answer = api("PUT", f"{CONTACTS}/{contact}", change).json()
    assert answer["values"] == change["custom_values"]
    kept = {"size": "L", "tried": [1, {"a": None}]}
    assert shown(api, contact, "?with[]=subscriber.custom_values")["custom_values"] == kept
    row = api("GET", f"{CONTACTS}?custom_fields=true").json()
    assert row["custom"] == "true"
    assert row["subscribers"]["data"][0]["custom_fields"] == kept


def test_numbers_beyond_64_bits_in_custom_values_are_shown(api: Client) -> None:
    values = {"mole": 6.02214076e23, "largest": 1e308, "word": 2**64 - 1}
    contact = api.contact("ada@example.com", custom_values=values)
    assert shown(api, contact, "?with[]=subscriber.custom_values")["custom_values"] == values
    rows = api("GET", f"{CONTACTS}?custom_fields=true").json()["subscribers"]["data"]
    assert [row["custom_fields"] for row in rows] == [values]


def test_an_email_can_be_changed_but_not_to_another_contacts(api: Client) -> None:
    ada, bob = api.contact("ada@example.com"), api.contact("bob@example.com")
    answer = api("PUT", f"{CONTACTS}/{ada}", {"email": "BOB@example.com"})
    assert (answer.status, list(answer.json()["email"])) == (422, ["unique"])
    assert api("PUT", f"{CONTACTS}/{ada}", {"email": "Ada@Example.com"}).json()["isDirty"] is True
    assert api("PUT", f"{CONTACTS}/{ada}", {"email": "Ada@Example.com"}).json()["isDirty"] is False
    assert shown(api, bob)["email"] == "bob@example.com"


def test_a_contact_carries_the_id_of_the_user_with_its_email(api: Client) -> None:
    contact = api.contact("ADMIN@example.com")
    assert shown(api, contact)["user_id"] == "1"
    api("PUT", f"{CONTACTS}/{contact}", {"email": "other@example.com"})
    assert shown(api, contact)["user_id"] is None


def test_names_of_tags_make_them_and_unknown_ids_are_passed_over(api: Client) -> None:
    contact = api.contact("ada@example.com", tags=["Early Bird", "ab", 987654], lists="News")
    assert [tag["slug"] for tag in shown(api, contact)["tags"]] == ["early-bird"]
    again = api.contact("bob@example.com", tags=["early-bird"])
    assert shown(api, again)["tags"] == shown(api, contact)["tags"]
    assert [one["title"] for one in shown(api, contact)["lists"]] == ["News"]
    other = api.contact("cy@example.com", tags=["EARLY bird", "EARLY-BIRD"])
    assert shown(api, other)["tags"] == shown(api, contact)["tags"]


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
        ("search=", ["cy", "bob", "ada"]),
    ],
)
def test_the_list_is_filtered_and_sorted(api: Client, query: str, found: list[str]) -> None:
    api.contact("ada@example.com", first_name="Ada", tags=["vip"], lists=["news"])
    api.contact("bob@example.com", first_name="bob", status="pending")
    api.contact("cy@example.com", last_name="50%_\\", status="bounced")
    answer = api("GET", f"{CONTACTS}?{query.replace(' ', '+')}").json()["subscribers"]
    assert [row["email"].split("@")[0] for row in answer["data"]] == found
    assert answer["total"] == len(found)


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
def test_a_mistake_in_a_filter_is_422_and_never_everybody(api: Client, query: str) -> None:
    api.contact("ada@example.com")
    assert api("GET", f"{CONTACTS}?{query}").status == 422


def test_search_contacts_limits_and_adds_what_is_chosen_already(api: Client) -> None:
    ids = [api.contact(f"c{number}@example.com") for number in range(3)]
    path = f"{CONTACTS}/search-contacts"
    assert list(api("GET", f"{path}?search=example&limit=2").json()["contacts"]) == [
        str(number) for number in ids[:2]
    ]
    assert list(api("GET", f"{path}?values[]={ids[2]}").json()["contacts"]) == [str(ids[2])]
    assert api("GET", path).json() == {"contacts": {}}
    assert api("GET", f"{path}?search=x&limit=x").status == 422


def test_deleting_a_contact_deletes_its_events_and_nothing_else(
    api: Client, store: psycopg.Connection
) -> None:
    ada, bob = api.contact("ada@example.com", tags=["vip"]), api.contact("bob@example.com")
    for contact in (ada, ada, bob):
        api.track(event_key="k", title="t", subscriber_id=contact)
    assert api("DELETE", f"{CONTACTS}/{ada}").status == 200
    assert store.execute("SELECT subscriber_id FROM events_trackedevent").fetchall() == [(bob,)]
    assert store.execute("SELECT subscriber_id FROM events_eventoccurrence").fetchall() == [(bob,)]


def test_pages_keep_the_parameters_and_their_order(api: Client) -> None:
    for number in range(5):
        api.contact(f"c{number}@example.com")
    answer = api("GET", "/subscribers/?page=2&search=example&per_page=2&x=%20y").json()
    page = answer["subscribers"]
    assert page["next_page_url"] == "/subscribers/?search=example&per_page=2&x=%20y&page=3"
    assert page["prev_page_url"] == "/subscribers/?search=example&per_page=2&x=%20y&page=1"
    assert (page["from"], page["to"], page["last_page"]) == (3, 4, 3)
