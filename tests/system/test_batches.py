"""Batches over the socket: packed and chunked bodies, body limits, many at once, statements."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.long import long
from tests.system.database import count_deadlocks, count_statements, counted
from tests.system.processes import processor_seconds, wait_for_applications, wait_for_workers
from tests.system.server import API, Answer, Client, Server
from tests.system.threads import in_threads

BATCH = f"{API}/subscribers/track-events"
MIB = 1024 * 1024
LIMIT = 5 * MIB
ADA = {"event_key": "k", "title": "t", "email": "ada@example.com"}
BOB = ADA | {"email": "bob@example.com"}
LINE = json.dumps(ADA).encode() + b"\n"
NDJSON = {"Content-Type": "application/x-ndjson"}
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(autouse=True)
def contacts(http: Client) -> None:
    """The contacts of ADA and BOB."""
    http.contact("ada@example.com")
    http.contact("bob@example.com")


def send(http: Client, *events: Any) -> Answer:
    """Send a batch as JSON."""
    return http("POST", BATCH, {"events": list(events)})


def send_lines(http: Client, body: bytes, encoding: str = "identity") -> Answer:
    """Send a batch as lines of JSON, in a content encoding."""
    return http("POST", BATCH, body=body, headers=NDJSON | {"Content-Encoding": encoding})


def send_headers(http: Client, headers: dict[str, str]) -> int:
    """Send the headers of a batch without its body and return the status of the response."""
    http.connection.putrequest("POST", BATCH)
    for name, value in headers.items():
        http.connection.putheader(name, value)
    http.connection.endheaders()
    response = http.connection.getresponse()
    response.read()
    http.close()
    return response.status


@pytest.mark.parametrize("members", [1, 2])
def test_gzip_lines_of_one_or_more_members_are_accepted(
    http: Client, store: psycopg.Connection, members: int
) -> None:
    answer = send_lines(http, gzip.compress(LINE) * members, "gzip")
    assert answer.json()["tracked"] == members
    assert counted(store) == (members, members)


def test_gzip_json_is_accepted(http: Client, store: psycopg.Connection) -> None:
    body = gzip.compress(json.dumps({"events": [ADA]}).encode())
    headers = GZIP | {"Content-Type": "application/json"}
    assert http("POST", BATCH, body=body, headers=headers).json()["tracked"] == 1
    assert counted(store) == (1, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"not gzip",
        lambda packed: packed[:-3],
        lambda packed: packed + b"rest",
        lambda packed: packed[:2],
        lambda packed: packed[:-8] + b"\0" * 8,
    ],
    ids=["no gzip", "cut off", "bytes after it", "its first two bytes", "a wrong checksum"],
)
def test_a_gzip_body_that_is_broken_or_cut_off_is_400(
    http: Client, store: psycopg.Connection, spoil: Callable[[bytes], bytes]
) -> None:
    assert send_lines(http, spoil(gzip.compress(LINE.strip())), "gzip").status == 400
    assert counted(store) == (0, 0)


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip"])
def test_another_content_encoding_is_415(http: Client, encoding: str) -> None:
    assert send_lines(http, b"x", encoding).status == 415


def lines_of(size: int) -> bytes:
    """Return lines of long events, padded with spaces to this number of bytes."""
    line = json.dumps(ADA | {"value": "x" * 60_000}).encode() + b"\n"
    return (line * (size // len(line))).ljust(size)


def test_lines_at_the_limit_are_accepted(http: Client) -> None:
    answer = send_lines(http, lines_of(LIMIT))
    assert (answer.status, answer.json()["failed"]) == (200, 0)


def test_gzip_lines_that_unpack_to_the_limit_are_accepted(http: Client) -> None:
    answer = send_lines(http, gzip.compress(lines_of(LIMIT)), "gzip")
    assert (answer.status, answer.json()["failed"]) == (200, 0)


def test_gzip_lines_that_unpack_to_one_byte_more_are_413(
    http: Client, store: psycopg.Connection
) -> None:
    assert send_lines(http, gzip.compress(lines_of(LIMIT + 1)), "gzip").status == 413
    assert counted(store) == (0, 0)


def test_one_byte_more_than_the_limit_is_413_before_the_body_is_sent(http: Client) -> None:
    assert send_headers(http, NDJSON | {"Content-Length": str(LIMIT + 1)}) == 413


def test_a_gzip_bomb_is_413_while_it_is_unpacked(http: Client) -> None:
    bomb = gzip.compress(b"\0" * 64 * MIB) * 64
    assert len(bomb) < LIMIT
    assert send_lines(http, bomb, "gzip").status == 413


@pytest.mark.parametrize("line", [b"1\n", b"x\n", b"\n"])
def test_millions_of_lines_are_rejected_within_2_seconds_of_processor_time(
    server: Server, http: Client, line: bytes
) -> None:
    packed = gzip.compress(line * (LIMIT // len(line)))
    processes = [*wait_for_workers(server), *wait_for_applications(server)]
    before = processor_seconds(processes)
    assert send_lines(http, packed, "gzip").status == 422
    assert processor_seconds(processes) - before < 2


def test_chunked_lines_without_gzip_are_411_because_they_may_not_be_whole(http: Client) -> None:
    assert send_headers(http, NDJSON | {"Transfer-Encoding": "chunked"}) == 411


def test_chunked_lines_with_gzip_are_accepted(http: Client, store: psycopg.Connection) -> None:
    headers = NDJSON | GZIP | {"Authorization": http.auth or ""}
    body = iter([gzip.compress(LINE)])
    http.connection.request("POST", BATCH, body, headers, encode_chunked=True)
    response = http.connection.getresponse()
    assert (response.status, json.loads(response.read())["tracked"]) == (200, 1)
    assert counted(store) == (1, 1)


def test_a_batch_sent_50_times_at_once_in_two_orders_counts_once(
    server: Server, store: psycopg.Connection
) -> None:
    events = [(ADA, BOB)[n % 2] | {"idempotency_key": f"k{n}"} for n in range(20)]
    clients = [server.client() for _ in range(50)]
    answers = in_threads(50, lambda n: send(clients[n], *events[:: 1 if n % 2 else -1]))
    assert {answer.status for answer in answers} == {200}
    results = {
        tuple(sorted((result["id"], result["counter"]) for result in answer.json()["results"]))
        for answer in answers
    }
    assert len(results) == 1
    assert counted(store) == (20, 20)
    for client in clients:
        client.close()


@pytest.mark.parametrize("each", [10, pytest.param(50, marks=long)])
def test_batches_of_16_clients_in_opposite_orders_never_deadlock(
    server: Server, store: psycopg.Connection, each: int
) -> None:
    events = [(ADA, BOB)[n % 2] | {"event_key": f"k{n // 2}"} for n in range(100)]
    before = count_deadlocks(store)

    def work(index: int) -> set[int]:
        client = server.client()
        order = events if index % 2 else events[::-1]
        statuses = {send(client, *order).status for _ in range(each)}
        client.close()
        return statuses

    assert in_threads(16, work) == [{200}] * 16
    assert count_deadlocks(store) == before
    rows = store.execute("SELECT DISTINCT counter FROM events_trackedevent").fetchall()
    assert rows == [(16 * each,)]
    assert counted(store) == (1600 * each, 1600 * each)


def test_a_batch_costs_2_statements(http: Client, store: psycopg.Connection) -> None:
    events = [ADA | {"event_key": f"k{n}", "idempotency_key": f"k{n}"} for n in range(100)]

    def work() -> None:
        assert send(http, *events, ADA, BOB).json()["tracked"] == 102

    assert count_statements(store, work) == 2
