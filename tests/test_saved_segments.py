"""Filters that are kept under a name."""

from typing import Any

import psycopg
import pytest

from tests.system.server import API, Client

SEGMENTS = f"{API}/segments"
BOUGHT = [
    [{"source": ["event_tracking", "event_tracking_key"], "operator": "in", "value": ["buy"]}]
]
CALLED_BOB = [[{"source": ["subscriber", "first_name"], "operator": "=", "value": "bob"}]]
WRONG = [[{"source": ["subscriber", "first_name"], "operator": "is", "value": "bob"}]]


def keep(api: Client, title: str, filters: Any, **more: Any) -> dict[str, Any]:
    answer = api("POST", SEGMENTS, {"title": title, "filters": filters, **more})
    assert answer.status == 200, answer.body
    segment: dict[str, Any] = answer.json()["segment"]
    return segment


@pytest.fixture
def people(api: Client) -> dict[str, int]:
    """Ada bought, Bob did not; their ids."""
    ids = {name: api.contact(f"{name}@example.com", first_name=name) for name in ("ada", "bob")}
    api.track(event_key="buy", title="t", email="ada@example.com")
    return ids


def test_a_segment_is_kept_and_shown_as_it_was_sent(api: Client) -> None:
    made = keep(api, "Those who bought", BOUGHT)
    assert (made["title"], made["slug"], made["filters"]) == (
        "Those who bought",
        "those-who-bought",
        BOUGHT,
    )
    assert api("GET", f"{SEGMENTS}/{made['id']}").json() == {"segment": made}
    second = keep(api, "Bobs", CALLED_BOB, slug="The Bobs")
    assert second["slug"] == "the-bobs"
    page = api("GET", SEGMENTS).json()["segments"]
    assert (page["total"], page["data"]) == (2, [second, made])
    found = api("GET", f"{SEGMENTS}?search=BOUGHT").json()["segments"]["data"]
    assert found == [made]


def test_its_contacts_are_those_who_fit_now(api: Client, people: dict[str, int]) -> None:
    segment = keep(api, "Bought", BOUGHT)
    address = f"{SEGMENTS}/{segment['id']}/subscribers"

    def emails(address: str) -> list[str]:
        return [row["email"] for row in api("GET", address).json()["subscribers"]["data"]]

    assert emails(address) == ["ada@example.com"]
    api.track(event_key="buy", title="t", email="bob@example.com")
    assert emails(address) == ["bob@example.com", "ada@example.com"]
    assert emails(f"{address}?per_page=1&page=2") == ["ada@example.com"]
    assert emails(f"{address}?search=bob") == ["bob@example.com"]
    assert emails(f"{API}/subscribers?segment=BOUGHT&sort_by=email&sort_type=ASC") == [
        "ada@example.com",
        "bob@example.com",
    ]
    assert emails(f"{API}/subscribers?segment=bought&search=ada") == ["ada@example.com"]


def test_a_contact_tells_which_segments_it_is_in(api: Client, people: dict[str, int]) -> None:
    bought = keep(api, "Bought", BOUGHT)
    bobs = keep(api, "A Bob", CALLED_BOB)
    either = keep(api, "Either", [*BOUGHT, *CALLED_BOB])
    everybody = keep(api, "Everybody", [])
    for name, expected in (
        ("ada", [bought, either, everybody]),
        ("bob", [bobs, either, everybody]),
    ):
        answer = api("GET", f"{API}/subscribers/{people[name]}/segments")
        assert sorted(answer.json()["segments"], key=lambda one: one["id"]) == sorted(
            expected, key=lambda one: one["id"]
        )
    missing = api("GET", f"{API}/subscribers/{people['bob'] + 1000}/segments")
    assert (missing.status, missing.json()) == (404, {"message": "Subscriber not found"})


def test_many_segments_are_asked_in_several_statements(
    api: Client, store: psycopg.Connection, people: dict[str, int]
) -> None:
    first = keep(api, "1", BOUGHT)
    store.execute(
        "INSERT INTO crm_segment (title, slug, filters, created_at, updated_at) "
        "SELECT n::text, n::text, filters, now(), now() "
        "FROM crm_segment, generate_series(2, 45) n"
    )
    of_ada = api("GET", f"{API}/subscribers/{people['ada']}/segments").json()["segments"]
    assert {segment["title"] for segment in of_ada} == {str(n) for n in range(1, 46)}
    assert first in of_ada
    assert api("GET", f"{API}/subscribers/{people['bob']}/segments").json() == {"segments": []}


def test_without_segments_a_contact_is_in_none(api: Client, people: dict[str, int]) -> None:
    assert api("GET", f"{API}/subscribers/{people['ada']}/segments").json() == {"segments": []}


def test_a_segment_changes_by_what_is_sent(api: Client) -> None:
    made = keep(api, "Bought", BOUGHT)
    address = f"{SEGMENTS}/{made['id']}"
    answer = api("PUT", address, {"filters": CALLED_BOB})
    assert answer.json()["message"] == "Segment has been updated"
    changed = answer.json()["segment"]
    assert (changed["title"], changed["filters"]) == ("Bought", CALLED_BOB)
    api("PUT", address, {"title": "Bobs", "slug": "Bob s", "filters": []})
    changed = api("GET", address).json()["segment"]
    assert (changed["title"], changed["slug"], changed["filters"]) == ("Bobs", "bob-s", [])


