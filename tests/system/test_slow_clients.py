"""Clients that send or read slowly, and what a connection is good for afterwards."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest

from config.server.bodies import BODY_SECONDS
from config.server.connections import BYTES_PER_SECOND, LOOK_SECONDS
from config.server.granian_server import HEADER_SECONDS
from config.server.work import API as API_CLASS
from config.server.work import WATCH_SECONDS
from tests.long import long
from tests.system.admin_session import AdminSession, log_in
from tests.system.database import waiting_for_locks
from tests.system.processes import wait_for_workers
from tests.system.server import API, Answer, Client, Server, wait_until

TRACK = f"{API}/subscribers/track-event"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
BUNDLE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"
STYLES = "/static/admin/css/base.css"
MANY = 64
AT_ONCE = 1.0
# Until the file of a response is closed.
OPENING_SECONDS = 10.0
# How often the thread that enforces limits looks.
TICK = 0.25
# From a limit until the thread that enforces limits has looked, on a busy machine.
SLACK = 3.0
HEAD = f"POST {TRACK} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Wire:
    """A connection to the server, over which responses are read one after another."""

    def __init__(self, port: int, buffer: int) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(30)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", port))
        self.stream = self.socket.makefile("rb")

    def send(self, sent: str | bytes) -> None:
        """Send bytes."""
        self.socket.sendall(sent.encode() if isinstance(sent, str) else sent)

    def read(self, has_body: bool = True) -> Answer:
        """Read a response."""
        status = int(self.stream.readline().split()[1])
        headers = http.client.parse_headers(self.stream)
        length = int(headers["Content-Length"] or 0) if has_body else 0
        return Answer(status, headers, self.stream.read(length))

    def is_closed(self) -> bool:
        """Return whether the server has ended the connection, once all of it is read."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        """Go away."""
        self.stream.close()
        self.socket.close()


Connect = Callable[..., Wire]


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Connect to the server and send bytes: `connect(sent, buffer=2048)`."""
    with ExitStack() as stack:

        def make(sent: str | bytes = b"", buffer: int = 0) -> Wire:
            wire = Wire(server.port, buffer)
            stack.callback(wire.close)
            wire.send(sent)
            return wire

        yield make


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


def assert_all_answer_at_once(server: Server) -> None:
    """Send events and health checks, on several connections, so that each worker gets some."""
    for _ in range(8):
        client = server.client()
        for answered in (partial(client.track, **EVENT), partial(client, "GET", "/healthz")):
            began = time.monotonic()
            assert answered().status == 200
            assert time.monotonic() - began < AT_ONCE
        client.close()


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param("POST / HTTP/1.1\r\nHost: local", id="headers"),
        pytest.param(f"{HEAD}Content-Length: 1000\r\n\r\n{{", id="a short body"),
        pytest.param(f"{HEAD}Content-Length: 900000\r\n\r\n{{", id="a long body"),
        pytest.param(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n", id="chunks"),
    ],
)
def test_others_are_answered_while_clients_send_slowly(
    server: Server, ada_id: int, connect: Connect, begun: str
) -> None:
    for _ in range(MANY):
        connect(begun)
    assert_all_answer_at_once(server)


def test_others_are_answered_while_clients_do_not_read(
    server: Server, ada_id: int, connect: Connect
) -> None:
    clients = [connect(get(BUNDLE) * 3, buffer=2048) for _ in range(MANY)]
    for client in clients:
        assert client.socket.recv(1)
    assert_all_answer_at_once(server)


def test_a_client_that_goes_away_while_its_request_waits_costs_nothing(
    server: Server, http: Client, store: psycopg.Connection, connect: Connect
) -> None:
    page = f"{API}/subscribers"
    authorized = f"\r\nAuthorization: {server.auth}\r\n\r\n"
    with store.transaction():
        store.execute("LOCK TABLE crm_subscriber")
        for _ in range(8 * server_workers(server)):
            connect(get(page).replace("\r\n\r\n", authorized))
        wait_until(lambda: waiting_for_locks(store) == API_CLASS.size * server_workers(server))
        body = '{"email":"gone@example.com","status":"subscribed"}'
        head = f"{HEAD}Content-Length: {len(body)}".replace(TRACK, page)
        connect(head + authorized + body).close()
        # Until the server looks after what has waited so long.
        time.sleep(WATCH_SECONDS + 2 * TICK)
    assert http("GET", f"{page}?search=gone").json()["subscribers"]["total"] == 0


