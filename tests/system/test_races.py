"""Calls that meet each other: no 5xx, whatever their order."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg

from events.maintenance import PRUNE
from tests.system.database import assert_nothing_is_orphaned_or_miscounted, count_deadlocks
from tests.system.server import API, Answer, Client, Server

SECONDS = 1
CONTACTS = f"{API}/subscribers"


def run(server: Server, *calls: Callable[[Client, int], Answer]) -> list[Counter[int]]:
    """Each call over and over for a while, all at once: the statuses of each."""
    ends = time.monotonic() + SECONDS
    statuses: list[Counter[int]] = [Counter() for _ in calls]

    def work(index: int) -> None:
        client = server.client()
        number = 0
        while time.monotonic() < ends:
            number += 1
            statuses[index][calls[index](client, number).status] += 1
        client.close()

    threads = [threading.Thread(target=work, args=[index]) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_a_contact_that_is_changed_made_and_deleted_at_once(
    server: Server, http: Client, store: psycopg.Connection
) -> None:
    ada = {"email": "ada@example.com", "status": "subscribed"}
    contact = [http.contact("ada@example.com")]

    def upsert(client: Client, number: int) -> Answer:
        fields = {"first_name": str(number), "tags": ["vip"], "__force_update": "yes"}
        answer = client("POST", CONTACTS, ada | fields)
        if answer.status == 200:
            contact[0] = answer.json()["contact"]["id"]
        return answer

    def change(client: Client, number: int) -> Answer:
        fields = {"last_name": str(number), "custom_values": {f"k{number % 5}": number}}
        return client("PUT", f"{CONTACTS}/{contact[0]}", fields)

    def delete(client: Client, _: int) -> Answer:
        return client("DELETE", CONTACTS, {"subscribers": [contact[0]]})

    def bulk(client: Client, number: int) -> Answer:
        item = {"email": "ada@example.com", "city": str(number), "lists": ["news"]}
        return client("POST", f"{CONTACTS}/bulk-add-update", {"contacts": [item]})

    upserts, changes, deletions, bulks = run(server, upsert, change, delete, bulk)
    assert set(upserts) == {200}
    assert set(changes) <= {200, 404}
    assert set(deletions) == {200}
    assert set(bulks) == {200}
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() in [(0,), (1,)]


def test_two_changes_of_custom_values_at_once_keep_both(
    server: Server, http: Client, store: psycopg.Connection
) -> None:
    contact = http.contact("ada@example.com")

    def change(name: str) -> Callable[[Client, int], Answer]:
        def call(client: Client, number: int) -> Answer:
            values = {"custom_values": {f"{name}{number}": number}}
            return client("PUT", f"{CONTACTS}/{contact}", values)

        return call

    first, second = run(server, change("a"), change("b"))
    row = store.execute("SELECT custom_values FROM crm_subscriber").fetchone()
    assert row
    assert len(row[0]) == first[200] + second[200]


def test_events_of_every_kind_while_contacts_are_deleted_and_the_log_is_pruned(
    server: Server, http: Client, store: psycopg.Connection
) -> None:
    emails = [f"c{number}@example.com" for number in range(6)]

    def event(number: int) -> dict[str, Any]:
        return {
            "event_key": f"k{number % 3}",
            "title": f"t{number % 2}",
            "email": emails[number % len(emails)],
            "occurred_at": "2020-01-01 00:00:00",
        }

    def single(client: Client, number: int) -> Answer:
        return client.track(**event(number), idempotency_key=f"s{number // 2}")

    def batch(step: int) -> Callable[[Client, int], Answer]:
        def call(client: Client, number: int) -> Answer:
            events = [event(n) | {"idempotency_key": f"b{number + n}"} for n in range(24)]
            # One of them in the order of the others turned round, and all or none.
            path = f"{CONTACTS}/track-events?atomic={int(step < 0)}"
            return client("POST", path, {"events": events[::step]})

        return call

    def delete(client: Client, number: int) -> Answer:
        email = emails[number % len(emails)]
        fields = {"email": email, "status": "subscribed", "__force_update": "yes"}
        contact = client("POST", CONTACTS, fields).json()["contact"]["id"]
        return client("DELETE", f"{CONTACTS}/{contact}")

    def prune(client: Client, number: int) -> Answer:
        row = store.execute("SELECT COALESCE(max(id), 0) FROM events_eventoccurrence").fetchone()
        assert row
        removed.append(
            prune_range(store, max(0, row[0] - 50), row[0] + 1) if number % 2 else forget(store)
        )
        return client("GET", "/healthz")

    removed: list[int] = []
    before = count_deadlocks(store)
    for email in emails:
        http.contact(email)
    singles, batches, reverse, deletions, _ = run(
        server, single, batch(1), batch(-1), delete, prune
    )
    assert set(singles) <= {200, 422}
    assert set(batches) == {200}
    assert set(reverse) <= {200, 422}
    assert set(deletions) == {200}
    assert sum(removed) > 0
    assert count_deadlocks(store) == before
    assert_nothing_is_orphaned_or_miscounted(store)


def prune_range(store: psycopg.Connection, first: int, end: int) -> int:
    """As prune_occurrences does it, on the tests' own connection."""
    fields = {"first": first, "end": end, "before": "2021-01-01", "event_key": None}
    row = store.execute(PRUNE, fields).fetchone()
    assert row
    return int(row[0])


def forget(store: psycopg.Connection) -> int:
    """As if 24 hours had passed."""
    store.execute("DELETE FROM events_idempotencykey")
    return 0


def test_tags_that_are_listed_made_and_deleted_at_once(server: Server, http: Client) -> None:
    def titles(reverse: bool) -> list[dict[str, Any]]:
        names = [f"Tag {number}" for number in range(10)]
        return [{"title": name} for name in (reversed(names) if reverse else names)]

    def make(client: Client, number: int) -> Answer:
        return client("POST", f"{API}/tags/bulk", {"tags": titles(number % 2 == 0)})

    def show(client: Client, _: int) -> Answer:
        return client("GET", f"{API}/tags")

    def delete(client: Client, _: int) -> Answer:
        rows = client("GET", f"{API}/tags").json()["tags"]["data"]
        return client("DELETE", f"{API}/tags/{rows[0]['id'] if rows else 1}")

    def attach(client: Client, number: int) -> Answer:
        names = [f"Tag {n}" for n in range(10)]
        fields = {"email": f"c{number}@example.com", "status": "subscribed"}
        return client("POST", CONTACTS, fields | {"tags": names[:: 1 if number % 2 else -1]})

    makes, shows, deletions, attaches = run(server, make, show, delete, attach)
    assert set(makes) == {200}
    assert set(shows) == {200}
    assert set(deletions) <= {200, 404}
    assert set(attaches) == {200}