def test_a_deleted_segment_is_gone_and_its_contacts_stay(
    api: Client, people: dict[str, int]
) -> None:
    segment = keep(api, "Bought", BOUGHT)
    address = f"{SEGMENTS}/{segment['id']}"
    assert api("DELETE", address).json() == {"message": "Segment has been deleted"}
    for method, path in (
        ("GET", address),
        ("PUT", address),
        ("DELETE", address),
        ("GET", f"{address}/subscribers"),
    ):
        answer = api(method, path, {"title": "x"} if method == "PUT" else None)
        assert (answer.status, answer.json()) == (404, {"message": "Segment not found"})
    assert api("GET", f"{API}/subscribers").json()["subscribers"]["total"] == 2


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({"filters": BOUGHT}, ["title"]),
        ({"title": " ", "filters": BOUGHT}, ["title"]),
        ({"title": "x"}, ["filters"]),
        ({"title": "x", "filters": None}, ["filters"]),
        ({"title": "x", "filters": ""}, ["filters"]),
        ({}, ["title", "filters"]),
        ({"title": "x", "filters": {}}, ["filters"]),
        ({"title": "x", "filters": "[["}, ["filters"]),
        ({"title": "x", "filters": WRONG}, ["filters.0.0.operator"]),
        ({"title": "x", "filters": [[], *WRONG]}, ["filters.1.0.operator"]),
        ({"title": ["x"], "filters": BOUGHT}, ["title"]),
        ({"title": "a\0", "filters": BOUGHT}, ["title"]),
        ({"title": "x", "filters": [[{**BOUGHT[0][0], "value": ["x" * 99] * 999}]]}, ["filters"]),
        ({"title": "x", "filters": [[{**BOUGHT[0][0], "path": "\0"}]]}, ["filters.0.0.path"]),
    ],
)
def test_only_a_valid_segment_is_stored(
    api: Client, sent: dict[str, Any], where: list[str]
) -> None:
    answer = api("POST", SEGMENTS, sent)
    assert (answer.status, list(answer.json())) == (422, where)
    assert api("GET", SEGMENTS).json()["segments"]["total"] == 0


@pytest.mark.parametrize("sent", [{"title": ""}, {"filters": WRONG}, {"filters": None}])
def test_a_wrong_change_changes_nothing(api: Client, sent: dict[str, Any]) -> None:
    made = keep(api, "Bought", BOUGHT)
    assert api("PUT", f"{SEGMENTS}/{made['id']}", sent).status == 422
    assert api("GET", f"{SEGMENTS}/{made['id']}").json() == {"segment": made}


def test_what_a_filter_has_no_use_for_is_not_kept(api: Client) -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    filters = [[{**BOUGHT[0][0], "note": "\0", "id": 7}], []]
    assert keep(api, "Bought", filters)["filters"] == BOUGHT
    empty = {"source": ["subscriber", "first_name"], "operator": "is_null"}
    assert keep(api, "Nameless", [[{**empty, "value": deep}]])["filters"] == [[empty]]


@pytest.mark.parametrize("number", [1e20, 1e308, 5.0, 2**63, 2**70, 0.1, 1e-300, -7])
def test_a_number_is_kept_as_it_was_sent(
    api: Client, people: dict[str, int], number: float
) -> None:
    item = {"source": ["subscriber", "last_name"], "operator": "!=", "value": number}
    made = keep(api, "Numbers", [[item]])
    assert api("GET", f"{SEGMENTS}/{made['id']}").json() == {"segment": made}
    assert api("GET", SEGMENTS).json()["segments"]["data"] == [made]
    assert float(made["filters"][0][0]["value"]) == number
    of_ada = api("GET", f"{API}/subscribers/{people['ada']}/segments").json()
    assert of_ada == {"segments": [made]}
    assert api("GET", f"{SEGMENTS}/{made['id']}/subscribers").json()["subscribers"]["total"] == 2


def test_two_segments_have_no_slug_in_common(api: Client) -> None:
    first = keep(api, "Bought", BOUGHT)
    taken = {"slug": {"unique": "Another segment has this slug."}}
    answer = api("POST", SEGMENTS, {"title": "BOUGHT", "filters": BOUGHT})
    assert (answer.status, answer.json()) == (422, taken)
    second = keep(api, "Bobs", CALLED_BOB)
    answer = api("PUT", f"{SEGMENTS}/{second['id']}", {"slug": first["slug"]})
    assert (answer.status, answer.json()) == (422, taken)


@pytest.mark.parametrize("slug", ["", "nobody-has-this", "a%00"])
def test_a_segment_that_is_not_there_is_422_and_never_everybody(api: Client, slug: str) -> None:
    api.contact("ada@example.com")
    answer = api("GET", f"{API}/subscribers?segment={slug}")
    assert (answer.status, list(answer.json())) == (422, ["segment"])


def test_a_form_sends_the_filter_as_json(api: Client) -> None:
    sent = {
        "title": "Bought",
        "filters": '[[{"source":["segment","tags"],"operator":"in","value":[1]}]]',
    }
    made = api("POST", SEGMENTS, form=sent).json()["segment"]
    assert made["filters"][0][0]["value"] == [1]
