"""What Tallybook promises of statements, locks and connections."""

import time

import psycopg

from tests.system.server import API, Client, Server
from tests.system.tools import statements

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


def test_an_accepted_event_costs_2_statements(api: Client, store: psycopg.Connection) -> None:
    api.contact("ada@example.com")

    def same() -> None:
        assert {api.track(**EVENT).status for _ in range(100)} == {200}

    def new() -> None:
        titles = (f"t{number}" for number in range(100))
        assert {api.track(**EVENT | {"title": title}).status for title in titles} == {200}

    assert statements(store, same) == 200
    assert statements(store, new) == 200


def test_a_page_of_a_timeline_costs_at_most_4_statements(
    api: Client, store: psycopg.Connection
) -> None:
    contact = api.contact("ada@example.com")
    for number in range(20):
        api.track(**EVENT | {"title": f"t{number}"})

    def work() -> None:
        assert api("GET", f"{API}/subscribers/{contact}/tracking-events").status == 200

    assert statements(store, work) <= 4


def test_a_row_that_somebody_holds_is_503_with_retry_after_and_the_event_counts_later(
    server: Server, api: Client, store: psycopg.Connection
) -> None:
    api.contact("ada@example.com")
    assert api.track(**EVENT).status == 200
    with psycopg.connect(store.info.dsn) as holder:
        holder.execute("SELECT FROM events_trackedevent FOR UPDATE")
        began = time.monotonic()
        answer = api.track(**EVENT)
        assert 1.5 < time.monotonic() - began < 5
    assert (answer.status, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert api.track(**EVENT).status == 200
    assert store.execute("SELECT counter FROM events_trackedevent").fetchone() == (2,)


def test_a_read_only_database_refuses_events_with_503_and_still_answers_questions(
    server: Server, api: Client, store: psycopg.Connection
) -> None:
    contact = api.contact("ada@example.com")
    store.execute("ALTER DATABASE served SET default_transaction_read_only = on")
    end_connections(store)
    try:
        answer = api.track(**EVENT)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert api("GET", f"{API}/subscribers/{contact}").status == 200
    finally:
        store.execute("ALTER DATABASE served RESET default_transaction_read_only")
        end_connections(store)
    assert api.track(**EVENT).status == 200


def test_connections_that_postgresql_ends_are_made_anew_without_an_error(
    api: Client, store: psycopg.Connection
) -> None:
    api.contact("ada@example.com")
    for _ in range(10):
        end_connections(store)
        assert api.track(**EVENT).status == 200
    assert store.execute("SELECT counter FROM events_trackedevent").fetchone() == (10,)


def end_connections(store: psycopg.Connection) -> None:
    store.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_clock_that_jumps_back_moves_nothing_back(api: Client, store: psycopg.Connection) -> None:
    api.contact("ada@example.com")
    api.track(**EVENT, value="old")
    store.execute("UPDATE events_trackedevent SET updated_at = now() + interval '1 hour'")
    api.track(**EVENT, value="new")
    row = store.execute(
        "SELECT counter, value, updated_at > now() + interval '59 min', created_at <= now() "
        "FROM events_trackedevent"
    ).fetchone()
    assert row == (2, "old", True, True)


def test_many_requests_on_one_connection_answer_in_order(
    api: Client, store: psycopg.Connection
) -> None:
    ids = [api.contact(f"c{number}@example.com") for number in range(3)]
    for number in range(150):
        contact = ids[number % 3]
        shown = api("GET", f"{API}/subscribers/{contact}").json()["subscriber"]
        assert shown["id"] == contact
