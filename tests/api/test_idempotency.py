"""Retries count once: the header Idempotency-Key and the field idempotency_key."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.system.server import API, Answer, Client, Server, basic
from tests.system.tools import counted, in_threads, statements

TRACK = f"{API}/subscribers/track-event"
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}
MISMATCH = {
    "message": "This idempotency key was used before with other content",
    "error_code": "idempotency_mismatch",
}


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com")


def keyed(api: Client, key: str, auth: str | None = "", **fields: Any) -> Answer:
    return api("POST", TRACK, EVENT | fields, headers={"Idempotency-Key": key}, auth=auth)


def test_the_same_call_again_counts_nothing_and_gets_the_first_answer(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    first = keyed(api, "order 1", value=1)
    api.track(**EVENT, value=2)
    again = keyed(api, "order 1", value=1)
    assert (again.status, again.body) == (first.status, first.body)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert counted(store) == (2, 2)
    row = store.execute("SELECT value FROM events_trackedevent").fetchone()
    assert row == ("2",)


def test_the_key_may_be_in_the_body_and_is_the_same_key(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    first = api.track(**EVENT, idempotency_key="order 1")
    again = keyed(api, "order 1")
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert api("POST", TRACK, form=EVENT | {"idempotency_key": "order 1"}).json() == first.json()
    assert counted(store) == (1, 1)


def test_a_header_that_is_no_ascii_is_refused_and_not_passed_over(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    answer = keyed(api, "für".encode().decode("latin-1"))
    assert (answer.status, list(answer.json())) == (422, ["idempotency_key"])
    assert counted(store) == (0, 0)


def test_the_order_of_properties_makes_no_difference(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    keyed(api, "k", properties={"a": 1, "b": {"c": 2, "d": 3}})
    assert keyed(api, "k", properties={"b": {"d": 3, "c": 2}, "a": 1}).status == 200
    assert counted(store) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"event_key": "other"},
        {"title": "other"},
        {"value": "other"},
        {"provider": "other"},
        {"email": "bob@example.com"},
        {"repeatable": False},
        {"properties": {"a": 1}},
        {"context": {"a": 1}},
        {"occurred_at": "2024-01-17 14:27:35"},
    ],
)
def test_the_same_key_with_other_content_is_422_and_counts_nothing(
    api: Client, store: psycopg.Connection, ada: int, change: dict[str, Any]
) -> None:
    api.contact("bob@example.com")
    keyed(api, "order 1")
    answer = keyed(api, "order 1", **change)
    assert (answer.status, answer.json()) == (422, MISMATCH)
    assert counted(store) == (1, 1)


@pytest.mark.parametrize("key", ["x", "ü 🎁", "k" * 255, "a b/c;d=e, 'f' \"g\""])
def test_any_text_of_1_to_255_characters_is_a_key(
    api: Client, store: psycopg.Connection, ada: int, key: str
) -> None:
    for _ in range(2):
        assert api.track(**EVENT, idempotency_key=key).status == 200
    assert counted(store) == (1, 1)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "min"),
        ("  ", "min"),
        ("k" * 256, "max"),
        ("a\0", "string"),
        (["a"], "string"),
        (False, "min"),
    ],
)
def test_a_key_that_is_empty_too_long_or_no_text_is_refused_by_name(
    api: Client, store: psycopg.Connection, ada: int, key: Any, rule: str
) -> None:
    answer = api.track(**EVENT, idempotency_key=key)
    assert (answer.status, list(answer.json())) == (422, ["idempotency_key"])
    assert list(answer.json()["idempotency_key"]) == [rule]
    if isinstance(key, str) and "\0" not in key:
        assert keyed(api, key).status == 422
    assert counted(store) == (0, 0)


def test_null_is_no_key(api: Client, store: psycopg.Connection, ada: int) -> None:
    for _ in range(2):
        assert api.track(**EVENT, idempotency_key=None).status == 200
    assert counted(store) == (2, 2)


def test_a_refused_call_leaves_its_key_free(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    assert keyed(api, "k", email="bob@example.com").status == 422
    assert keyed(api, "k", title="").status == 422
    api("POST", f"{API}/setting/experiments", {"event_tracking": "no"})
    assert keyed(api, "k").json()["error_code"] == "not_enabled"
    api("POST", f"{API}/setting/experiments", {"event_tracking": "yes"})
    assert keyed(api, "k").status == 200
    assert counted(store) == (1, 1)


def test_each_credential_has_keys_of_its_own(
    api: Client, store: psycopg.Connection, ada: int, password: Callable[..., str]
) -> None:
    secrets = {1: password("track"), 2: password("manage"), 3: password("track")}
    for replayed in (None, "true"):
        for value, secret in secrets.items():
            answer = keyed(api, "k", auth=basic("admin", secret), value=value)
            assert (answer.status, answer.headers["Idempotency-Replayed"]) == (200, replayed)
    assert counted(store) == (3, 3)


def test_a_replay_for_a_contact_deleted_since_is_422_also_if_there_is_a_new_one(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    keyed(api, "k")
    api("DELETE", f"{API}/subscribers/{ada}")
    for _ in range(2):
        answer = keyed(api, "k")
        assert (answer.status, answer.json()["error_code"]) == (422, "subscriber_not_found")
        api("POST", f"{API}/subscribers", {"email": "ada@example.com", "__force_update": "yes"})
    assert counted(store) == (0, 0)


def test_a_retry_is_known_also_when_the_contact_has_another_email_by_now(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    first = keyed(api, "k")
    api("PUT", f"{API}/subscribers/{ada}", {"email": "lovelace@example.com"})
    again = keyed(api, "k")
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    mended = keyed(api, "k", email="lovelace@example.com")
    assert (mended.status, mended.json()) == (422, MISMATCH)
    batch = {"events": [EVENT | {"idempotency_key": "k"}]}
    answer = api("POST", f"{API}/subscribers/track-events", batch).json()
    assert answer["results"] == [{"id": first.json()["id"], "counter": "1"}]
    assert counted(store) == (1, 1)


def test_50_identical_posts_at_once_count_once_and_get_50_equal_answers(
    server: Server, api: Client, store: psycopg.Connection, ada: int
) -> None:
    clients = [server.client() for _ in range(50)]
    for round_number in range(3):
        answers = in_threads(50, lambda n: keyed(clients[n], f"round {round_number}"))  # noqa: B023
        assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
        replayed = [answer.headers["Idempotency-Replayed"] for answer in answers]
        assert sorted(map(str, replayed)) == ["None"] + ["true"] * 49
        assert counted(store) == (round_number + 1, round_number + 1)
    for client in clients:
        client.close()


def test_an_accepted_event_with_a_key_costs_2_statements_and_a_replay_3(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    def accepted() -> None:
        assert {keyed(api, f"k{n}").status for n in range(20)} == {200}

    assert statements(store, accepted) == 40
    assert statements(store, accepted) == 60
    assert counted(store) == (20, 20)
