"""Idempotency keys over the socket: retries at the same time, raw headers, and statements."""

from collections.abc import Callable

import psycopg

from tests.system.database import count_statements, counted
from tests.system.server import API, Answer, Client, Server
from tests.system.threads import in_threads

EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}


def track_keyed(http: Client, key: str) -> Answer:
    """Track the event with the header Idempotency-Key."""
    headers = {"Idempotency-Key": key}
    return http("POST", f"{API}/subscribers/track-event", EVENT, headers=headers)


def test_a_header_that_is_not_ascii_is_422(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    answer = track_keyed(http, "für".encode().decode("latin-1"))
    assert (answer.status, list(answer.json())) == (422, ["idempotency_key"])
    assert counted(store) == (0, 0)


def test_50_identical_requests_at_once_count_once_and_get_the_same_response(
    server: Server, store: psycopg.Connection, ada_id: int
) -> None:
    clients = [server.client() for _ in range(50)]

    def track_in(round_number: int) -> Callable[[int], Answer]:
        return lambda index: track_keyed(clients[index], f"round {round_number}")

    for count in range(1, 4):
        answers = in_threads(50, track_in(count))
        assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
        replayed = [answer.headers["Idempotency-Replayed"] for answer in answers]
        assert sorted(map(str, replayed)) == ["None"] + ["true"] * 49
        assert counted(store) == (count, count)
    for client in clients:
        client.close()


def test_a_keyed_event_costs_2_statements_and_a_replay_3(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    def work() -> None:
        assert {track_keyed(http, f"k{number}").status for number in range(20)} == {200}

    assert count_statements(store, work) == 40
    assert count_statements(store, work) == 60
    assert counted(store) == (20, 20)
