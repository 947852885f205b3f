"""Requests of several clients that change the same rows: no 5xx, no deadlock, no lost change."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from crm.models import NewContacts, Scope
from crm.passwords import create_application_password
from events.maintenance import PRUNE
from tests.databases import use
from tests.system.database import (
    assert_nothing_is_orphaned_or_miscounted,
    count_deadlocks,
    fetch_value,
)
from tests.system.fixtures import SERVED
from tests.system.server import API, Answer, Client, Server, basic
from tests.system.threads import in_threads

SECONDS = 1
ROUNDS = 30
CONTACTS = f"{API}/subscribers"
# Sends a request with the client. The number counts the requests of this client.
Request = Callable[[Client, int], Answer]


def repeat_at_once(
    server: Server, *requests: Request, until: Callable[[], bool] = lambda: True
) -> list[Counter[int]]:
    """Send each request again and again for a second, all at the same time.

    Args:
        server: receives the requests.
        requests: each by a client of its own.
        until: what has to have happened. They go on for up to 20 seconds until it has.

    Returns:
        The statuses of each request, in the order of the arguments.
    """
    ends = time.monotonic() + SECONDS

    def send(index: int) -> Counter[int]:
        client = server.client()
        statuses: Counter[int] = Counter()
        number = 0
        while time.monotonic() < ends or (not until() and time.monotonic() < ends + 20):
            number += 1
            statuses[requests[index](client, number).status] += 1
        client.close()
        return statuses

    return in_threads(len(requests), send)


def test_a_contact_is_created_changed_and_deleted_at_once(
    server: Server, store: psycopg.Connection, ada_id: int
) -> None:
    ada = {"email": "ada@example.com", "status": "subscribed"}
    newest_id = [ada_id]

    def upsert(client: Client, number: int) -> Answer:
        fields = {"first_name": str(number), "tags": ["vip"], "__force_update": "yes"}
        answer = client("POST", CONTACTS, ada | fields)
        if answer.status == 200:
            newest_id[0] = answer.json()["contact"]["id"]
        return answer

    def change(client: Client, number: int) -> Answer:
        fields = {"last_name": str(number), "custom_values": {f"k{number % 5}": number}}
        return client("PUT", f"{CONTACTS}/{newest_id[0]}", fields)

    def delete(client: Client, _: int) -> Answer:
        return client("DELETE", CONTACTS, {"subscribers": [newest_id[0]]})

    def bulk(client: Client, number: int) -> Answer:
        item = {"email": "ada@example.com", "city": str(number), "lists": ["news"]}
        return client("POST", f"{CONTACTS}/bulk-add-update", {"contacts": [item]})

    upserts, changes, deletions, bulks = repeat_at_once(server, upsert, change, delete, bulk)
    assert set(upserts) == {200}
    assert set(changes) <= {200, 404}
    assert set(deletions) == {200}
    assert set(bulks) == {200}
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() in [(0,), (1,)]


def test_changes_of_custom_values_at_once_are_all_kept(
    server: Server, store: psycopg.Connection, ada_id: int
) -> None:
    def change(name: str) -> Request:
        def send(client: Client, number: int) -> Answer:
            values = {"custom_values": {f"{name}{number}": number}}
            return client("PUT", f"{CONTACTS}/{ada_id}", values)

        return send

    statuses_a, statuses_b = repeat_at_once(server, change("a"), change("b"))
    custom_values = fetch_value(store, "SELECT custom_values FROM crm_subscriber")
    assert len(custom_values) == statuses_a[200] + statuses_b[200]


def test_definitions_of_two_clients_at_once_do_not_mix(
    server: Server, http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    path = f"{API}/custom-fields/contacts"

    def replace(*slugs: str) -> Request:
        fields = [{"type": "number", "label": slug, "slug": slug} for slug in slugs]
        return lambda client, _: client("PUT", path, {"fields": fields})

    def write(client: Client, number: int) -> Answer:
        values = {"custom_values": {"a": number}}
        return client("PUT", f"{CONTACTS}/{ada_id}", values)

    before = count_deadlocks(store)
    first, second, writes = repeat_at_once(server, replace("a", "b"), replace("b", "c"), write)
    assert set(first) == set(second) == set(writes) == {200}
    slugs = [field["slug"] for field in http("GET", path).json()["fields"]]
    # The key of the contact's value is listed too.
    assert slugs in (["a", "b"], ["b", "c", "a"])
    assert count_deadlocks(store) == before


def test_events_are_tracked_while_contacts_are_deleted_and_the_log_is_pruned(
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

    def batch(client: Client, number: int) -> Answer:
        return client("POST", f"{CONTACTS}/track-events", {"events": keyed_events(number)})

    def reverse_atomic_batch(client: Client, number: int) -> Answer:
        events = keyed_events(number)[::-1]
        return client("POST", f"{CONTACTS}/track-events?atomic=1", {"events": events})

    def keyed_events(number: int) -> list[dict[str, Any]]:
        return [event(n) | {"idempotency_key": f"b{number + n}"} for n in range(24)]

    def delete(client: Client, number: int) -> Answer:
        email = emails[number % len(emails)]
        fields = {"email": email, "status": "subscribed", "__force_update": "yes"}
        contact = client("POST", CONTACTS, fields).json()["contact"]["id"]
        return client("DELETE", f"{CONTACTS}/{contact}")

    def take_back(client: Client, number: int) -> Answer:
        key = f"{'bs'[number % 2]}{number}"
        return client("POST", f"{CONTACTS}/take-back-event", {"idempotency_key": key})

    def prune(client: Client, number: int) -> Answer:
        if number % 2:
            pruned.append(prune_some(store))
        else:
            # As prune_idempotency_keys after 24 hours.
            store.execute("DELETE FROM events_idempotencykey")
        return client("GET", "/healthz")

    pruned: list[int] = []
    before = count_deadlocks(store)
    for email in emails:
        http.contact(email)
    singles, batches, atomic_batches, deletions, taken_back, _ = repeat_at_once(
        server, single, batch, reverse_atomic_batch, delete, take_back, prune
    )
    assert set(singles) <= {200, 422}
    assert set(batches) == {200}
    assert set(atomic_batches) <= {200, 422}
    assert set(deletions) == {200}
    assert set(taken_back) <= {200, 404}
    assert sum(pruned) > 0
    assert count_deadlocks(store) == before
    assert_nothing_is_orphaned_or_miscounted(store)


def test_each_occurrence_that_is_taken_back_while_others_arrive_is_counted_down_once(
    server: Server, store: psycopg.Connection, ada_id: int
) -> None:
    def track(pair: int) -> Request:
        # Both clients of a pair send each key, so that a retry may follow the taking back.
        def send(client: Client, number: int) -> Answer:
            event = {"event_key": "k", "title": f"t{number % 2}", "subscriber_id": ada_id}
            return client.track(**event, idempotency_key=f"{pair}-{number}")

        return send

    def take_back(client: Client, _: int) -> Answer:
        # Four clients choose from the same ones.
        answer = client("GET", f"{CONTACTS}/{ada_id}/timeline?per_page=2")
        for one in answer.json()["timeline"]["data"][-1:]:
            event = f"{CONTACTS}/{ada_id}/tracking-events/{one['event_id']}"
            answer = client("DELETE", f"{event}/occurrences/{one['id']}")
            taken_back[answer.status] += 1
        return answer

    taken_back: Counter[int] = Counter()
    before = count_deadlocks(store)
    statuses = repeat_at_once(
        server,
        *map(track, [1, 2, 3, 4] * 2),
        *[take_back] * 4,
        until=lambda: len(taken_back) == 2,
    )
    assert set(sum(statuses[:8], Counter())) == {200}
    assert set(taken_back) == {200, 404}
    counted = fetch_value(store, "SELECT COALESCE(sum(counter), 0) FROM events_trackedevent")
    keys = fetch_value(store, "SELECT count(*) FROM events_idempotencykey")
    assert counted == keys - taken_back[200]
    assert count_deadlocks(store) == before
    assert_nothing_is_orphaned_or_miscounted(store)


def prune_some(store: psycopg.Connection) -> int:
    """Prune some occurrences, as prune_occurrences does, on another connection."""
    parameters = {
        "after": 0,
        "last": fetch_value(store, "SELECT COALESCE(max(id), 0) FROM crm_subscriber"),
        "before": "2021-01-01",
        "event_key": None,
        "limit": 51,
    }
    found, deleted = store.execute(PRUNE, parameters).fetchone() or (0, 0)
    assert deleted <= found
    return int(deleted)


def test_a_segment_is_not_saved_with_a_tag_that_is_deleted_at_once(
    server: Server, store: psycopg.Connection
) -> None:
    saved = "SELECT id FROM crm_segment WHERE filters::jsonb #> '{0,0,value}' @> to_jsonb(%s::int)"

    def race(index: int) -> tuple[int, int, bool, bool]:
        client, other = server.client(), server.client()
        tag_id = client("POST", f"{API}/tags", {"title": f"Tag {index}"}).json()["item"]["id"]
        condition = {"source": ["segment", "tags"], "operator": "not_in", "value": [tag_id]}
        segment = {"title": f"Not {index}", "filters": [[condition]]}

        def send(number: int) -> int:
            if number:
                return client("POST", f"{API}/segments", segment).status
            return other("DELETE", f"{API}/tags/{tag_id}").status

        deletion, creation = in_threads(2, send)
        client.close()
        other.close()
        is_saved = store.execute(saved, [tag_id]).fetchone() is not None
        is_there = store.execute("SELECT 1 FROM crm_tag WHERE id = %s", [tag_id]).fetchone()
        return deletion, creation, is_saved, is_there is not None

    outcomes = Counter(race(index) for index in range(40))
    assert set(outcomes) <= {(200, 422, False, False), (422, 200, True, True)}


def test_titles_of_one_slug_that_are_sent_at_once_are_a_label_each(
    server: Server, store: psycopg.Connection
) -> None:
    titles = ["VIP", "VIP!", "Vip", "VIP ✓"]

    def send(index: int) -> int:
        fields = {"email": f"c{index}@example.com", "status": "subscribed"}
        tags = titles[index % 4 :] + titles[: index % 4]
        client = server.client()
        status = client("POST", CONTACTS, fields | {"tags": tags}).status
        client.close()
        return status

    assert in_threads(12, send) == [200] * 12
    slugs = store.execute("SELECT slug FROM crm_tag ORDER BY slug").fetchall()
    assert slugs == [("vip",), ("vip-2",), ("vip-3",)]
    rows = store.execute("SELECT count(*) FROM crm_subscriber_tags GROUP BY tag_id").fetchall()
    assert rows == [(12,)] * 3


def test_tags_are_listed_created_and_deleted_at_once(server: Server, http: Client) -> None:
    names = [f"Tag {number}" for number in range(10)]

    def create(client: Client, number: int) -> Answer:
        tags = [{"title": name} for name in names[:: -1 if number % 2 == 0 else 1]]
        return client("POST", f"{API}/tags/bulk", {"tags": tags})

    def read(client: Client, _: int) -> Answer:
        return client("GET", f"{API}/tags")

    def delete(client: Client, _: int) -> Answer:
        rows = client("GET", f"{API}/tags").json()["tags"]["data"]
        return client("DELETE", f"{API}/tags/{rows[0]['id'] if rows else 1}")

    def attach(client: Client, number: int) -> Answer:
        fields = {"email": f"c{number}@example.com", "status": "subscribed"}
        return client("POST", CONTACTS, fields | {"tags": names[:: 1 if number % 2 else -1]})

    creations, reads, deletions, contacts = repeat_at_once(server, create, read, delete, attach)
    assert set(creations) == {200}
    assert set(reads) == {200}
    assert set(deletions) <= {200, 404}
    assert set(contacts) == {200}


def test_the_first_event_that_comes_with_its_contact_is_never_lost(
    server: Server, store: psycopg.Connection, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock(), use(SERVED):
        admin = User.objects.get(username="admin")
        _, secret = create_application_password(
            admin, "shop", Scope.MANAGE, new_contacts=NewContacts.PENDING
        )
    clients = [server.client(basic("admin", secret)) for _ in range(2)]

    def send(index: int) -> list[int]:
        statuses = []
        for number in range(ROUNDS):
            together.wait()
            email = f"early{number}@example.com"
            if index:
                answer = clients[1].track(event_key="signup", title="Signed up", email=email)
            else:
                contact = {"email": email, "status": "subscribed"}
                answer = clients[0]("POST", CONTACTS, contact)
            statuses.append(answer.status)
        return statuses

    together = threading.Barrier(2)
    assert in_threads(2, send) == [[200] * ROUNDS] * 2
    for client in clients:
        client.close()
    subscribed = "SELECT count(*) FROM crm_subscriber WHERE status = 'subscribed'"
    assert fetch_value(store, subscribed) == ROUNDS
    assert fetch_value(store, "SELECT sum(counter) FROM events_trackedevent") == ROUNDS
