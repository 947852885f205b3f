"""The calls about many contacts, and tags and lists, beyond what was recorded."""

from typing import Any

import psycopg
import pytest

from tests.system.server import API, Client

BULK = f"{API}/subscribers/bulk-add-update"
ACTION = f"{API}/subscribers/do-bulk-action"


def test_a_thousand_contacts_are_taken_and_one_more_is_refused(
    api: Client, store: psycopg.Connection
) -> None:
    contacts = [{"email": f"c{number}@example.com"} for number in range(1000)]
    answer = api("POST", BULK, {"contacts": contacts}).json()
    assert (len(answer["created"]), answer["updated"], answer["invalids"]) == (1000, [], [])
    answer = api("POST", BULK, {"contacts": [*contacts, {"email": "more@example.com"}]})
    assert (answer.status, list(answer.json()["contacts"])) == (422, ["max"])
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (1000,)


def test_what_is_wrong_in_a_batch_is_told_as_it_was_sent_and_the_rest_is_stored(
    api: Client, store: psycopg.Connection
) -> None:
    wrong: list[Any] = [
        {"email": "bad"},
        {},
        "text",
        None,
        7,
        {"email": "x@example.com", "city": []},
    ]
    contacts = [{"email": "ada@example.com", "tags": ["vip"]}, *wrong, {"email": "ADA@example.com"}]
    answer = api("POST", BULK, {"contacts": contacts}).json()
    assert [row["email"] for row in answer["created"]] == ["ada@example.com"]
    assert [row["email"] for row in answer["updated"]] == ["ADA@example.com"]
    assert answer["invalids"] == wrong
    assert store.execute("SELECT count(*) FROM crm_subscriber_tags").fetchone() == (1,)


@pytest.mark.parametrize(
    "contact", ['{"email":"bad","x":DEEP}', '{"email":"ada@example.com","x":DEEP}', "DEEP"]
)
def test_a_batch_that_its_answer_could_not_repeat_is_refused(
    api: Client, store: psycopg.Connection, contact: str
) -> None:
    body = f'{{"contacts":[{contact.replace("DEEP", "[" * 300 + "]" * 300)}]}}'
    answer = api("POST", BULK, body=body.encode(), headers={"Content-Type": "application/json"})
    assert (answer.status, list(answer.json()["contacts"])) == (422, ["depth"])
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (0,)


def test_a_batch_changes_the_status_of_a_subscribed_contact_only_by_force(api: Client) -> None:
    contact = api.contact("ada@example.com")
    change = {"contacts": [{"email": "ada@example.com", "status": "pending"}]}
    api("POST", BULK, change)
    assert api("GET", f"{API}/subscribers/{contact}").json()["subscriber"]["status"] == "subscribed"
    api("POST", BULK, change | {"force_update": True})
    assert api("GET", f"{API}/subscribers/{contact}").json()["subscriber"]["status"] == "pending"


def test_a_batch_may_come_as_json_text_in_a_form_and_keeps_the_time_of_creation(
    api: Client, store: psycopg.Connection
) -> None:
    contact = '{"email":"ada@example.com","created_at":"2020-01-02 03:04:05"}'
    answer = api("POST", BULK, form={"contacts": f"[{contact}]"}).json()
    shown = api("GET", f"{API}/subscribers/{answer['created'][0]['id']}").json()["subscriber"]
    assert shown["created_at"] == "2020-01-02 03:04:05"
    plain = api.contact("bob@example.com", created_at="2020-01-02 03:04:05")
    shown = api("GET", f"{API}/subscribers/{plain}").json()["subscriber"]
    assert shown["created_at"] > "2026"


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "/tags/bulk", {"tags": [{"title": "x"}] * 1001}),
        ("DELETE", "/subscribers", {"subscribers": list(range(1, 1002))}),
        ("POST", "/subscribers", {"email": "a@example.com", "status": "x", "tags": ["x"] * 1001}),
    ],
)
def test_a_list_of_more_than_a_thousand_is_refused(
    api: Client, method: str, path: str, fields: dict[str, Any]
) -> None:
    answer = api(method, API + path, fields)
    assert answer.status == 422
    assert [list(rules) for rules in answer.json().values()] == [["max"]]


