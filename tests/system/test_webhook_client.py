"""The client that posts webhooks to receivers which may be slow, broken or hostile."""

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings as SettingsFixture

from automations.webhooks import client
from automations.webhooks.client import Answer, post
from tests.api.receivers import Answering, Receiver, drips, hangs, receiver, says

Serve = Callable[[Answering], Receiver]
BODY = b'{"a": 1}'


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings: SettingsFixture) -> None:
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answering: stack.enter_context(receiver(answering))


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> float:
    """A deadline of 0.3 s, and receivers that send a byte each 0.05 s."""
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 0.3)
    return 0.3


def resolve(monkeypatch: pytest.MonkeyPatch, *found: list[str]) -> list[str]:
    """Let the look-ups of a name find these addresses in turn. Returns the names looked up."""
    names: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        names.append(host)
        addresses = found[min(len(names), len(found)) - 1]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        # urllib3 asks with an address that is one already.
        lambda host, *rest, **options: (
            real(host, *rest, **options)
            if host[0].isdigit()
            else getaddrinfo(host, *rest, **options)
        ),
    )
    return names


def port_of(running: Receiver) -> str:
    return running.url.split(":")[2].partition("/")[0]


def test_a_message_arrives_as_it_is(serve: Serve) -> None:
    running = serve(says(200, b"thanks"))
    assert post(f"{running.url}?a=1", {"webhook-id": "msg_1"}, BODY) == Answer(200, "", "thanks")
    [request] = running.requests
    assert request.line == "POST /hook?a=1 HTTP/1.1"
    assert request.body == BODY
    assert request.headers["host"] == f"127.0.0.1:{port_of(running)}"
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["content-type"] == "application/json"


def test_a_name_is_looked_up_once_and_its_checked_address_is_connected_to(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, settings: SettingsFixture
) -> None:
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.1/32")]
    running, hidden = serve(says(200)), serve(says(200))
    names = resolve(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    url = f"http://rebound.example:{port_of(running)}/"
    assert post(url, {}, BODY).status == 200
    assert names == ["rebound.example"]
    assert running.requests[0].headers["host"] == f"rebound.example:{port_of(running)}"
    # The second look-up is that of the second try, and is checked as the first.
    assert "127.0.0.2, which is no public address" in post(url, {}, BODY).error
    assert not hidden.connections


def test_no_redirect_is_followed(serve: Serve) -> None:
    elsewhere = serve(says(200))
    running = serve(says(302, Location=elsewhere.url))
    assert post(running.url, {}, BODY).status == 302
    assert not elsewhere.connections


def test_the_proxy_of_the_environment_is_ignored(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, running = serve(says(200)), serve(says(204))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert post(running.url, {}, BODY).status == 204
    assert not proxy.connections


@pytest.mark.parametrize(
    "answering",
    [
        hangs,
        drips(b""),
        drips(b"HTTP/1.1 200 OK\r\nX: "),
        drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "status", "header", "headers", "continue"],
)
def test_a_receiver_that_drips_is_left_at_the_deadline(
    serve: Serve, short_deadline: float, answering: Answering
) -> None:
    began = time.monotonic()
    answer = post(serve(answering).url, {}, BODY)
    assert short_deadline <= time.monotonic() - began < short_deadline + 1
    assert answer == Answer(None, "There was no response within 0.3 seconds.")


def test_a_body_that_drips_ends_at_the_deadline_and_its_status_counts(
    serve: Serve, short_deadline: float
) -> None:
    began = time.monotonic()
    answer = post(serve(drips(b"HTTP/1.1 200 OK\r\n\r\n")).url, {}, BODY)
    assert time.monotonic() - began < short_deadline + 1
    assert answer.status == 200
    assert answer.text.startswith("x")


def test_a_kilobyte_of_a_long_response_is_kept(serve: Serve) -> None:
    answer = post(serve(says(200, b"x" * 10_000_000)).url, {}, BODY)
    assert answer == Answer(200, "", "x" * 1024)


def test_a_response_is_text_that_can_be_stored(serve: Serve) -> None:
    assert post(serve(says(200, b"\xff\0a")).url, {}, BODY).text == "\ufffd\ufffda"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"\0\1\2 nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
    ],
    ids=["nothing", "other protocol", "control characters", "no status", "many headers"],
)
def test_what_is_no_response_is_said(serve: Serve, sent: bytes) -> None:
    answer = post(serve(lambda connection, _: connection.sendall(sent)).url, {}, BODY)
    assert answer.status is None
    assert answer.error.startswith("There was no response: ")
    assert "\0" not in answer.error


@pytest.mark.parametrize(
    "interim",
    [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"],
)
def test_the_final_response_counts_after_interim_ones(serve: Serve, interim: bytes) -> None:
    def answer(connection: socket.socket, _: object) -> None:
        connection.sendall(2 * interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

    assert post(serve(answer).url, {}, BODY) == Answer(200, "", "OK")


def test_a_port_where_no_one_listens_is_said() -> None:
    answer = post("http://127.0.0.1:1/", {}, BODY)
    assert answer.error == "There was no response: the connection was refused."


def test_the_next_address_is_tried_if_the_first_accepts_no_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(says(200))
    resolve(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    assert post(f"http://hook.example:{port_of(running)}/", {}, BODY).status == 200


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("00000000007", 7),
        ("86400", 3600),
        ("99999999999", 3600),
        ("9" * 5000, 3600),
        ("-1", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_up_to_an_hour(serve: Serve, value: str, seconds: int | None) -> None:
    def answer(connection: socket.socket, _: object) -> None:
        connection.sendall(f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\n\r\n".encode())

    assert post(serve(answer).url, {}, BODY).retry_after == seconds


def certificate(folder: Path, name: str) -> Path:
    """Return the path of a new key with a certificate for a host, signed by itself."""
    path = folder / f"{name}.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName=DNS:{name}",
            ),
            *("-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.mark.parametrize(
    ("name", "status"), [("hook.example", 200), ("other.example", None)], ids=["own", "another"]
)
def test_tls_verifies_the_name_of_the_url_at_the_checked_address(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, status: int | None
) -> None:
    path = certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(path.with_suffix(".crt")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    asked: list[str | None] = []
    context.sni_callback = lambda _, asked_name, __: asked.append(asked_name)
    running = serve(says(200))
    served = running.serve

    def serve_tls(connection: socket.socket) -> None:
        with connection:
            try:
                served(context.wrap_socket(connection, server_side=True))
            except ssl.SSLError:
                return

    monkeypatch.setattr(running, "serve", serve_tls)
    resolve(monkeypatch, ["127.0.0.1"])
    answer = post(f"https://hook.example:{port_of(running)}/", {}, BODY)
    assert answer.status == status
    assert ("the certificate is invalid" in answer.error) == (status is None)
    assert asked == ["hook.example"]


def test_a_handshake_that_drips_ends_at_the_deadline(
    serve: Serve, short_deadline: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(hangs)

    def drip(connection: socket.socket) -> None:
        # The beginning of a record of TLS of 8 KiB, a byte at a time.
        # The client may have gone away.
        with connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x20\x00")
            drips(b"\x02\x00\x1f\x00")(connection, running.is_over)

    monkeypatch.setattr(running, "serve", drip)
    began = time.monotonic()
    url = running.url.replace("http:", "https:")
    assert post(url, {}, BODY).error == "There was no response within 0.3 seconds."
    assert time.monotonic() - began < short_deadline + 1
