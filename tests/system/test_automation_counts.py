"""The n-th event starts once, however many clients send events at the same moment."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pytest_django import DjangoDbBlocker

from automations.writing import create_automation, publish
from tests.databases import use
from tests.long import long
from tests.system.database import fetch_value
from tests.system.fixtures import SERVED
from tests.system.server import API, Answer, Client, Server, wait_until
from tests.system.threads import in_threads

EVENT = {"event_key": "checkout", "email": "ada@example.com"}
TITLES = 5
BATCH = 5
# Each start of a contact takes a turn of the worker.
EVERY = 30
STARTS = """
SELECT count(*)::int FROM automations_run r JOIN automations_automation a ON a.id = r.automation_id
WHERE a.title = %s
"""


@pytest.fixture
def published(
    http: Client, ada_id: int, store: psycopg.Connection, django_db_blocker: DjangoDbBlocker
) -> list[str]:
    """The titles of automations of the server that start at the third event, in three ways."""
    trigger = {"type": "event", "event_key": "checkout", "times": 3}
    triggers: dict[str, dict[str, Any]] = {
        "at": {**trigger, "when": "at"},
        "every": {**trigger, "times": EVERY, "when": "every"},
        "title": {**trigger, "when": "at", "title": "t1"},
    }
    rules = {"reentry": "after_end", "max_starts_per_hour": 1_000_000}
    with django_db_blocker.unblock(), use(SERVED):
        for title, each in triggers.items():
            publish(create_automation({"title": title, "trigger": each, **rules}).pk)
    armed = "SELECT count(*) FROM automations_automation WHERE armed_at IS NOT NULL"
    wait_until(lambda: fetch_value(store, armed) == len(triggers))
    return [*triggers]


def event(number: int) -> dict[str, Any]:
    return {**EVENT, "title": f"t{number % TITLES}"}


def accepted(request: Callable[[], Answer]) -> None:
    """Send a request until it is accepted. A full server answers 503 and counts nothing."""
    wait_until(lambda: request().status == 200, 60)


def send(client: Client, number: int, index: int) -> int:
    """Send an event or a batch in one of five ways. Returns how many events were counted."""
    way = (number + index) % 5
    if way == 0:
        accepted(lambda: client.track(**event(index)))
    elif way == 1:
        # A client that repeats its request.
        for _ in range(2):
            accepted(lambda: client.track(**event(index), idempotency_key=f"{number}-{index}"))
    elif way == 2:
        an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        accepted(lambda: client.track(**event(index), occurred_at=an_hour_ago))
    else:
        path = f"{API}/subscribers/track-events?atomic={way - 3}"
        events = {"events": [event(index + place) for place in range(BATCH)]}
        accepted(lambda: client("POST", path, events))
    return BATCH if way > 2 else 1


@pytest.mark.parametrize(("clients", "events"), [(8, 20), pytest.param(64, 200, marks=long)])
def test_the_third_event_starts_once_whatever_clients_send_at_once(
    server: Server,
    store: psycopg.Connection,
    published: list[str],
    clients: int,
    events: int,
) -> None:
    def work(number: int) -> int:
        client = server.client(timeout=60)
        counted = sum(send(client, number, index) for index in range(events))
        client.close()
        return counted

    counted = sum(in_threads(clients, work))
    total = "SELECT sum(counter)::int FROM events_trackedevent WHERE event_key = 'checkout'"
    assert fetch_value(store, total) == counted
    wait_until(lambda: fetch_value(store, "SELECT count(*) FROM crm_outboxentry") == 0, 600)
    starts = {name: fetch_value(store, STARTS, [name]) for name in published}
    assert starts == {"at": 1, "every": counted // EVERY, "title": 1}
    third = """
    SELECT o.counter FROM automations_run r JOIN automations_automation a ON a.id = r.automation_id
        JOIN events_eventoccurrence o ON o.id = r.occurrence_id WHERE a.title = 'title'
    """
    assert fetch_value(store, third) == 3
    distinct = "SELECT count(DISTINCT (automation_id, occurrence_id)) FROM automations_run"
    assert fetch_value(store, distinct) == sum(starts.values())
