"""Bodies, addresses and headers that nobody should send: each has a JSON answer, never a 5xx."""

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from tests.system.server import API, Answer, Client, Server

TRACK = f"{API}/subscribers/track-event"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def nothing_is_stored(
    request: pytest.FixtureRequest, api: Client, store: psycopg.Connection
) -> Iterator[None]:
    """Every call of this file is refused, unless the test says otherwise, and leaves no trace."""
    api.contact("ada@example.com")
    yield
    counts = store.execute(
        "SELECT (SELECT count(*) FROM events_trackedevent), (SELECT count(*) FROM crm_subscriber)"
    ).fetchone()
    expected = (1, 1) if request.node.get_closest_marker("stores") else (0, 1)
    assert counts == expected


def is_rest_error(answer: Answer, status: int, code: str | None = None) -> bool:
    body = answer.json()
    return (
        answer.status == status
        and answer.headers["Content-Type"] == "application/json"
        and body["data"]["status"] == status
        and (code is None or body["code"] == code)
    )


def post(api: Client, body: bytes, content_type: str = "application/json") -> Answer:
    return api("POST", TRACK, body=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"event_key":', id="broken"),
        pytest.param(json.dumps(EVENT).encode() + b"x", id="something after it"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 levels"),
        pytest.param(b'{"event_key": 1e400, "title": "t"}', id="1e400"),
        pytest.param(b'{"event_key": NaN}', id="NaN"),
        pytest.param(b'{"event_key": ' + b"9" * 5000 + b"}", id="5,000 digits"),
        pytest.param(b'{"title": "\\ud800"}', id="lone surrogate"),
        pytest.param(b"\xef\xbb\xbf{}", id="BOM"),
        pytest.param(b'{"title": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"title": "\xc0\x80"}', id="overlong"),
        pytest.param(b'{"title": "a\x00b"}', id="raw NUL"),
        pytest.param(json.dumps(EVENT).encode("utf-16"), id="UTF-16"),
    ],
)
def test_what_is_no_json_is_400(api: Client, body: bytes) -> None:
    assert is_rest_error(post(api, body), 400, "rest_invalid_json")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "application/json; charset=bogus",
        "application/x-www-form-urlencoded; charset=utf-16",
        "nonsense",
        "*/*",
        "application/*",
        "multipart/form-data; boundary=b; charset=utf-16",
        "application/json; charset*=bogus''utf-8",
        "application/json; x*=bogus''y",
    ],
)
def test_another_content_type_or_charset_is_415(api: Client, content_type: str) -> None:
    answer = post(api, json.dumps(EVENT).encode(), content_type)
    assert is_rest_error(answer, 415, "rest_unsupported_media_type")


def test_a_body_without_a_content_type_is_415(api: Client) -> None:
    assert is_rest_error(api("POST", TRACK, body=json.dumps(EVENT).encode()), 415)