@pytest.mark.parametrize("contacts", [None, [], "", {"email": "a@example.com"}])
def test_a_batch_without_contacts_is_refused(api: Client, contacts: Any) -> None:
    assert list(api("POST", BULK, {"contacts": contacts}).json()) == ["contacts"]


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"action_name": "change_contact_status"}, {"message": "Please select status"}),
        ({"action_name": "change_contact_type"}, {"message": "Please select new type"}),
        (
            {"action_name": "change_contact_status", "new_status": "nonsense"},
            {"message": "Value is not valid"},
        ),
        (
            {"action_name": "change_contact_type", "new_status": "nonsense"},
            {"message": "Value is not valid"},
        ),
        ({}, {"message": "Selected Action is not valid"}),
    ],
)
def test_an_action_that_is_not_whole_is_refused(
    api: Client, fields: dict[str, Any], answer: dict[str, str]
) -> None:
    contact = api.contact("ada@example.com")
    found = api("POST", ACTION, {"subscriber_ids": [contact], **fields})
    assert (found.status, found.json()) == (422, answer)


@pytest.mark.parametrize("ids", ["x", [1.5], [[1]], [-1], {"a": 1}, [2**63]])
def test_ids_that_are_none_are_refused(api: Client, ids: Any) -> None:
    found = api("POST", ACTION, {"action_name": "delete_contacts", "subscriber_ids": ids})
    assert (found.status, list(found.json())) == (422, ["subscriber_ids"])


def test_everybody_is_not_touched_by_a_call_that_names_nobody(
    api: Client, store: psycopg.Connection
) -> None:
    api.contact("ada@example.com")
    nobody: list[dict[str, Any]] = [
        {"is_all": "yes"},
        {"subscriber_ids": []},
        {"subscriber_ids": [0, ""]},
    ]
    named: dict[str, Any] = {"subscriber_ids": [1], "new_status": "pending"}
    for fields in [*nobody, named | {"is_all": "yes"}]:
        assert api("POST", ACTION, {"action_name": "delete_contacts", **fields}).status == 422
    assert api("DELETE", f"{API}/subscribers", {"subscribers": []}).status == 422
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (1,)


def test_deleting_several_takes_their_events_along(api: Client, store: psycopg.Connection) -> None:
    ids = [api.contact(f"c{number}@example.com") for number in range(3)]
    for contact in ids:
        api.track(event_key="k", title="t", subscriber_id=contact)
    api("POST", ACTION, {"action_name": "delete_contacts", "subscriber_ids": [*ids[:2], 987654]})
    for table in ("events_trackedevent", "events_eventoccurrence"):
        assert store.execute(f"SELECT subscriber_id FROM {table}").fetchall() == [(ids[2],)]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"type": "nonsense", "subscribers": [1]}, "type"),
        ({"subscribers": [1]}, "type"),
        ({"type": "tags"}, "subscribers"),
        ({"type": "tags", "subscribers": [1], "find_by": "password"}, "find_by"),
        ({"type": "tags", "subscribers": [1], "find_by": "id", "attach": ["x"]}, "attach"),
        ({"type": "tags", "subscribers": [1], "find_by": "id", "detach": ["x"]}, "detach"),
    ],
)
def test_a_sync_that_makes_no_sense_is_refused(
    api: Client, fields: dict[str, Any], wrong: str
) -> None:
    found = api("POST", f"{API}/subscribers/sync-segments", fields)
    assert (found.status, list(found.json())) == (422, [wrong])


def test_a_property_takes_only_its_values(api: Client) -> None:
    contact = api.contact("ada@example.com")
    path = f"{API}/subscribers/subscribers-property"
    for column, value in (("status", "x"), ("contact_type", "x"), ("avatar", "x" * 193)):
        answer = api("PUT", path, {"property": column, "value": value, "subscribers": [contact]})
        assert (answer.status, answer.json()) == (422, {"message": "Value is not valid"})
    assert set(api("PUT", path, {}).json()) == {"column", "subscriber_ids"}


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_a_slug_that_is_longer_than_its_title_is_cut(api: Client, kind: str) -> None:
    path, title = f"{API}/{kind}", "ß" * 192
    made = api("POST", path, {"title": title}).json()["item"]
    assert (made["title"], made["slug"]) == (title, "s" * 192)
    assert api("POST", f"{path}/bulk", {"items": [{"title": "æ" * 192}]}).status == 200
    contact = api.contact("ada@example.com", **{kind: [title, "ﬀ" * 192]})
    shown = api("GET", f"{API}/subscribers/{contact}").json()["subscriber"][kind]
    assert [one["slug"] for one in shown] == ["s" * 192, "f" * 192]


