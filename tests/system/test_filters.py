"""Filters that wait for a lock, that take too long, and that are as long as a URL may be."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

from tests.system.server import API, Answer, Client

CONTACTS = f"{API}/subscribers"
KEY = ["event_tracking", "event_tracking_key"]
BOUGHT = {"source": KEY, "operator": "in", "value": ["buy"]}


@pytest.fixture(autouse=True)
def contacts(http: Client) -> None:
    """Ada, who bought, Bob, who logged in, and Cy, who has no events."""
    for name in ("ada", "bob", "cy"):
        http.contact(f"{name}@example.com")
    http.track(event_key="buy", title="Paid", value="9.5", email="ada@example.com")
    http.track(event_key="Login", title="In", value="web", email="bob@example.com")


def ask(http: Client, filters: list[list[dict[str, Any]]]) -> Answer:
    """Send an advanced filter."""
    query = {"filter_type": "advanced", "advanced_filters": json.dumps(filters)}
    return http("GET", f"{CONTACTS}?{urlencode(query)}")


def test_a_filter_that_waits_for_a_lock_is_503_and_the_worker_goes_on(
    http: Client, store: psycopg.Connection
) -> None:
    with store.transaction():
        store.execute("LOCK TABLE events_trackedevent IN ACCESS EXCLUSIVE MODE")
        answer = ask(http, [[BOUGHT]])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    answer = ask(http, [[BOUGHT]])
    assert [row["email"] for row in answer.json()["subscribers"]["data"]] == ["ada@example.com"]


def test_a_filter_longer_than_the_statement_timeout_is_503(
    http: Client, store: psycopg.Connection
) -> None:
    # Every contact has 20 megabytes of values to look through, all of them in vain.
    store.execute("UPDATE events_trackedevent SET value = repeat('ab', 30000)")
    store.execute(
        "INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, "
        "counter, unlogged, repeatable, created_at, updated_at) "
        "SELECT s.id, 'buy', n::text, repeat(md5(n::text), 2000), 'x', 1, 1, true, now(), now() "
        "FROM crm_subscriber s, generate_series(1, 1000) n"
    )
    value = {"source": ["event_tracking", "event_tracking_value"], "extra_value": "buy"}
    groups = [[{**value, "operator": "contains", "value": f"z{number}"}] for number in range(50)]
    answer = ask(http, groups)
    assert (answer.status, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_a_url_of_100_kilobytes_of_filter_is_answered(http: Client) -> None:
    keys = [f"key{number:05}" for number in range(1000)]
    text = quote(json.dumps([[{"source": KEY, "operator": "not_in", "value": keys}]]))
    answer = http("GET", f"{CONTACTS}?filter_type=advanced&advanced_filters={text}")
    assert (answer.status, answer.json()["subscribers"]["total"]) == (200, 3)
