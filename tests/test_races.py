"""Calls that meet each other: no 5xx, whatever their order."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg

from tests.server import API, Answer, Client, Server

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
    server: Server, api: Client, store: psycopg.Connection
) -> None:
    ada = {"email": "ada@example.com", "status": "subscribed"}
    contact = [api.contact("ada@example.com")]

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
    server: Server, api: Client, store: psycopg.Connection
) -> None:
    contact = api.contact("ada@example.com")

    def change(name: str) -> Callable[[Client, int], Answer]:
        def call(client: Client, number: int) -> Answer:
            values = {"custom_values": {f"{name}{number}": number}}
            return client("PUT", f"{CONTACTS}/{contact}", values)

        return call

    first, second = run(server, change("a"), change("b"))
    row = store.execute("SELECT custom_values FROM crm_subscriber").fetchone()
    assert row
    assert len(row[0]) == first[200] + second[200]


def test_tags_that_are_listed_made_and_deleted_at_once(server: Server, api: Client) -> None:
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
