"""POST /subscribers/track-events: many events at once."""

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.system.server import API, Answer, Client, Server
from tests.system.tools import counted, deadlocks, in_threads, statements

BATCH = f"{API}/subscribers/track-events"
ADA = {"event_key": "k", "title": "t", "email": "ada@example.com"}
BOB = ADA | {"email": "bob@example.com"}
NOT_FOUND = {
    "status": 422,
    "message": "Subscriber not found",
    "error_code": "subscriber_not_found",
}


@pytest.fixture
def people(api: Client) -> list[int]:
    return [api.contact("ada@example.com"), api.contact("bob@example.com")]


def send(api: Client, *events: Any, query: str = "", **more: Any) -> Answer:
    return api("POST", BATCH + query, {"events": list(events)}, **more)


def lines(api: Client, body: bytes, **headers: str) -> Answer:
    sent = {"Content-Type": "application/x-ndjson"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return api("POST", BATCH, body=body, headers=sent)


def test_every_event_is_answered_in_the_order_sent(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    answer = send(api, ADA, BOB | {"event_key": "a"}, ADA, BOB, {"subscriber_id": people[0]} | ADA)
    assert answer.status == 200
    body = answer.json()
    assert list(body) == ["tracked", "failed", "results"]
    assert (body["tracked"], body["failed"]) == (5, 0)
    first, second, third, fourth, fifth = body["results"]
    assert list(first) == ["id", "counter"]
    assert (first["counter"], third["counter"], fifth["counter"]) == ("1", "2", "3")
    assert first["id"] == third["id"] == fifth["id"]
    # Ids of new events in the order sent: the newest has the highest.
    assert first["id"] < second["id"] < fourth["id"]
    assert counted(store) == (5, 5)
    rows = store.execute("SELECT event_id, counter FROM events_eventoccurrence ORDER BY id")
    assert [(event, str(count)) for event, count in rows] == [
        (result["id"], result["counter"]) for result in body["results"]
    ]


def test_an_event_of_a_batch_has_every_field_of_the_single_call(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    fields = {
        "value": {"a": [1]},
        "provider": "shop",
        "properties": {"p": "ü"},
        "context": {"ip": "x"},
        "occurred_at": "2024-01-17 14:27:35",
        "repeatable": False,
    }
    columns = (
        "e.subscriber_id, e.event_key, e.title, e.value, e.provider, e.counter, e.repeatable, "
        "e.created_by_id, e.created_at, e.updated_at, o.value, o.provider, o.counter, "
        "o.properties, o.context, o.occurred_at, o.subscriber_id, o.event_key"
    )
    api.track(**ADA, **fields)
    send(api, ADA | fields)
    single, batch = store.execute(
        f"SELECT {columns} FROM events_trackedevent e JOIN events_eventoccurrence o "
        "ON o.event_id = e.id ORDER BY e.id"
    ).fetchall()
    assert single == batch


def test_good_events_are_committed_although_others_are_refused_with_the_single_calls_errors(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    nobody = {"email": "nobody@example.com"}
    bad: list[Any] = [
        {"event_key": "", "title": None},
        ADA | nobody,
        {"event_key": "k", "title": "t"},
        ADA | {"subscriber_id": "1abc"},
        ADA | {"properties": {"a": "\0"}},
        5,
        None,
        [ADA],
    ]
    answer = send(api, ADA, *bad, BOB)
    assert answer.status == 200
    body = answer.json()
    assert (body["tracked"], body["failed"]) == (2, len(bad))
    for sent, result in zip(bad, body["results"][1:-1], strict=True):
        alone = api("POST", f"{API}/subscribers/track-event", sent)
        assert result == {"status": alone.status, **alone.json()}
    assert counted(store) == (2, 2)


def test_atomic_is_all_or_none(api: Client, store: psycopg.Connection, people: list[int]) -> None:
    wrong = ADA | {"email": "nobody@example.com"}
    answer = send(api, ADA, wrong, BOB | {"title": ""}, BOB, query="?atomic=1")
    assert answer.status == 422
    body = answer.json()
    assert (body["tracked"], body["failed"]) == (0, 2)
    assert [result["status"] for result in body["results"]] == [424, 422, 422, 424]
    assert body["results"][1] == NOT_FOUND
    assert counted(store) == (0, 0)
    assert store.execute("SELECT count(*) FROM events_eventname").fetchone() == (0,)
    answer = send(api, ADA, BOB, query="?atomic=1")
    assert (answer.status, answer.json()["tracked"]) == (200, 2)
    assert counted(store) == (2, 2)


@pytest.mark.parametrize("query", ["", "?atomic=1"])
def test_a_batch_of_nothing_but_mistakes_is_answered_for_each(
    api: Client, people: list[int], query: str
) -> None:
    answer = send(api, ADA | {"title": ""}, 5, query=query)
    assert answer.status == (422 if query else 200)
    assert (answer.json()["tracked"], answer.json()["failed"]) == (0, 2)
    assert [result["status"] for result in answer.json()["results"]] == [422, 422]


def test_a_batch_rolled_back_leaves_its_keys_free(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    keyed = ADA | {"idempotency_key": "a"}
    wrong = ADA | {"email": "nobody@example.com"}
    assert send(api, keyed, wrong, query="?atomic=1").status == 422
    answer = send(api, keyed, query="?atomic=true")
    assert (answer.status, answer.headers["Idempotency-Replayed"]) == (200, None)
    assert counted(store) == (1, 1)


@pytest.mark.parametrize("word", ["maybe", "2", "yes"])
def test_atomic_takes_1_and_0(api: Client, people: list[int], word: str) -> None:
    for name in ("atomic", "atomic[]"):
        answer = send(api, ADA, query=f"?{name}={word}")
        assert (answer.status, list(answer.json())) == (422, ["atomic"])


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({}, "required"),
        ({"events": []}, "required"),
        ({"events": None}, "required"),
        ({"events": {"a": 1}}, "array"),
        ({"events": "x"}, "array"),
        ({"events": [ADA] * 1001}, "max"),
        ([ADA], "required"),
        (None, "required"),
    ],
)
def test_no_events_or_more_than_1000_are_422(
    api: Client, store: psycopg.Connection, people: list[int], body: Any, rule: str
) -> None:
    answer = api("POST", BATCH, body) if body is not None else lines(api, b"\n\n")
    assert (answer.status, list(answer.json()["events"])) == (422, [rule])
    assert counted(store) == (0, 0)


def test_a_thousand_lines_are_a_batch_and_one_more_is_refused(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    line = json.dumps(ADA).encode() + b"\n"
    assert lines(api, b"\n \n" + line * 1000 + b"\n").json()["tracked"] == 1000
    answer = lines(api, line * 1001)
    assert (answer.status, list(answer.json()["events"])) == (422, ["max"])
    assert counted(store) == (1000, 1000)


@pytest.mark.parametrize("line", [b"1\n", b"x\n", b"\n"])
def test_millions_of_lines_are_refused_without_reading_them_all(
    api: Client, people: list[int], line: bytes
) -> None:
    packed = gzip.compress(line * (5 * 1024 * 1024 // len(line)))
    began = time.monotonic()
    assert lines(api, packed, Content_Encoding="gzip").status == 422
    assert time.monotonic() - began < 2


def test_a_thousand_events_of_one_key_count_a_thousand_in_one_row(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    answer = send(api, *(ADA | {"value": number} for number in range(1000)))
    counters = [result["counter"] for result in answer.json()["results"]]
    assert counters == [str(number + 1) for number in range(1000)]
    row = store.execute("SELECT counter, value FROM events_trackedevent").fetchone()
    assert row == (1000, "999")
    assert counted(store) == (1000, 1000)


def test_of_merged_events_the_latest_gives_the_value_and_the_first_one_the_provider(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    times = {"b": "2024-01-02", "c": "2024-01-03", "a": "2024-01-01"}
    send(
        api,
        *(
            ADA | {"value": value, "provider": f"p{value}", "occurred_at": f"{day} 12:00:00"}
            for value, day in times.items()
        ),
    )
    row = store.execute(
        "SELECT value, provider, created_at::date::text, updated_at::date::text, counter "
        "FROM events_trackedevent"
    ).fetchone()
    assert row == ("c", "pb", "2024-01-01", "2024-01-03", 3)


def test_events_that_do_not_repeat_have_rows_of_their_own(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    alone = ADA | {"repeatable": False}
    results = send(api, ADA, alone, alone, ADA).json()["results"]
    assert [result["counter"] for result in results] == ["1", "1", "1", "2"]
    assert len({result["id"] for result in results}) == 3
    assert counted(store) == (4, 4)


def test_the_three_ways_to_name_a_contact_are_the_same_contact(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    admin = api.contact("ADMIN@example.com")
    names: list[dict[str, Any]] = [
        {"subscriber_id": admin},
        {"email": "admin@EXAMPLE.com"},
        {"user_id": 1},
        {},
    ]
    nameless = {"event_key": "k", "title": "t"}
    results = send(api, *(nameless | name for name in names)).json()["results"]
    assert [result.get("counter") for result in results] == ["1", "2", "3", "4"]


def test_a_batch_sent_twice_counts_once_and_is_answered_the_same(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    events = [(ADA, BOB)[n % 2] | {"idempotency_key": f"k{n}", "value": n} for n in range(10)]
    first = send(api, *events)
    assert first.headers["Idempotency-Replayed"] is None
    again = send(api, *events)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["Idempotency-Replayed"] == "true"
    more = send(api, *events, ADA)
    assert more.headers["Idempotency-Replayed"] is None
    assert more.json()["results"][:10] == first.json()["results"]
    assert counted(store) == (11, 11)


def test_a_key_for_the_whole_batch_is_refused_and_not_passed_over(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    answer = send(api, ADA | {"idempotency_key": "a"}, headers={"Idempotency-Key": "k"})
    assert (answer.status, list(answer.json())) == (422, ["idempotency_key"])
    assert counted(store) == (0, 0)


def test_the_same_key_twice_in_a_batch_is_a_retry_of_the_first(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    keyed = ADA | {"idempotency_key": "a"}
    results = send(api, keyed, keyed, keyed | {"value": 1}).json()["results"]
    assert results[0] == results[1]
    assert results[2]["error_code"] == "idempotency_mismatch"
    assert counted(store) == (1, 1)


def test_of_events_with_the_same_key_a_refused_one_leaves_it_to_the_next(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    key = {"idempotency_key": "a"}
    nobody = ADA | key | {"email": "nobody@example.com"}
    results = send(api, nobody, ADA | key, ADA | key, BOB | key).json()["results"]
    assert results[0] == NOT_FOUND
    assert results[1] == results[2]
    assert results[1]["counter"] == "1"
    assert results[3]["error_code"] == "idempotency_mismatch"
    assert counted(store) == (1, 1)


def test_a_key_of_the_single_call_is_a_key_of_the_batch(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    single = api.track(**ADA, idempotency_key="a").json()
    send(api, ADA)
    again = send(api, ADA | {"idempotency_key": "a"})
    assert again.json()["results"] == [{"id": single["id"], "counter": "1"}]
    mismatch = send(api, BOB | {"idempotency_key": "a"}).json()["results"][0]
    assert (mismatch["status"], mismatch["error_code"]) == (422, "idempotency_mismatch")
    assert counted(store) == (2, 2)


def test_a_batch_sent_50_times_at_once_counts_once(
    server: Server, api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    events = [(ADA, BOB)[n % 2] | {"idempotency_key": f"k{n}"} for n in range(20)]
    clients = [server.client() for _ in range(50)]
    answers = in_threads(50, lambda n: send(clients[n], *events[:: 1 if n % 2 else -1]))
    assert {answer.status for answer in answers} == {200}
    found = {
        tuple(sorted((result["id"], result["counter"]) for result in answer.json()["results"]))
        for answer in answers
    }
    assert len(found) == 1
    assert counted(store) == (20, 20)
    for client in clients:
        client.close()


def test_16_clients_with_50_batches_of_the_same_keys_in_opposite_orders_never_deadlock(
    server: Server, api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    events = [(ADA, BOB)[n % 2] | {"event_key": f"k{n // 2}"} for n in range(100)]

    before = deadlocks(store)

    def work(index: int) -> set[int]:
        client = server.client()
        order = events if index % 2 else events[::-1]
        statuses = {send(client, *order).status for _ in range(50)}
        client.close()
        return statuses

    assert in_threads(16, work) == [{200}] * 16
    assert deadlocks(store) == before
    rows = store.execute("SELECT DISTINCT counter FROM events_trackedevent").fetchall()
    assert rows == [(800,)]
    assert counted(store) == (80_000, 80_000)


def test_a_batch_costs_2_statements(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    events = [ADA | {"event_key": f"k{n}", "idempotency_key": f"k{n}"} for n in range(100)]

    def work() -> None:
        assert send(api, *events, ADA, BOB).json()["tracked"] == 102

    assert statements(store, work) == 2


def test_switched_off_the_whole_batch_is_refused(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    api("POST", f"{API}/setting/experiments", {"event_tracking": "no"})
    answer = send(api, ADA, BOB)
    assert (answer.status, answer.json()["error_code"]) == (422, "not_enabled")
    assert counted(store) == (0, 0)


def test_lines_of_json_are_a_batch_and_a_broken_line_is_that_events_400(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    good = json.dumps(ADA)
    body = f'{good}\r\n\n{{"event_key":\n{good}\n"x"\n \xff\n{good}'.encode("latin-1")
    answer = lines(api, body)
    assert answer.status == 200
    body_json = answer.json()
    assert (body_json["tracked"], body_json["failed"]) == (3, 3)
    statuses = [result.get("status", 200) for result in body_json["results"]]
    assert statuses == [200, 400, 200, 422, 400, 200]
    broken = body_json["results"][1]
    assert (broken["code"], broken["data"]["status"]) == ("rest_invalid_json", 400)
    assert counted(store) == (3, 3)


@pytest.mark.parametrize("members", [1, 2])
def test_packed_lines_and_packed_json_are_taken(
    api: Client, store: psycopg.Connection, people: list[int], members: int
) -> None:
    packed = gzip.compress(json.dumps(ADA).encode() + b"\n") * members
    assert lines(api, packed, Content_Encoding="gzip").json()["tracked"] == members
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps({"events": [ADA]}).encode())
    assert api("POST", BATCH, body=body, headers=headers).json()["tracked"] == 1
    assert counted(store) == (members + 1, members + 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"not gzip",
        lambda packed: packed[:-3],
        lambda packed: packed + b"rest",
        lambda packed: packed[:2],
        lambda packed: packed[:-8] + b"\0" * 8,
    ],
    ids=["no gzip", "cut off", "something after it", "its first two bytes", "a wrong checksum"],
)
def test_a_packed_body_that_is_broken_or_cut_off_is_400(
    api: Client,
    store: psycopg.Connection,
    people: list[int],
    spoil: Callable[[bytes], bytes],
) -> None:
    body = spoil(gzip.compress(json.dumps(ADA).encode()))
    assert lines(api, body, Content_Encoding="gzip").status == 400
    assert counted(store) == (0, 0)


def test_a_body_is_measured_unpacked_and_a_bomb_is_refused_while_unpacking(
    api: Client, people: list[int]
) -> None:
    line = json.dumps(ADA | {"value": "x" * 60_000}).encode() + b"\n"
    fits = line * (5 * 1024 * 1024 // len(line))
    assert lines(api, gzip.compress(fits), Content_Encoding="gzip").json()["failed"] == 0
    padded = fits + b" " * (5 * 1024 * 1024 - len(fits))
    assert lines(api, gzip.compress(padded), Content_Encoding="gzip").status == 200
    assert lines(api, padded).status == 200
    assert lines(api, gzip.compress(padded + b" "), Content_Encoding="gzip").status == 413
    too_long = {"Content-Length": str(len(padded) + 1), "Content-Type": "application/x-ndjson"}
    assert announced(api, too_long) == 413
    bomb = gzip.compress(b"\0" * 64 * 1024 * 1024) * 64  # 4 GiB
    assert len(bomb) < 5 * 1024 * 1024
    assert lines(api, bomb, Content_Encoding="gzip").status == 413


def announced(api: Client, headers: dict[str, str]) -> int:
    """The status of a batch that is announced, but not sent: it is refused before it is read."""
    api.connection.putrequest("POST", BATCH)
    for name, value in headers.items():
        api.connection.putheader(name, value)
    api.connection.endheaders()
    response = api.connection.getresponse()
    response.read()
    api.close()
    return response.status


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip"])
def test_other_packings_are_415(api: Client, people: list[int], encoding: str) -> None:
    assert lines(api, b"x", Content_Encoding=encoding).status == 415


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]
)
def test_a_batch_is_json_or_lines_and_nothing_else(
    api: Client, people: list[int], content_type: str
) -> None:
    answer = api("POST", BATCH, body=b"events=1", headers={"Content-Type": content_type})
    assert answer.status == 415


def test_lines_in_chunks_need_gzip_which_tells_whether_they_are_whole(
    api: Client, store: psycopg.Connection, people: list[int]
) -> None:
    chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/x-ndjson"}
    assert announced(api, chunked) == 411
    headers = {
        "Content-Type": "application/x-ndjson",
        "Content-Encoding": "gzip",
        "Authorization": api.auth or "",
    }
    body = gzip.compress(json.dumps(ADA).encode())
    api.connection.request("POST", BATCH, iter([body]), headers, encode_chunked=True)
    response = api.connection.getresponse()
    assert (response.status, json.loads(response.read())["tracked"]) == (200, 1)
    assert counted(store) == (1, 1)