@pytest.mark.parametrize(("slug", "small"), [("\u212a" * 3, "kkk"), ("\u0130" * 3, "iii")])
def test_a_slug_is_found_by_the_rule_that_keeps_it_unique(
    api: Client, slug: str, small: str
) -> None:
    # Small letters of theirs are ours, capitals of ours are not theirs: Kelvin, the dotted I.
    made = api("POST", f"{API}/tags", {"title": "x", "slug": slug}).json()["item"]["id"]
    answer = api("POST", f"{API}/tags/bulk", {"items": [{"title": small}]})
    assert (answer.status, answer.json()["ids"]) == (200, [made])


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_a_slug_comes_from_the_title_and_is_the_segments_own(api: Client, kind: str) -> None:
    path = f"{API}/{kind}"
    made = api("POST", path, {"title": "Große & spät  -- Vögel"}).json()["item"]
    assert made["slug"] == "grosse-spat-vogel"
    other = api("POST", path, {"title": "日本語"}).json()["item"]
    assert len(other["slug"]) == 11
    answer = api("PUT", f"{path}/{other['id']}", {"title": "x", "slug": made["slug"]})
    assert answer.status == 422
    assert "already exist" in answer.json()["message"]
    by_slug = {"title": "Renamed", "slug": made["slug"], "update_by": "slug"}
    assert api("PUT", f"{path}/0", by_slug).json()["lists"] == 1
    titles = (
        [row["title"] for row in api("GET", f"{path}?search=renamed").json()[kind]["data"]]
        if (kind == "tags")
        else [row["title"] for row in api("GET", f"{path}?search=renamed").json()[kind]]
    )
    assert titles == ["Renamed"]


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_names_of_segments_compare_without_regard_to_case(api: Client, kind: str) -> None:
    made = api("POST", f"{API}/{kind}", {"title": "Gold Member", "slug": "gold"}).json()["item"]
    again = api("POST", f"{API}/{kind}", {"title": "x", "slug": "GOLD"})
    assert again.status == 422 if kind == "tags" else again.json()["slug"]["unique"]
    contact = api.contact("ada@example.com")
    for column, name in (("slug", "GOLD"), ("title", "gold member")):
        fields = {"type": kind, "subscribers": [contact], "find_by": column, "attach": [name]}
        rows = api("POST", f"{API}/subscribers/sync-segments", fields).json()["subscribers"]
        assert [one["id"] for one in rows[0][kind]] == [made["id"]]
    found = api("GET", f"{API}/subscribers?{kind}[]=GOLD+MEMBER").json()["subscribers"]
    assert found["total"] == 1


@pytest.mark.parametrize("kind", ["tags", "lists"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_segment_that_is_not_there_is_404(api: Client, kind: str, method: str) -> None:
    for number in (987654, 2**63):
        answer = api(method, f"{API}/{kind}/{number}", {"title": "x"})
        noun = {"tags": "Tag", "lists": "List"}[kind]
        assert (answer.status, answer.json()) == (404, {"message": f"{noun} not found"})


def test_segments_count_their_contacts_and_lose_them(api: Client) -> None:
    made = api("POST", f"{API}/lists", {"title": "News"}).json()["item"]["id"]
    api.contact("ada@example.com", lists=[made])
    bob = api.contact("bob@example.com", lists=[made], status="pending")
    row = api("GET", f"{API}/lists?all_lists=1").json()
    assert (row["lists"][0]["totalCount"], row["lists"][0]["subscribersCount"]) == (2, 1)
    assert row["all_lists"] == [{"id": str(made), "title": "News", "slug": "news"}]
    assert "totalCount" not in api("GET", f"{API}/lists?exclude_counts=1").json()["lists"][0]
    assert api("DELETE", f"{API}/lists/{made}").status == 200
    assert api("GET", f"{API}/subscribers/{bob}").json()["subscriber"]["lists"] == []


def test_there_are_no_custom_fields_and_no_options_but_event_keys(api: Client) -> None:
    assert api("GET", f"{API}/custom-fields/contacts").json() == {"fields": []}
    assert api("GET", f"{API}/reports/ajax-options?option_key=campaigns").json() == {"options": []}