def test_a_gzip_body_is_refused(api: Client) -> None:
    body = gzip.compress(json.dumps(EVENT).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert is_rest_error(api("POST", TRACK, body=body, headers=headers), 415)


@pytest.mark.parametrize(
    "body", [b"title=%FF&event_key=k", b"title=\xff", b"&".join(b"a=1" for _ in range(1200))]
)
def test_a_form_that_cannot_be_read_is_400(api: Client, body: bytes) -> None:
    assert is_rest_error(post(api, body, "application/x-www-form-urlencoded"), 400)


@pytest.mark.parametrize("query", ["title=%FF", "a" + "[b]" * 11 + "=1", "&".join(["a=1"] * 1200)])
def test_a_query_string_that_cannot_be_read_is_400(api: Client, query: str) -> None:
    assert is_rest_error(api("POST", f"{TRACK}?{query}", EVENT), 400)


def test_a_broken_multipart_form_is_400(api: Client) -> None:
    assert is_rest_error(post(api, b"--x\r\nnothing", "multipart/form-data"), 400)


@pytest.mark.parametrize(("title", "end"), [(b"t\xff", b"--b--\r\n"), (b"t", b"")])
def test_a_multipart_form_that_is_not_utf8_or_breaks_off_is_400(
    api: Client, title: bytes, end: bytes
) -> None:
    fields = {**EVENT, "title": "TITLE"}
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    body = parts.encode().replace(b"TITLE", title) + end
    assert is_rest_error(post(api, body, "multipart/form-data; boundary=b"), 400)


def raw(server: Server, request: bytes) -> tuple[int, dict[str, object]]:
    """Send bytes, read one answer: its status and JSON."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        return response.status, json.loads(body) if body else {}


def head(server: Server, *lines: str, path: str = TRACK, method: str = "POST") -> bytes:
    return "\r\n".join(
        [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: {server.auth}",
            "Content-Type: application/json",
            *lines,
            "",
            "",
        ]
    ).encode()


def padded(length: int) -> bytes:
    body = json.dumps(EVENT | {"unknown": ""}).encode()
    return body[:-2] + b"x" * (length - len(body)) + body[-2:]


@pytest.mark.stores
def test_a_body_at_the_limit_is_taken(api: Client) -> None:
    assert post(api, padded(MIB)).status == 200


def test_one_byte_more_is_413_before_the_body_is_sent(server: Server) -> None:
    status, body = raw(server, head(server, f"Content-Length: {MIB + 1}"))
    assert (status, body["code"]) == (413, "rest_body_too_large")


def test_ten_gigabytes_announced_are_413_at_once(server: Server) -> None:
    assert raw(server, head(server, f"Content-Length: {10 * 1024**3}"))[0] == 413


@pytest.mark.parametrize("length", ["-1", "x", "1, 2"])
def test_a_bad_content_length_is_400(server: Server, length: str) -> None:
    assert raw(server, head(server, f"Content-Length: {length}"))[0] == 400


def chunked(body: bytes, size: int = 4096) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.stores
def test_a_chunked_body_is_taken(server: Server) -> None:
    request = head(server, "Transfer-Encoding: chunked") + chunked(padded(10_000))
    assert raw(server, request)[0] == 200


def test_a_chunked_body_that_grows_over_the_limit_is_413(server: Server) -> None:
    request = head(server, "Transfer-Encoding: chunked") + chunked(padded(MIB + 1), 65536)
    assert raw(server, request)[0] == 413


@pytest.mark.parametrize("begun", [b"", chunked(json.dumps(EVENT).encode(), 40)[:-8]])
def test_a_bad_chunk_size_is_400(server: Server, begun: bytes) -> None:
    request = head(server, "Transfer-Encoding: chunked") + begun + b"zz\r\nabc\r\n0\r\n\r\n"
    assert raw(server, request)[0] == 400


def test_a_chunked_form_is_411_because_it_does_not_tell_whether_it_is_whole(
    server: Server,
) -> None:
    request = head(server, "Transfer-Encoding: chunked").replace(
        b"application/json", b"application/x-www-form-urlencoded"
    )
    status, body = raw(server, request + chunked(b"event_key=k&title=t&email=ada@example.com"))
    assert (status, body["code"]) == (411, "rest_length_required")


def test_a_form_that_breaks_off_is_not_stored(server: Server) -> None:
    request = head(server, "Content-Length: 100").replace(
        b"application/json", b"application/x-www-form-urlencoded"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request + b"event_key=k&title=t&email=ada@example.com&value=12")
        connection.shutdown(socket.SHUT_WR)
        # Answered 400 or dropped; the fixture looks that nothing is stored.
        assert not connection.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "path",
    [
        "/wp-json/fluent-crm/v2/nonsense",
        "/wp-json/",
        "/wp-login.php",
        f"{API}/subscribers/abc",
        f"{API}/subscribers/-1",
        f"{API}/subscribers/\u0661",
        f"{API}/subscribers/{'9' * 500}",
        f"{API}/subscribers/1/tracking-events/x",
        "/..%2f..%2fetc/passwd",
        "/%00",
        "/%ff",
    ],
)
def test_an_unknown_path_is_404_in_json(api: Client, path: str) -> None:
    answer = api("GET", quote(path, safe="/%."))
    assert is_rest_error(answer, 404, "rest_no_route")


@pytest.mark.parametrize("number", [0, 2**63 - 1, 2**63, 2**64])
def test_a_contact_that_is_not_there_is_404_by_path_and_422_when_shown(
    api: Client, number: int
) -> None:
    path = f"{API}/subscribers/{number}"
    not_found = {"message": "Subscriber not found"}
    shown = api("GET", path)
    assert (shown.status, shown.json()) == (422, not_found)
    for method, below in (("GET", "/tracking-events"), ("PUT", ""), ("DELETE", "")):
        answer = api(method, path + below)
        assert (answer.status, answer.json()) == (404, not_found)


@pytest.mark.parametrize("method", ["PATCH", "PUT", "GET", "BREW", "DELETE", "TRACE"])
def test_a_wrong_method_is_405_and_says_what_is_allowed(api: Client, method: str) -> None:
    answer = api(method, TRACK)
    assert is_rest_error(answer, 405)
    assert answer.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_addresses_that_are_only_read_are_405_in_json_as_well(
    api: Client, path: str, method: str
) -> None:
    answer = api(method, path, {})
    assert is_rest_error(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD"


def test_head_and_options_are_fine(api: Client) -> None:
    assert api("HEAD", f"{API}/subscribers").status == 200
    assert api("OPTIONS", TRACK).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost@evil.example", "a b", "[::1", "\\"])
def test_a_hostile_host_is_400_in_json(server: Server, host: str) -> None:
    request = head(server, "Content-Length: 0").replace(
        b"Host: localhost", f"Host: {host}".encode()
    )
    status, body = raw(server, request)
    assert status == 400
    assert body == {} or body["code"] == "rest_bad_request"


@pytest.mark.parametrize("page", [str(2**63), str(2**63 - 1), "9" * 300, "1e9", "%00", "-1", "٣"])
def test_no_page_number_is_too_wild(api: Client, page: str) -> None:
    answer = api("GET", f"{API}/subscribers?page={quote(page, safe='%')}&per_page=1001")
    assert answer.status == 200
    assert answer.json()["subscribers"]["per_page"] == 1000


NUL = "a\0b"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(
            (
                "POST",
                "/subscribers",
                {"email": "new@example.com", "status": "subscribed", field: NUL},
            )
            for field in (
                *("email", "status", "prefix", "first_name", "last_name", "full_name", "phone"),
                *("address_line_1", "city", "country", "timezone", "source", "avatar", "ip"),
                *("date_of_birth", "latitude", "contact_type", "last_activity"),
            )
        ),
        (
            "POST",
            "/subscribers",
            {"email": "n@example.com", "status": "x", "custom_values": {NUL: 1}},
        ),
        (
            "POST",
            "/subscribers",
            {"email": "n@example.com", "status": "x", "custom_values": {"a": NUL}},
        ),
        ("POST", "/subscribers", {"email": "n@example.com", "status": "x", "tags": [NUL]}),
        ("GET", "/subscribers?search=a%00b", None),
        ("GET", "/subscribers?tags[]=a%00b", None),
        ("GET", "/subscribers?statuses[]=a%00b", None),
        ("GET", "/subscribers?sort_by=a%00b", None),
        ("GET", "/subscribers/0?get_by_email=a%00b", None),
        ("GET", "/subscribers/search-contacts?search=a%00b", None),
        ("GET", "/reports/ajax-options?option_key=a%00b", None),
        ("POST", "/tags", {"title": NUL, "slug": "t"}),
        ("POST", "/tags", {"title": "t", "slug": NUL}),
        ("POST", "/lists", {"title": "t", "description": NUL}),
        ("POST", "/tags/bulk", {"tags": [{"title": NUL}]}),
        (
            "POST",
            "/subscribers/sync-segments",
            {"type": "tags", "attach": [NUL], "subscribers": [1]},
        ),
        (
            "PUT",
            "/subscribers/subscribers-property",
            {"property": "avatar", "value": NUL, "subscribers": [1]},
        ),
        (
            "POST",
            "/subscribers/do-bulk-action",
            {"action_name": "change_contact_type", "new_status": NUL, "subscriber_ids": [1]},
        ),
    ],
)
def test_a_nul_is_422_by_field_everywhere(
    api: Client, method: str, path: str, body: dict[str, object] | None
) -> None:
    answer = api(method, API + path, body)
    assert answer.status == 422, answer.body
    assert "message" not in answer.json()
    assert len(answer.json()) == 1
