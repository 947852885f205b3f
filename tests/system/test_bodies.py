"""Bodies, lengths and headers as they come over the socket, before Django sees them."""

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.system.server import API, Answer, Client, Server

TRACK = f"{API}/subscribers/track-event"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
FORM = "application/x-www-form-urlencoded"
FORM_BODY = b"event_key=k&title=t&email=ada@example.com"
MIB = 1024 * 1024
pytestmark = pytest.mark.usefixtures("ada_id")


def stored(store: psycopg.Connection) -> tuple[int, int]:
    """Return the number of events and of contacts."""
    row = store.execute(
        "SELECT (SELECT count(*)::int FROM events_trackedevent), "
        "(SELECT count(*)::int FROM crm_subscriber)"
    ).fetchone()
    assert row
    return row[0], row[1]


@pytest.fixture
def nothing_is_stored(ada_id: int, store: psycopg.Connection) -> Iterator[None]:
    """Check afterwards that the test stored no event and no other contact."""
    yield
    assert stored(store) == (0, 1)


rejected = pytest.mark.usefixtures("nothing_is_stored")


def assert_rest_error(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()
    assert (error["code"], error["data"]["status"]) == (code, status)


def post(http: Client, body: bytes, content_type: str = "application/json") -> Answer:
    return http("POST", TRACK, body=body, headers={"Content-Type": content_type})


def raw(server: Server, request: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes, and read one response: its status and JSON."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        return response.status, json.loads(body) if body else {}


def head(
    server: Server, *lines: str, content_type: str = "application/json", host: str = "localhost"
) -> bytes:
    """Return the head of a POST request with these further lines."""
    return "\r\n".join(
        [
            f"POST {TRACK} HTTP/1.1",
            f"Host: {host}",
            f"Authorization: {server.auth}",
            f"Content-Type: {content_type}",
            *lines,
            "",
            "",
        ]
    ).encode()


def padded(length: int) -> bytes:
    """Return an event of so many bytes."""
    body = json.dumps(EVENT | {"unknown": ""}).encode()
    return body[:-2] + b"x" * (length - len(body)) + body[-2:]


def chunked(body: bytes, size: int = 4096) -> bytes:
    """Return a body in chunks of `size` bytes."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_body_at_the_limit_is_accepted(http: Client, store: psycopg.Connection) -> None:
    assert post(http, padded(MIB)).status == 200
    assert stored(store) == (1, 1)


@rejected
def test_one_byte_more_is_413_before_the_body_is_sent(server: Server) -> None:
    status, body = raw(server, head(server, f"Content-Length: {MIB + 1}"))
    assert (status, body["code"]) == (413, "rest_body_too_large")


@rejected
def test_an_announced_body_of_ten_gigabytes_is_413_at_once(server: Server) -> None:
    assert raw(server, head(server, f"Content-Length: {10 * 1024**3}"))[0] == 413


@rejected
@pytest.mark.parametrize("length", ["-1", "x", "1, 2"])
def test_a_bad_content_length_is_400(server: Server, length: str) -> None:
    assert raw(server, head(server, f"Content-Length: {length}"))[0] == 400


def test_a_chunked_body_is_accepted(server: Server, store: psycopg.Connection) -> None:
    request = head(server, "Transfer-Encoding: chunked") + chunked(padded(10_000))
    assert raw(server, request)[0] == 200
    assert stored(store) == (1, 1)


@rejected
def test_a_chunked_body_that_grows_over_the_limit_is_413(server: Server) -> None:
    request = head(server, "Transfer-Encoding: chunked") + chunked(padded(MIB + 1), 65536)
    assert raw(server, request)[0] == 413


@rejected
@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="first chunk"),
        pytest.param(chunked(json.dumps(EVENT).encode(), 40)[:-8], id="last chunk"),
    ],
)
def test_a_bad_chunk_size_is_400(server: Server, begun: bytes) -> None:
    request = head(server, "Transfer-Encoding: chunked") + begun + b"zz\r\nabc\r\n0\r\n\r\n"
    assert raw(server, request)[0] == 400


@rejected
def test_a_chunked_form_is_411_because_it_may_not_be_whole(server: Server) -> None:
    request = head(server, "Transfer-Encoding: chunked", content_type=FORM) + chunked(FORM_BODY)
    status, body = raw(server, request)
    assert (status, body["code"]) == (411, "rest_length_required")


@rejected
def test_a_form_that_breaks_off_is_not_stored(server: Server) -> None:
    request = head(server, "Content-Length: 100", content_type=FORM) + FORM_BODY + b"&value=12"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        # The response is 400, or there is none.
        assert not connection.recv(65536).startswith(b"HTTP/1.1 200")


@rejected
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=bogus",
        "application/x-www-form-urlencoded; charset=utf-16",
        "multipart/form-data; boundary=b; charset=utf-16",
        "application/json; charset*=bogus''utf-8",
        "application/json; x*=bogus''y",
    ],
)
def test_another_content_type_or_charset_is_415(http: Client, content_type: str) -> None:
    answer = post(http, json.dumps(EVENT).encode(), content_type)
    assert_rest_error(answer, 415, "rest_unsupported_media_type")


@rejected
def test_a_body_without_a_content_type_has_to_be_json(http: Client) -> None:
    answer = http("POST", TRACK, body=b"event_key=k")
    assert_rest_error(answer, 400, "rest_invalid_json")


@rejected
def test_a_gzip_body_of_a_single_event_is_415(http: Client) -> None:
    body = gzip.compress(json.dumps(EVENT).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = http("POST", TRACK, body=body, headers=headers)
    assert_rest_error(answer, 415, "rest_unsupported_media_type")


@rejected
@pytest.mark.parametrize(
    "path", [f"{API}/subscribers/\u0661", "/..%2f..%2fetc/passwd", "/%00", "/%ff"]
)
def test_a_hostile_path_is_404_in_json(http: Client, path: str) -> None:
    assert_rest_error(http("GET", quote(path, safe="/%.")), 404, "rest_no_route")


@rejected
@pytest.mark.parametrize("method", ["BREW", "TRACE"])
def test_an_unusual_method_is_405_and_names_those_that_are_allowed(
    http: Client, method: str
) -> None:
    answer = http(method, TRACK)
    assert_rest_error(answer, 405, "rest_method_not_allowed")
    assert answer.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(("method", "path"), [("HEAD", f"{API}/subscribers"), ("OPTIONS", TRACK)])
def test_head_and_options_are_accepted(http: Client, method: str, path: str) -> None:
    assert http(method, path).status == 200


@rejected
@pytest.mark.parametrize("host", ["evil.example", "localhost@evil.example", "a b", "[::1", "\\"])
def test_a_hostile_host_is_400_in_json(server: Server, host: str) -> None:
    status, body = raw(server, head(server, "Content-Length: 0", host=host))
    assert status == 400
    # The web server itself refuses what is no host at all, without a body.
    assert body == {} or body["code"] == "rest_bad_request"
