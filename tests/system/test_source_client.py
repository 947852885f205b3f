"""The client that reads other programs' APIs, which may be busy, broken or hostile."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from crm.jobs import JobError, Stopped
from tests.api.played import Answer, Sent
from tests.system.loopback import Loopback, in_turn, loopback
from transfers.sources import client
from transfers.sources.client import JsonClient, basic, site_url

Serve = Callable[[Answer], Loopback]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a server, and let the client wait for moments instead of minutes."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(loopback(answer))


def get(server: Loopback, path: str = "/", rate: float = 1000, **options: Any) -> Any:
    check = options.get("check", lambda: None)
    source = JsonClient(server.url, basic("admin", "secret"), rate, check)
    try:
        return source.get(server.url + path)
    finally:
        source.close()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_source_is_asked_again(serve: Serve, status: int) -> None:
    server = serve(in_turn(Sent({}, status), Sent(b"<html>", status), Sent({"a": 1})))
    assert get(server) == {"a": 1}
    assert len(server.requests) == 3


@pytest.mark.parametrize(("text", "seconds"), [("7", 7), ("3600", 60), ("soon", 0.001)])
def test_the_source_says_how_long_to_wait(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(JsonClient, "_wait", lambda _, seconds: waits.append(seconds))
    server = serve(in_turn(Sent({}, 429, {"Retry-After": text}), Sent({"a": 1})))
    assert get(server) == {"a": 1}
    assert waits[1] == seconds


def test_the_rate_is_bounded(serve: Serve) -> None:
    server = serve(in_turn(Sent({})))
    source = JsonClient(server.url, {}, 50, lambda: None)
    began = time.monotonic()
    for _ in range(6):
        source.get(server.url)
    assert time.monotonic() - began > 5 / 50
    source.close()


def test_a_stop_ends_the_waiting(serve: Serve) -> None:
    server = serve(in_turn(Sent({}, 503, {"Retry-After": "60"})))

    def check() -> None:
        if server.requests:
            raise Stopped

    with pytest.raises(Stopped):
        get(server, check=check)


def test_a_redirect_within_the_host_is_followed(serve: Serve) -> None:
    server = serve(in_turn(Sent(b"", 301, {"Location": "/there"}), Sent({"a": 1})))
    assert get(server) == {"a": 1}
    assert server.requests == ["/", "/there"]


def test_a_redirect_to_another_host_gets_no_password(serve: Serve) -> None:
    other = serve(in_turn(Sent({"a": 1})))
    server = serve(in_turn(Sent(b"", 302, {"Location": f"{other.url}/x"})))
    with pytest.raises(JobError, match="Use the URL of that site"):
        get(server)
    assert other.requests == []


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (Sent(b"<!DOCTYPE html>"), "answers 200 with HTML instead of JSON"),
        (Sent(b"5"), "something else instead of JSON"),
        (Sent({"a": "x" * 10_000_000}), "is too long"),
        (Sent({"code": "x"}, 401), "does not accept the user and the password"),
        (Sent({"code": "x"}, 403), "may not read this"),
        (Sent({"code": "x"}, 404), "does not exist: is this the URL"),
        (Sent({"message": "No."}, 422), "answers 422: No."),
        (Sent(b"", 302, {"Location": "/"}), "without an end"),
        (Sent(b"<html>", 503), "answers 503 with HTML"),
    ],
)
def test_what_cannot_be_mended_is_one_sentence(serve: Serve, sent: Sent, message: str) -> None:
    with pytest.raises(JobError, match=message):
        get(serve(in_turn(sent)))


def test_a_host_that_does_not_answer_is_one_sentence(serve: Serve) -> None:
    server = serve(in_turn(Sent({})))
    server.url = "http://127.0.0.1:1"
    with pytest.raises(JobError, match="cannot be read"):
        get(server)


def test_the_proxy_of_the_environment_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(in_turn(Sent({"a": 1})))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    source = JsonClient("http://shop.example", {}, 1000, lambda: None)
    assert source.get("http://shop.example/x") == {"a": 1}
    source.close()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("shop.example", "https://shop.example"),
        (" https://shop.example/blog/ ", "https://shop.example/blog"),
    ],
)
def test_the_url_of_a_site(text: str, url: str) -> None:
    assert site_url(text) == url


@pytest.mark.parametrize("text", ["ftp://x", "http:///x", "https://a:b@x", "https://x:y", "x?y=z"])
def test_what_is_no_url_of_a_site(text: str) -> None:
    with pytest.raises(JobError):
        site_url(text)
