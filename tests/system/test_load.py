"""Counts stay exact when many clients track at once and while contacts are deleted."""

import json
import socket
import threading
from collections import Counter

import psycopg
import pytest

from tests.long import long
from tests.system.database import assert_nothing_is_orphaned_or_miscounted, count_deadlocks
from tests.system.server import API, Server
from tests.system.threads import in_threads

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


@pytest.mark.parametrize("each", [40, pytest.param(200, marks=long)])
def test_the_events_that_64_threads_post_at_once_are_all_counted(
    server: Server, ada_id: int, store: psycopg.Connection, each: int
) -> None:
    def post(_: int) -> Counter[bytes]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            statuses: Counter[bytes] = Counter()
            for _ in range(each):
                connection.sendall(request)
                answer = connection.recv(65536)
                assert answer.endswith(b"}")
                statuses[answer[9:12]] += 1
            return statuses

    # Bare sockets are cheap. The clients share two cores with the server.
    body = json.dumps(EVENT)
    request = (
        f"POST {API}/subscribers/track-event HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {server.auth}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    before = count_deadlocks(store)
    updates = (
        "SELECT pg_stat_get_tuples_hot_updated(oid), pg_stat_get_tuples_updated(oid) "
        "FROM pg_class WHERE relname = 'events_trackedevent'"
    )
    hot_before, all_before = store.execute(updates).fetchone() or (0, 0)
    total = 64 * each
    assert sum(in_threads(64, post), Counter()) == {b"200": total}
    assert store.execute("SELECT counter FROM events_trackedevent").fetchall() == [(total,)]
    assert store.execute(
        "SELECT count(*), count(DISTINCT counter), min(counter), max(counter) "
        "FROM events_eventoccurrence"
    ).fetchone() == (total, total, 1, total)
    assert count_deadlocks(store) == before
    # The updates are HOT: counting up writes no index.
    hot_after, all_after = store.execute(updates).fetchone() or (0, 1)
    assert hot_after - hot_before >= 0.8 * (all_after - all_before) > 0


def test_8_clients_that_track_a_new_event_at_once_make_one_row(
    server: Server, ada_id: int, store: psycopg.Connection
) -> None:
    barrier = threading.Barrier(8)
    clients = [server.client() for _ in range(8)]

    def post(index: int) -> list[int]:
        statuses = []
        for number in range(10):
            barrier.wait()
            statuses.append(clients[index].track(**EVENT | {"title": f"t{number}"}).status)
        return statuses

    answers = in_threads(8, post)
    for client in clients:
        client.close()
    assert {status for statuses in answers for status in statuses} == {200}
    rows = store.execute("SELECT counter FROM events_trackedevent").fetchall()
    assert rows == [(8,)] * 10


@pytest.mark.parametrize("rounds", [4, pytest.param(12, marks=long)])
def test_deleting_contacts_under_load_orphans_no_row_and_causes_no_5xx(
    server: Server, store: psycopg.Connection, rounds: int
) -> None:
    emails = [f"c{number}@example.com" for number in range(8)]
    is_over = threading.Event()

    def track(index: int) -> Counter[int]:
        client = server.client()
        statuses: Counter[int] = Counter()
        number = index
        while not is_over.is_set():
            number += 1
            fields = EVENT | {"email": emails[number % 8], "title": f"t{number % 3}"}
            statuses[client.track(**fields).status] += 1
        client.close()
        return statuses

    def delete(_: int) -> Counter[int]:
        client = server.client()
        statuses: Counter[int] = Counter()
        ids: dict[str, int] = {}
        try:
            for _ in range(rounds):
                for email in emails:
                    ids[email] = client.contact(email)
                statuses[client("DELETE", f"{API}/subscribers/{ids.pop(emails[0])}").status] += 1
                chosen = {"subscribers": list(ids.values())}
                statuses[client("DELETE", f"{API}/subscribers", chosen).status] += 1
        finally:
            is_over.set()
        client.close()
        return statuses

    answers = in_threads(7, lambda index: track(index) if index < 6 else delete(index))
    tracked: Counter[int] = sum(answers[:6], Counter())
    assert set(tracked) == {200, 422}
    assert answers[6] == {200: 2 * rounds}
    assert_nothing_is_orphaned_or_miscounted(store)