def server_workers(server: Server) -> int:
    return len(wait_for_workers(server))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (f"{HEAD}Content-Length: 2\r\n\r\n{{}}", 401),
        (get("/nowhere"), 404),
        (get(STYLES).replace("GET", "POST"), 405),
        (f"{HEAD}Content-Length: 2\r\n\r\n{{}}".replace("/json", "/json; charset=x"), 415),
    ],
)
def test_a_connection_goes_on_after_an_error(connect: Connect, sent: str, status: int) -> None:
    wire = connect(sent + get("/healthz"))
    assert [wire.read().status, wire.read().status] == [status, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(f"{HEAD}Content-Length: 1048577\r\n\r\n{{", 413, id="too long"),
        pytest.param(f"{HEAD}Content-Length: x\r\n\r\n", 400, id="no length"),
        pytest.param(f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, id="no chunk"),
    ],
)
def test_a_connection_ends_after_a_body_that_was_not_read(
    connect: Connect, sent: str, status: int
) -> None:
    wire = connect(sent)
    answer = wire.read()
    assert (answer.status, answer.headers["Connection"]) == (status, "close")
    wait_until(wire.is_closed)


def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    paths = ["/healthz", STYLES, "/nowhere", "/api/schema/", "/healthz", BUNDLE, "/readyz"]
    wire = connect("".join(map(get, paths)))
    answers = [wire.read() for _ in paths]
    assert [answer.status for answer in answers] == [200, 200, 404, 200, 200, 200, 200]
    assert json.loads(answers[4].body) == {"status": "ok"}


@pytest.mark.parametrize("path", [STYLES, BUNDLE], ids=["small", "large"])
def test_head_of_a_static_file_has_its_length_and_no_body(connect: Connect, path: str) -> None:
    wire = connect(get(path) + get(path).replace("GET", "HEAD") + get("/healthz"))
    whole, head, after = wire.read(), wire.read(has_body=False), wire.read()
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(whole.body)))
    assert after.status == 200


