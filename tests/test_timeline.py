"""GET /subscribers/{id}/timeline: all that a contact did, page after page, by cursor."""

import re
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from events.history import Cursor, Timeline
from tests.system.server import API, Answer, Client

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com")


def timeline(api: Client, contact: int, **query: Any) -> Answer:
    # "since" for from, which is a word of Python's.
    pairs = ((name.replace("since", "from"), value) for name, value in query.items())
    text = "&".join(f"{name}={quote(str(value))}" for name, value in pairs)
    return api("GET", f"{API}/subscribers/{contact}/timeline?{text}")


def values(api: Client, contact: int, **query: Any) -> list[str]:
    """The values of all pages, from the first on."""
    found: list[str] = []
    while True:
        page = timeline(api, contact, **query).json()["timeline"]
        found += [row["value"] for row in page["data"]]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def test_pages_follow_each_other_newest_first_without_a_gap_or_a_double(
    api: Client, ada: int
) -> None:
    for number in range(11):
        api.track(**EVENT | {"title": f"t{number % 3}"}, value=number)
    everything = [str(number) for number in reversed(range(11))]
    for per_page in (1, 2, 5, 10, 11, 12, 1000):
        assert values(api, ada, per_page=per_page) == everything, per_page


def test_occurrences_of_one_microsecond_are_told_apart(api: Client, ada: int) -> None:
    for number in range(6):
        moment = f"2024-01-17T14:27:35.12345{number // 3}Z"
        api.track(**EVENT, value=number, occurred_at=moment)
    assert values(api, ada, per_page=1) == ["5", "4", "3", "2", "1", "0"]


def test_it_is_stable_while_events_arrive(api: Client, ada: int) -> None:
    for number in range(6):
        api.track(**EVENT, value=number)
    first = timeline(api, ada, per_page=3).json()["timeline"]
    for number in range(6, 9):
        api.track(**EVENT, value=number)
    second = timeline(api, ada, per_page=3, cursor=first["next_cursor"]).json()["timeline"]
    assert [row["value"] for row in second["data"]] == ["2", "1", "0"]
    assert second["next_cursor"] is None


def test_a_row_has_everything_about_one_occurrence(api: Client, ada: int) -> None:
    event = api.track(
        **EVENT, value="v", provider="shop", properties={"a": 1}, occurred_at="2024-01-17 14:27:35"
    ).json()["id"]
    answer = timeline(api, ada).json()
    assert list(answer) == ["timeline"]
    assert list(answer["timeline"]) == ["data", "next_cursor"]
    row = answer["timeline"]["data"][0]
    assert isinstance(row.pop("id"), int)
    assert row.pop("received_at") > "2024-01-17 14:27:35"
    assert row == {
        "event_id": event,
        "event_key": "k",
        "title": "t",
        "provider": "shop",
        "value": "v",
        "properties": {"a": 1},
        "context": {},
        "counter": "1",
        "occurred_at": "2024-01-17 14:27:35",
    }


def test_key_provider_and_time_narrow_it_down(api: Client, ada: int) -> None:
    for number, (key, provider) in enumerate(
        [("a", "shop"), ("b", "shop"), ("a", "course"), ("A", "shop")]
    ):
        api.track(
            **EVENT | {"event_key": key},
            provider=provider,
            value=number,
            occurred_at=f"2024-01-1{number} 12:00:00.5",
        )
    assert values(api, ada, event_key="a") == ["2", "0"]
    assert values(api, ada, provider="shop") == ["3", "1", "0"]
    assert values(api, ada, event_key="a", provider="shop", per_page=1) == ["0"]
    assert values(api, ada, since="2024-01-11 12:00:00") == ["3", "2", "1"]
    assert values(api, ada, since="2024-01-12") == ["3", "2"]
    assert values(api, ada, to="2024-01-11") == ["1", "0"]
    # A whole second belongs to it, as it is shown.
    assert values(api, ada, to="2024-01-11 12:00:00") == ["1", "0"]
    assert values(api, ada, to="2024-01-11T12:00:00.4Z") == ["0"]
    assert values(api, ada, since="2024-01-11", to="2024-01-12", per_page=1) == ["2", "1"]
    assert values(api, ada, event_key="nothing") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", "yesterday"),
        ("to", "2024-13-01"),
        ("cursor", "x"),
        ("cursor", "1"),
        ("cursor", "1-"),
        ("cursor", "-1-2"),
        ("cursor", "9" * 40 + "-1"),
        ("cursor", "1-" + "9" * 30),
        ("cursor", "1_0-1"),
        ("cursor", "1--1"),
        ("event_key[]", "a"),
    ],
)
def test_a_question_with_a_mistake_is_422_by_name(
    api: Client, ada: int, field: str, value: str
) -> None:
    answer = api("GET", f"{API}/subscribers/{ada}/timeline?{quote(field)}={quote(value)}")
    assert answer.status == 422, answer.body
    assert list(answer.json()) == [field.removesuffix("[]")]


