"""A PostgreSQL, or a connection pooler, that is frozen: requests are not waited for without end."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from django.db import OperationalError, connections, transaction
from pytest_django import DjangoDbBlocker

from config.database import NoAnswer, fetch_rows_reconnecting
from config.server.postgres import USER, EmbeddedPostgres
from config.server.request_database import base
from tests.long import long
from tests.system.forwarder import Forwarder
from tests.system.processes import descendants, postmaster
from tests.system.server import Server
from tests.system.threads import in_threads

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
CALLS = [
    *[("POST", "/subscribers/track-event"), ("GET", "/subscribers")],
    *[("GET", "/readyz"), ("GET", "/admin/")],
]


@pytest.fixture
def forwarder(postgres: EmbeddedPostgres) -> Iterator[Forwarder]:
    """A forwarder to the tests' PostgreSQL."""
    with Forwarder(postgres.socket_dir) as forwarder:
        yield forwarder


@pytest.fixture
def requests_database(
    forwarder: Forwarder, django_db_blocker: DjangoDbBlocker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[base.DatabaseWrapper]:
    """Django's connection as requests have it, through the forwarder. It waits for 0.2 s."""
    monkeypatch.setattr(base, "ANSWER_SECONDS", 0.2)
    address = {"HOST": "127.0.0.1", "PORT": forwarder.port, "NAME": "postgres", "USER": USER}
    before = connections["default"]
    wrapper = base.DatabaseWrapper(before.settings_dict | address)
    with django_db_blocker.unblock():
        connections["default"] = wrapper
        yield wrapper
        wrapper.close()
        connections["default"] = before


def test_a_statement_that_is_not_answered_ends_and_closes_its_connection(
    requests_database: base.DatabaseWrapper, forwarder: Forwarder
) -> None:
    assert fetch_rows_reconnecting("SELECT 1", {}) == [(1,)]
    forwarder.running.clear()
    began = time.monotonic()
    with pytest.raises(OperationalError) as raised:
        fetch_rows_reconnecting("SELECT 2", {})
    assert isinstance(raised.value.__cause__, NoAnswer)
    assert time.monotonic() - began < 1
    assert requests_database.connection.closed


def test_after_a_freeze_the_next_request_connects_again(
    requests_database: base.DatabaseWrapper, forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch_rows_reconnecting("SELECT 1", {}) == [(1,)]
    forwarder.running.clear()
    with pytest.raises(OperationalError):
        fetch_rows_reconnecting("SELECT 2", {})
    forwarder.running.set()
    monkeypatch.setattr(base, "PAUSE_SECONDS", 0)
    assert fetch_rows_reconnecting("SELECT 3", {}) == [(3,)]


def test_a_connection_that_postgresql_closed_is_replaced_once(
    requests_database: base.DatabaseWrapper,
) -> None:
    with pytest.raises(OperationalError):
        fetch_rows_reconnecting("SELECT pg_terminate_backend(pg_backend_pid())", {})
    assert fetch_rows_reconnecting("SELECT 1", {}) == [(1,)]


def test_a_transaction_that_is_not_answered_is_left_with_the_error(
    requests_database: base.DatabaseWrapper, forwarder: Forwarder
) -> None:
    began = time.monotonic()
    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012
        fetch_rows_reconnecting("SELECT 1", {})
        forwarder.running.clear()
        fetch_rows_reconnecting("SELECT 2", {})
    assert not requests_database.in_atomic_block
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("name", "value"), [("statement_timeout", "4s"), ("lock_timeout", "2s"), ("TimeZone", "UTC")]
)
def test_postgresql_limits_what_it_can_limit_itself(
    requests_database: base.DatabaseWrapper, name: str, value: str
) -> None:
    assert fetch_rows_reconnecting("SELECT current_setting(%s)", [name]) == [(value,)]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose whole PostgreSQL is frozen after each worker thread has connected to it."""
    server = Server(tmp_path_factory.mktemp("frozen"), TALLYBOOK_WORKERS="1").start()

    def track(_: int) -> None:
        client = server.client()
        client.track(**EVENT)
        client.close()

    in_threads(16, track)
    stopped = [postmaster(server), *descendants(postmaster(server))]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    yield server
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    server.stop()


@long
def test_a_frozen_postgresql_costs_each_request_five_seconds_at_most(frozen: Server) -> None:
    def send(number: int) -> tuple[int, bool]:
        client = frozen.client()
        method, path = CALLS[number % len(CALLS)]
        body = EVENT if method == "POST" else None
        began = time.monotonic()
        status = client(
            method, path, body, headers={"Cookie": "tallybook_sessionid=" + "x" * 32}
        ).status
        client.close()
        return status, time.monotonic() - began < 5

    # As many as the worker has threads, so that no request waits for another one.
    assert in_threads(4, send) == [(503, True)] * 4
    assert in_threads(4, send) == [(503, True)] * 4


@long
def test_while_postgresql_is_frozen_the_process_stays_healthy(frozen: Server) -> None:
    client = frozen.client()
    assert client("GET", "/healthz").status == 200
    client.close()
