"""Errors that a database on several nodes reports inside a statement, on a healthy connection."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.system.database import counted
from tests.system.server import API, Answer, Client

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
EVENTS, OCCURRENCES = "events_trackedevent", "events_eventoccurrence"
Fail = Callable[[str, str, int], None]


@pytest.fixture
def fail(store: psycopg.Connection, ada_id: int) -> Iterator[Fail]:
    """Let the first writes into a table fail: the table, the error's SQLSTATE, and how many."""

    def install(table: str, state: str, times: int) -> None:
        store.execute(
            f"""
            CREATE SEQUENCE failures;
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('failures') <= {times} THEN
                    RAISE EXCEPTION 'a node went away' USING ERRCODE = '{state}';
                END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER fail AFTER INSERT OR DELETE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION fail()
            """
        )

    yield install
    store.execute("DROP FUNCTION fail CASCADE; DROP SEQUENCE failures")


def post_batch(client: Client) -> Answer:
    return client("POST", f"{API}/subscribers/track-events", {"events": [EVENT, EVENT]})


@pytest.mark.parametrize("state", ["08006", "XX000"])
def test_a_node_that_went_away_is_503_and_stores_nothing(
    http: Client, store: psycopg.Connection, fail: Fail, state: str
) -> None:
    fail(OCCURRENCES, state, 100)
    answer = http.track(**EVENT)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert counted(store) == (0, 0)


@pytest.mark.parametrize("state", ["23503", "40P01"])
def test_a_batch_that_a_concurrent_deletion_ends_is_tried_again(
    http: Client, store: psycopg.Connection, fail: Fail, state: str
) -> None:
    fail(EVENTS, state, 2)
    assert post_batch(http).json()["tracked"] == 2
    assert counted(store) == (2, 2)


def test_a_deletion_that_a_concurrent_event_ends_is_tried_again(
    http: Client, store: psycopg.Connection, ada_id: int, fail: Fail
) -> None:
    http.track(**EVENT)
    fail(EVENTS, "23503", 2)
    assert http("DELETE", f"{API}/subscribers/{ada_id}").status == 200
    assert counted(store) == (0, 0)