def test_per_page_falls_back_and_is_capped(api: Client, ada: int) -> None:
    for _ in range(2):
        api("POST", f"{API}/subscribers/track-events", {"events": [EVENT] * 501})

    def rows(per_page: object) -> int:
        return len(timeline(api, ada, per_page=per_page).json()["timeline"]["data"])

    for nonsense in ("abc", "0", "-1", ""):
        assert rows(nonsense) == 15
    assert (rows(700), rows(1000), rows(99_999)) == (700, 1000, 1000)


def test_nobody_is_404_and_somebody_who_did_nothing_has_an_empty_timeline(
    api: Client, ada: int
) -> None:
    assert timeline(api, ada).json() == {"timeline": {"data": [], "next_cursor": None}}
    answer = timeline(api, ada + 1)
    assert (answer.status, answer.json()) == (404, {"message": "Subscriber not found"})


def test_the_thousandth_page_is_read_from_an_index_without_a_sort(
    store: psycopg.Connection,
) -> None:
    """15,000 occurrences of one contact among many: pages as PostgreSQL reads them."""
    store.execute(
        "INSERT INTO crm_subscriber (id, email, status, contact_type, total_points, "
        "life_time_value, custom_values, created_at, updated_at) "
        "SELECT n, n || '@example.com', 'subscribed', 'lead', 0, 0, '{}', now(), now() "
        "FROM generate_series(1001, 1050) n"
    )
    store.execute(
        "INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, "
        "counter, properties, context, occurred_at, received_at) "
        "SELECT 1, CASE WHEN n % 2 = 0 THEN 1001 ELSE 1002 + n % 49 END, "
        "CASE WHEN n % 20 = 0 THEN 'k1' ELSE 'k0' END, "
        "'custom', '', n, '{}', '{}', now() - n * interval '1 minute', now() "
        "FROM generate_series(1, 30000) n"
    )
    store.execute("ANALYZE events_eventoccurrence")
    row = store.execute(
        "SELECT occurred_at, id FROM events_eventoccurrence WHERE subscriber_id = 1001 "
        "ORDER BY occurred_at DESC, id DESC LIMIT 1 OFFSET 10000"
    ).fetchone()
    assert row
    for asked in (Timeline(1001), Timeline(1001, event_key="k1")):
        for after in (None, Cursor(*row)):
            for mode in ("force_custom_plan", "force_generic_plan"):
                store.execute(f"SET plan_cache_mode = {mode}")
                nodes = list(walk(explain(store, *asked.query(16, after))))
                assert not [node for node in nodes if "Sort" in node["Node Type"]], nodes
                scan = next(
                    node for node in nodes if node.get("Relation Name") == "events_eventoccurrence"
                )
                assert scan["Node Type"] == "Index Scan"
                assert scan["Actual Rows"] <= 16
                assert scan.get("Rows Removed by Filter", 0) == 0
    store.execute("RESET plan_cache_mode")


def explain(store: psycopg.Connection, statement: str, parameters: dict[str, Any]) -> Any:
    """How PostgreSQL runs a statement once it is prepared, as the server runs it."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    prepared = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", statement)
    values = ", ".join(f"%({name})s" for name in names)
    store.execute(f"PREPARE page AS {prepared}")
    with psycopg.ClientCursor(store) as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page({values})", parameters)
        (plans,) = cursor.fetchone() or ([],)
    store.execute("DEALLOCATE page")
    return plans[0]["Plan"]


def walk(plan: dict[str, Any]) -> Any:
    yield plan
    for inner in plan.get("Plans", []):
        yield from walk(inner)