@pytest.mark.parametrize("path", [STYLES, BUNDLE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("asked", "part"),
    [("0-9", slice(10)), ("100-", slice(100, None)), ("-10", slice(-10, None))],
)
def test_a_range_of_a_static_file_is_a_part_of_it(
    http: Client, path: str, asked: str, part: slice
) -> None:
    whole = http("GET", path).body
    answer = http("GET", path, headers={"Range": f"bytes={asked}"})
    assert (answer.status, answer.body) == (206, whole[part])


@pytest.mark.parametrize("path", [STYLES, BUNDLE], ids=["small", "large"])
def test_a_static_file_that_is_the_same_is_304(http: Client, path: str) -> None:
    modified = http("GET", path).headers["Last-Modified"]
    answer = http("GET", path, headers={"If-Modified-Since": modified})
    assert (answer.status, answer.body) == (304, b"")


def test_a_body_is_sent_after_100_continue(server: Server, ada_id: int, connect: Connect) -> None:
    body = json.dumps(EVENT)
    wire = connect(
        f"{HEAD}Authorization: {server.auth}\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    assert wire.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(body)
    assert wire.read().status == 200


def test_a_body_that_is_rejected_gets_no_100_continue(connect: Connect) -> None:
    wire = connect(f"{HEAD}Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")
    assert wire.read().status == 413


@pytest.fixture
def session(server: Server, http: Client) -> Iterator[AdminSession]:
    """An admin user's browser."""
    session = log_in(server)
    yield session
    session.close()


def test_a_large_download_is_whole(session: AdminSession, store: psycopg.Connection) -> None:
    ids = fill(store)
    whole = export(session, ids)
    assert len(whole) > 256 * 1024
    parts = [export(session, ids[start : start + 300]) for start in range(0, len(ids), 300)]
    heading, _, _ = whole.partition(b"\r\n")
    rows = b"".join(part.removeprefix(heading + b"\r\n") for part in parts)
    assert whole == heading + b"\r\n" + rows


@long
def test_the_file_of_a_download_is_closed_afterwards(
    server: Server, session: AdminSession, store: psycopg.Connection
) -> None:
    export(session, fill(store))
    assert temporary_files(server)
    wait_until(lambda: not temporary_files(server), OPENING_SECONDS + SLACK)


def fill(store: psycopg.Connection) -> list[int]:
    """Create 900 contacts with 3 events each. Return the contacts' ids."""
    ids = store.execute(
        "INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, "
        "life_time_value, custom_values, created_at, updated_at) "
        "SELECT email, email, 'subscribed', 'lead', 0, 0, '{}', now(), now() "
        "FROM (SELECT 'contact' || n || '@example.com' AS email "
        "FROM generate_series(1, 900) n) row RETURNING id"
    ).fetchall()
    store.execute(
        "INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, "
        "counter, unlogged, repeatable, created_at, updated_at) "
        "SELECT s.id, 'key', 'title ' || n, repeat('x', 100), 'p', 1, 1, true, now(), now() "
        "FROM crm_subscriber s, generate_series(1, 3) n"
    )
    return sorted(row[0] for row in ids)


def export(session: AdminSession, ids: list[int]) -> bytes:
    """Return the CSV of contacts."""
    fields = [("action", "export_csv"), *(("_selected_action", str(each)) for each in ids)]
    token = ("csrfmiddlewaretoken", session.cookies["tallybook_csrftoken"])
    answer = session("POST", "/admin/crm/subscriber/", form=[*fields, token])
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return answer.body


def temporary_files(server: Server) -> list[Path]:
    """Return the descriptors of files without a name that workers have open."""
    return [
        descriptor
        for pid in wait_for_workers(server)
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if is_deleted(descriptor)
    ]


def is_deleted(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).endswith("(deleted)")
    except OSError:
        return False


@long
@pytest.mark.parametrize("length", [1000, 900_000], ids=["short", "long"])
def test_a_body_that_stalls_is_408_and_ends_the_connection(connect: Connect, length: int) -> None:
    wire = connect(f"{HEAD}Content-Length: {length}\r\n\r\n{{")
    answer = wire.read()
    assert (answer.status, answer.json()["code"]) == (408, "rest_request_timeout")
    wait_until(wire.is_closed)


@long
@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        pytest.param(f"{HEAD}Content-Length: 1000\r\n\r\n", "x", id="a short body"),
        pytest.param(f"{HEAD}Content-Length: 900000\r\n\r\n", "x", id="a long body"),
        pytest.param(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", id="chunks"),
    ],
)
def test_a_body_that_trickles_is_dropped(connect: Connect, begun: str, piece: str) -> None:
    assert_dropped_while_it_sends(connect(begun), piece, BODY_SECONDS)


@long
def test_headers_that_never_end_are_dropped(connect: Connect) -> None:
    wire = connect("GET / HTTP/1.1\r\n")
    assert_dropped_while_it_sends(wire, "X-Header: x\r\n", HEADER_SECONDS)


def assert_dropped_while_it_sends(wire: Wire, piece: str, seconds: float) -> None:
    """Send a piece again and again, until the server ends the connection."""
    deadline = time.monotonic() + seconds + SLACK
    with suppress(ConnectionError):
        while not wire.is_closed():
            assert time.monotonic() < deadline
            wire.send(piece)
            time.sleep(TICK)


@long
def test_a_body_that_is_slow_but_steady_is_read(
    server: Server, ada_id: int, connect: Connect
) -> None:
    body = json.dumps(EVENT | {"unknown": "x" * 200_000})
    wire = connect(f"{HEAD}Authorization: {server.auth}\r\nContent-Length: {len(body)}\r\n\r\n")
    for start in range(0, len(body), 8192):
        wire.send(body[start : start + 8192])
        time.sleep(0.3)
    assert wire.read().status == 200


@long
def test_a_client_that_does_not_read_is_dropped(connect: Connect) -> None:
    wire = connect(get(BUNDLE), buffer=2048)
    assert is_open_at_the_server(wire)
    wait_until(lambda: not is_open_at_the_server(wire), 2 * LOOK_SECONDS + SLACK)


def is_open_at_the_server(wire: Wire) -> bool:
    """Return whether a process has the server's end of a connection. The client may not know."""
    (_, port), (_, server_port) = wire.socket.getsockname(), wire.socket.getpeername()
    ends = (f":{server_port:04X}", f":{port:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
            return fields[9] != "0"
    return False


@long
def test_a_client_that_reads_slowly_but_steadily_gets_all(http: Client, connect: Connect) -> None:
    whole = http("GET", BUNDLE).body
    wire = connect(get(BUNDLE), buffer=16 * 1024)
    while wire.stream.readline() != b"\r\n":
        pass
    read = b""
    while len(read) < len(whole):
        read += wire.stream.read(min(4 * BYTES_PER_SECOND, len(whole) - len(read)))
        time.sleep(1)
    assert read == whole
