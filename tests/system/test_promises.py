"""The number of statements a request costs, and what locks and lost connections do to it."""

import time

import psycopg
import pytest

from tests.system.database import count_statements, end_connections, fetch_value
from tests.system.server import API, Client, Server
from tests.system.threads import in_threads

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


def test_an_accepted_event_that_repeats_costs_2_statements(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    def work() -> None:
        assert {http.track(**EVENT).status for _ in range(100)} == {200}

    assert count_statements(store, work) == 200


def test_an_accepted_event_that_is_new_costs_2_statements(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    def work() -> None:
        titles = (f"t{number}" for number in range(100))
        assert {http.track(**EVENT | {"title": title}).status for title in titles} == {200}

    assert count_statements(store, work) == 200


def test_a_page_of_tracking_events_costs_at_most_2_statements(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    for number in range(20):
        http.track(**EVENT | {"title": f"t{number}"})

    def work() -> None:
        assert http("GET", f"{API}/subscribers/{ada_id}/tracking-events").status == 200

    assert count_statements(store, work) <= 2


def test_a_locked_event_row_is_503_with_retry_after_and_counts_later(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    assert http.track(**EVENT).status == 200
    with psycopg.connect(store.info.dsn) as holder:
        holder.execute("SELECT FROM events_trackedevent FOR UPDATE")
        began = time.monotonic()
        answer = http.track(**EVENT)
        assert 1.5 < time.monotonic() - began < 5
    assert (answer.status, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert http.track(**EVENT).status == 200
    assert fetch_value(store, "SELECT counter FROM events_trackedevent") == 2


@pytest.mark.parametrize(
    ("lock", "title"),
    [
        ("SELECT FROM crm_subscriber WHERE email LIKE 'ada%' FOR UPDATE", "new"),
        ("SELECT FROM events_trackedevent FOR UPDATE", EVENT["title"]),
    ],
)
def test_a_lock_holds_up_the_calls_that_need_it_alone(
    server: Server, http: Client, store: psycopg.Connection, ada_id: int, lock: str, title: str
) -> None:
    http.contact("grace@example.com")
    assert http.track(**EVENT).status == 200
    locked = EVENT | {"title": title}
    free = EVENT | {"email": "grace@example.com"}

    def track(number: int) -> list[tuple[int, float]]:
        """Track 20 times, in some threads what is locked at the tenth."""
        client = server.client()
        answers = []
        for turn in range(20):
            event = locked if turn == 10 and number < 4 else free
            began = time.monotonic()
            answers.append((client.track(**event).status, time.monotonic() - began))
        client.close()
        return answers

    with psycopg.connect(store.info.dsn) as holder:
        holder.execute(lock)
        answers = [answer for answers in in_threads(12, track) for answer in answers]
    assert [status for status, _ in answers if status != 200] == [503] * 4
    assert max(seconds for status, seconds in answers if status == 200) < 1


def test_a_read_only_database_rejects_events_with_503_and_still_answers_reads(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    store.execute("ALTER DATABASE served SET default_transaction_read_only = on")
    end_connections(store)
    try:
        answer = http.track(**EVENT)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert http("GET", f"{API}/subscribers/{ada_id}").status == 200
    finally:
        store.execute("ALTER DATABASE served RESET default_transaction_read_only")
        end_connections(store)
    assert http.track(**EVENT).status == 200


def test_a_connection_that_postgresql_ends_is_replaced_without_an_error(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    for _ in range(10):
        end_connections(store)
        assert http.track(**EVENT).status == 200
    assert fetch_value(store, "SELECT counter FROM events_trackedevent") == 10


def test_a_clock_that_jumps_back_keeps_the_later_time_and_value(
    http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    http.track(**EVENT, value="old")
    store.execute("UPDATE events_trackedevent SET updated_at = now() + interval '1 hour'")
    http.track(**EVENT, value="new")
    row = store.execute(
        "SELECT counter, value, updated_at > now() + interval '59 min', created_at <= now() "
        "FROM events_trackedevent"
    ).fetchone()
    assert row == (2, "old", True, True)


def test_150_requests_on_one_connection_are_answered_in_order(http: Client) -> None:
    ids = [http.contact(f"c{number}@example.com") for number in range(3)]
    for number in range(150):
        contact = ids[number % 3]
        shown = http("GET", f"{API}/subscribers/{contact}").json()["subscriber"]
        assert shown["id"] == contact


@pytest.mark.parametrize("path", ["tracking-events", "track-event"])
def test_requests_of_one_moment_find_out_that_postgresql_has_closed_their_connections(
    server: Server, http: Client, store: psycopg.Connection, ada_id: int, path: str
) -> None:
    event = EVENT | {"idempotency_key": "a"}

    def call(_: int) -> set[int]:
        client = server.client()
        answers = [
            client.track(**event)
            if path == "track-event"
            else client("GET", f"{API}/subscribers/{ada_id}/{path}")
            for _ in range(2)
        ]
        client.close()
        return {answer.status for answer in answers}

    # First so that each thread has a connection.
    assert set.union(*in_threads(32, call)) == {200}
    end_connections(store)
    assert set.union(*in_threads(32, call)) == {200}
