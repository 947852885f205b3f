"""Every occurrence: properties, context and the caller's time, and where they are read back."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.system.server import API, Answer, Client

EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com")


def occurrences(api: Client, contact: int, event: int, query: str = "") -> Answer:
    return api("GET", f"{API}/subscribers/{contact}/tracking-events/{event}/occurrences{query}")


def refused(answer: Answer, field: str, rule: str) -> None:
    assert answer.status == 422, answer.body
    assert list(answer.json()) == [field]
    assert list(answer.json()[field]) == [rule]


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


def test_each_time_is_kept_with_its_own_properties_context_value_and_provider(
    api: Client, ada: int
) -> None:
    orders: list[dict[str, Any]] = [
        {"total": 19.5, "lines": [{"sku": "a", "n": 2}], "gift": None},
        {"total": 7, "note": "ünï 🎁"},
    ]
    context = {"url": "https://shop.example/?a=1&b=2", "ip": "192.0.2.1", "utm_source": "news"}
    for number, order in enumerate(orders):
        event = api.track(
            **EVENT, properties=order, context=context, value=number, provider=f"p{number}"
        ).json()["id"]
    answer = occurrences(api, ada, event).json()
    assert list(answer) == ["occurrences"]
    page = answer["occurrences"]
    assert (page["total"], page["last_page"], page["per_page"]) == (2, 1, 15)
    newest, first = page["data"]
    assert newest["id"] > first["id"]
    assert list(newest) == [
        *("id", "event_id", "event_key", "title", "provider", "value", "properties", "context"),
        *("counter", "occurred_at", "received_at"),
    ]
    assert (newest["event_id"], newest["event_key"], newest["title"]) == (
        event,
        "checkout",
        "Order placed",
    )
    for row, number in ((first, 0), (newest, 1)):
        assert row["properties"] == orders[number]
        assert row["context"] == context
        assert (row["value"], row["provider"]) == (str(number), f"p{number}")
        assert row["counter"] == str(number + 1)


def test_a_form_sends_properties_in_brackets_or_as_json_text(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    path = f"{API}/subscribers/track-event"
    assert api("POST", path, form=EVENT | {"properties[sku]": "a", "context": '{"ip":"x"}'}).status
    row = store.execute("SELECT properties, context FROM events_eventoccurrence").fetchone()
    assert row == ({"sku": "a"}, {"ip": "x"})


@pytest.mark.parametrize("field", ["properties", "context"])
@pytest.mark.parametrize("empty", [None, "", {}, []])
def test_no_properties_are_an_empty_object(
    api: Client, store: psycopg.Connection, ada: int, field: str, empty: Any
) -> None:
    assert api.track(**EVENT, **{field: empty}).status == 200
    assert store.execute(f"SELECT {field} FROM events_eventoccurrence").fetchone() == ({},)


@pytest.mark.parametrize("field", ["properties", "context"])
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("text", "json"),
        ("[1]", "object"),
        (5, "object"),
        (True, "object"),
        ([1], "object"),
        ({"a": "b\0"}, "string"),
        ({"a\0": 1}, "string"),
        (nested(11), "depth"),
        ({str(number): 1 for number in range(301)}, "keys"),
        ({"a": {"b": [{str(number): 1 for number in range(301)}]}}, "keys"),
        ({"a": "x" * 65_529}, "max"),
        ({"a": [1e308] * 220}, "max"),  # 309 digits each, as PostgreSQL keeps them
        ({"a": {"b": [5e-324] * 220}}, "max"),
    ],
)
def test_properties_that_are_no_object_too_deep_too_many_or_too_large_store_nothing(
    api: Client, store: psycopg.Connection, ada: int, field: str, value: Any, rule: str
) -> None:
    refused(api.track(**EVENT, **{field: value}), field, rule)
    assert store.execute("SELECT count(*) FROM events_trackedevent").fetchone() == (0,)


def test_the_limits_of_properties_themselves_are_taken(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    taken: list[dict[str, Any]] = [
        nested(10),
        {str(number): "a:b" for number in range(300)},
        {"a": "x" * 65_528},  # 64 KB of JSON
        {"n": [2**63, -(2**63), 1e22, 5e-324, 0.1, *[5e-324] * 190]},
    ]
    for value in taken:
        assert api.track(**EVENT, properties=value).status == 200
    rows = store.execute("SELECT properties FROM events_eventoccurrence ORDER BY id").fetchall()
    assert [row[0] for row in rows] == taken
    contact = api("GET", f"{API}/subscribers/{ada}/timeline").json()["timeline"]["data"]
    assert [row["properties"] for row in contact] == taken[::-1]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2024-01-17 14:27:35", "2024-01-17 14:27:35+00"),
        ("2024-01-17T14:27:35Z", "2024-01-17 14:27:35+00"),
        ("2024-01-17T14:27:35.123456+14:00", "2024-01-17 00:27:35.123456+00"),
        ("2024-01-17T14:27-02:30", "2024-01-17 16:57:00+00"),
        ("1970-01-01T00:00:00Z", "1970-01-01 00:00:00+00"),
    ],
)
def test_the_callers_time_is_iso_8601_or_fluentcrms_form(
    api: Client, store: psycopg.Connection, ada: int, sent: str, kept: str
) -> None:
    assert api.track(**EVENT, occurred_at=sent).status == 200
    row = store.execute(
        "SELECT o.occurred_at = %(t)s, e.created_at = %(t)s, e.updated_at = %(t)s, "
        "o.received_at > now() - interval '1 minute' "
        "FROM events_eventoccurrence o, events_trackedevent e",
        {"t": kept},
    ).fetchone()
    assert row == (True, True, True, True)


@pytest.mark.parametrize("empty", [None, "", " "])
def test_without_a_time_it_happened_now(
    api: Client, store: psycopg.Connection, ada: int, empty: str | None
) -> None:
    assert api.track(**EVENT, occurred_at=empty).status == 200
    row = store.execute("SELECT occurred_at = received_at FROM events_eventoccurrence").fetchone()
    assert row == (True,)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("yesterday", "date"),
        ("2024-01-17", "date"),
        ("20240117T142735Z", "date"),
        ("2024-02-30T00:00:00Z", "date"),
        ("2024-01-17T23:59:60Z", "date"),
        ("2024-01-17T14:27:35+25:00", "date"),
        (1_700_000_000, "date"),
        ("1700000000", "date"),
        (True, "date"),
        (["2024-01-17T14:27:35Z"], "date"),
        ("300000-01-01T00:00:00Z", "date"),
        ("0001-01-01T00:00:00Z", "date"),
        ("1969-12-31T23:59:59Z", "between"),
        ("9998-01-01T00:00:00Z", "between"),
    ],
)
def test_a_time_that_is_none_or_before_1970_or_more_than_a_day_ahead_is_refused_by_name(
    api: Client, store: psycopg.Connection, ada: int, value: Any, rule: str
) -> None:
    refused(api.track(**EVENT, occurred_at=value), "occurred_at", rule)
    assert store.execute("SELECT count(*) FROM events_eventoccurrence").fetchone() == (0,)


def test_a_day_ahead_is_taken_and_no_more(api: Client, ada: int) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    soon, late = (tomorrow + timedelta(minutes=minutes) for minutes in (-5, 5))
    assert api.track(**EVENT, occurred_at=soon.isoformat()).status == 200
    refused(api.track(**EVENT, occurred_at=late.isoformat()), "occurred_at", "between")


def test_a_backdated_occurrence_counts_and_replaces_no_newer_value(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    api.track(**EVENT, value="new", occurred_at="2024-06-01 12:00:00")
    api.track(**EVENT, value="old", occurred_at="2024-05-01 12:00:00")
    shown = api("GET", f"{API}/subscribers/{ada}/tracking-events").json()["events"]["data"][0]
    assert (shown["counter"], shown["value"]) == ("2", "new")
    assert (shown["created_at"], shown["updated_at"]) == (
        "2024-05-01 12:00:00",
        "2024-06-01 12:00:00",
    )
    page = occurrences(api, ada, shown["id"]).json()["occurrences"]["data"]
    assert [(row["value"], row["occurred_at"]) for row in page] == [
        ("new", "2024-06-01 12:00:00"),
        ("old", "2024-05-01 12:00:00"),
    ]


def test_the_pages_of_an_event_hold_its_occurrences_and_no_others(
    api: Client, ada: int, store: psycopg.Connection
) -> None:
    for number in range(7):
        event = api.track(**EVENT, value=number).json()["id"]
        api.track(**EVENT | {"title": "Another"})
    other = api.track(**EVENT, repeatable=False).json()["id"]
    page = occurrences(api, ada, event, "?per_page=3&page=2").json()["occurrences"]
    assert [row["value"] for row in page["data"]] == ["3", "2", "1"]
    assert (page["total"], page["from"], page["to"], page["last_page"]) == (7, 4, 6, 3)
    assert page["next_page_url"].endswith("/occurrences?per_page=3&page=3")
    assert occurrences(api, ada, other).json()["occurrences"]["total"] == 1
    assert occurrences(api, ada, event, "?page=9").json()["occurrences"]["data"] == []


def test_an_event_of_another_contact_or_of_nobody_is_404(api: Client, ada: int) -> None:
    bob = api.contact("bob@example.com")
    event = api.track(**EVENT).json()["id"]
    for contact, asked, what in (
        (bob, event, "Event"),
        (ada, event + 1, "Event"),
        (ada, 2**63, "Event"),
        (bob + 99, event, "Subscriber"),
    ):
        answer = occurrences(api, contact, asked)
        assert (answer.status, answer.json()) == (404, {"message": f"{what} not found"})


def test_occurrences_stay_readable_while_tracking_is_switched_off(api: Client, ada: int) -> None:
    event = api.track(**EVENT).json()["id"]
    api("POST", f"{API}/setting/experiments", {"event_tracking": "no"})
    assert occurrences(api, ada, event).status == 200
    assert api("GET", f"{API}/subscribers/{ada}/timeline").status == 200
    assert api("GET", f"{API}/subscribers/{ada}/tracking-events").status == 422


def test_hostile_text_comes_back_as_it_was_sent(api: Client, ada: int) -> None:
    hostile = {"<script>": "</script>\u202e\u2028'\";--", "%_\\": "\\u0000", "": ""}
    event = api.track(**EVENT, properties=hostile).json()["id"]
    answer = occurrences(api, ada, event)
    assert answer.json()["occurrences"]["data"][0]["properties"] == hostile
    assert json.loads(answer.body)
