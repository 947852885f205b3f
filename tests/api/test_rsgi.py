"""config.server.rsgi: how requests reach Django, and how its responses and errors are sent."""

import json
import time
from types import ModuleType
from typing import Any

import pytest

from config.server import work
from config.server.work import WorkClass
from tests.api.rsgi import Headers, HTTPProtocol, connections_kept, scope

API = "/wp-json/fluent-crm/v2"


@pytest.fixture
def environ(rsgi: ModuleType) -> Any:
    """Return the environ of a request with these parts."""

    def build(body: bytes = b"", path: str = "/", **parts: Any) -> dict[str, Any]:
        sent = scope(path=path, **parts)
        environ: dict[str, Any] = rsgi.environ_of(sent, rsgi.target_of(sent), len(body))
        return environ

    return build


@pytest.fixture
def no_room(rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no class of work have a place."""
    for name in ("TRACKING", "API", "PEOPLE", "MANY"):
        monkeypatch.setattr(work, name, WorkClass("api", 0, 0))
    monkeypatch.setattr(rsgi, "PACE_SECONDS", (0, 0))


def test_headers_and_addresses_stand_where_wsgi_has_them(environ: Any) -> None:
    sent = {"host": "crm.example.com", "content-type": "text/plain", "x-some-header": "1"}
    built = environ(b"body", path="/a", headers=sent, client="10.0.0.1:40000")
    assert built["HTTP_HOST"] == "crm.example.com"
    assert built["CONTENT_TYPE"] == "text/plain"
    assert built["HTTP_X_SOME_HEADER"] == "1"
    assert built["REMOTE_ADDR"] == "10.0.0.1"
    assert built["CONTENT_LENGTH"] == "4"


def test_an_address_of_ipv6_has_no_brackets(environ: Any) -> None:
    assert environ(client="[::1]:40000")["REMOTE_ADDR"] == "::1"


@pytest.mark.parametrize("name", ["x_forwarded_for", "x-forwarded_for", "content_length"])
def test_a_header_with_an_underscore_is_dropped(environ: Any, name: str) -> None:
    built = environ(headers={"host": "localhost", name: "6.6.6.6"})
    assert "HTTP_X_FORWARDED_FOR" not in built
    assert built["CONTENT_LENGTH"] == "0"


def test_a_path_and_a_query_in_utf8_are_latin_1_in_wsgi(environ: Any) -> None:
    built = environ(path="/é", query_string="q=ü")
    assert built["PATH_INFO"].encode("latin-1").decode() == "/é"
    assert built["QUERY_STRING"].encode("latin-1").decode() == "q=ü"


def test_a_host_in_the_request_line_stands_for_the_header(environ: Any) -> None:
    assert environ(headers={}, authority="crm.example.com")["HTTP_HOST"] == "crm.example.com"


def test_a_header_that_is_not_ascii_is_empty_and_not_missing(environ: Any) -> None:
    headers = Headers({"idempotency-key": "für", "x_idempotency_key": "für", "x-next": "1"})
    built = environ(headers=headers)
    assert built["HTTP_IDEMPOTENCY_KEY"] == ""
    assert built["HTTP_X_NEXT"] == "1"
    assert "HTTP_X_IDEMPOTENCY_KEY" not in built


class Repeated(dict[str, str]):
    """Headers of which one came twice."""

    def __init__(self, name: str, *values: str) -> None:
        super().__init__()
        self.repeated = [(name, value) for value in values]

    def items(self) -> Any:
        return self.repeated


@pytest.mark.parametrize(
    ("name", "key", "joined"),
    [("x-forwarded-for", "HTTP_X_FORWARDED_FOR", "a,b"), ("cookie", "HTTP_COOKIE", "a; b")],
)
def test_a_header_that_came_twice_is_joined(environ: Any, name: str, key: str, joined: str) -> None:
    assert environ(headers=Repeated(name, "a", "b"))[key] == joined


def test_healthz_is_answered_although_no_class_of_work_has_a_place(
    send: Any, no_room: None
) -> None:
    status, _, body = send(path="/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "path",
    [f"{API}/subscribers/track-event", f"{API}/tags", f"{API}/segments", "/api/schema/"],
)
def test_a_full_class_of_work_answers_503_in_json(send: Any, no_room: None, path: str) -> None:
    status, headers, body = send(path=path)
    assert status == 503
    assert headers["Retry-After"] == "1"
    assert json.loads(body) == {
        "code": "service_unavailable",
        "message": "Too many requests of this kind are waiting. Try again in a moment.",
        "data": {"status": 503},
    }


def test_a_get_whose_parameters_are_in_its_body_is_a_call_about_many_contacts(
    send: Any, rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MANY", WorkClass("api", 0, 0))
    monkeypatch.setattr(rsgi, "PACE_SECONDS", (0, 0))
    headers = {"host": "localhost", "content-type": "application/json", "content-length": "2"}
    status, _, _ = send(b"{}", path=f"{API}/subscribers", headers=headers)
    assert status == 503
    status, _, _ = send(path=f"{API}/subscribers")
    assert status == 401


def test_people_get_a_page_when_their_class_is_full(send: Any, no_room: None) -> None:
    status, headers, body = send(path="/admin/")
    assert status == 503
    assert headers["Content-Type"].startswith("text/html")
    assert b"Too many requests of this kind are waiting." in body


def test_a_rejected_body_does_not_reach_django(send: Any) -> None:
    status, headers, body = send(
        method="POST",
        path=f"{API}/subscribers",
        headers={"host": "localhost", "content-type": "text/plain", "content-length": "99999999"},
    )
    assert (status, headers["Content-Type"]) == (413, "application/json")
    assert json.loads(body)["code"] == "rest_body_too_large"


def test_people_get_a_page_when_a_file_is_too_large(send: Any) -> None:
    status, headers, body = send(
        method="POST",
        path="/admin/automations/automation/add/",
        headers={"host": "localhost", "content-type": "text/plain", "content-length": "99999999"},
    )
    assert (status, headers["Content-Type"].split(";")[0]) == (413, "text/html")
    assert b"What was sent is larger than the server accepts." in body


def test_a_body_reaches_django(send: Any) -> None:
    headers = {"host": "localhost", "content-type": "application/json", "content-length": "1"}
    status, _, body = send(
        b"{", method="POST", path=f"{API}/subscribers/track-event", headers=headers
    )
    assert status in (400, 401), body


def test_an_error_outside_django_is_500(
    send: Any, rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(rsgi, "environ_of", lambda *_: 1 / 0)
    status, _, body = send(path=f"{API}/tags")
    assert (status, json.loads(body)["code"]) == (500, "internal_server_error")
    assert "ZeroDivisionError" in caplog.text


def test_the_room_for_long_bodies_is_free_again_after_the_answer(
    send: Any, rsgi: ModuleType
) -> None:
    body = b" " * 100_000
    headers = {"host": "localhost", "content-type": "application/json"}
    headers["content-length"] = str(len(body))
    status, _, _ = send(body, method="POST", path=f"{API}/subscribers", headers=headers)
    assert status == 401
    rsgi.application.buffer.reserve(64 * 1024 * 1024)
    rsgi.application.buffer.release(64 * 1024 * 1024)


def test_cookies_are_sent_each_in_a_header_of_its_own(rsgi: ModuleType, db: None) -> None:
    protocol = HTTPProtocol()
    with connections_kept():
        rsgi.application.begin(scope(path="/admin/login/"), protocol)
    [(status, headers, _)] = protocol.sent
    assert status == 200
    [cookie] = [value for name, value in headers if name == "Set-Cookie"]
    assert cookie.startswith("tallybook_csrftoken=")


def test_a_small_file_is_sent_from_memory_and_closed(send: Any) -> None:
    status, headers, body = send(path="/static/admin/css/base.css")
    assert status == 200
    assert headers["Content-Length"] == str(len(body))


def test_a_worker_that_is_stuck_does_not_beat(
    rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[float] = []
    monkeypatch.setattr(rsgi.heartbeat, "beat", beats.append)
    now = time.monotonic()
    rsgi.application.tend(now)
    assert beats == [now]
    monkeypatch.setattr(WorkClass, "is_stuck", lambda *_: True)
    rsgi.application.tend(now)
    assert beats == [now]


@pytest.fixture
def pace(rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pace refusals by 0.1 s."""
    monkeypatch.setattr(rsgi, "PACE_SECONDS", (0.1, 0.1))


def test_who_sends_too_many_requests_is_answered_later(
    rsgi: ModuleType, pace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsgi, "respond", lambda *_: rsgi.Answer(429, []))
    assert_answered_later(rsgi, 429)


def test_who_finds_a_full_class_of_work_is_answered_later(
    rsgi: ModuleType, no_room: None, pace: None
) -> None:
    assert_answered_later(rsgi, 503)


def assert_answered_later(rsgi: ModuleType, status: int) -> None:
    protocol = HTTPProtocol()
    rsgi.application.begin(scope(), protocol)
    pause = rsgi.application.send_due()
    assert protocol.sent == []
    time.sleep(pause)
    rsgi.application.send_due()
    assert protocol.sent[0][0] == status


def test_after_a_large_response_its_place_rests(
    rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"x" * rsgi.LARGE_BYTES
    monkeypatch.setattr(rsgi, "respond", lambda *_: rsgi.Answer(200, [], content))
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        assert protocol.sent

    monkeypatch.setattr(time, "sleep", rest)
    protocol = HTTPProtocol()
    rsgi.application.begin(scope(), protocol)
    assert rests == [rsgi.LARGE_BYTES / rsgi.BYTES_PER_SECOND]


def test_a_worker_that_holds_too_much_ends_the_body_that_came_first(
    rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = rsgi.Application()
    application.buffer.reserve(64 * 1024 * 1024)
    ended: list[None] = []

    def end_oldest() -> None:
        application.buffer.release(10)
        ended.append(None)

    monkeypatch.setattr(application.readings, "end_oldest", end_oldest)
    rsgi.Request(application, scope(), HTTPProtocol())._hold(10)
    assert ended == [None]
