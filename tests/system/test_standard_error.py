"""Tracking goes on, and counts exactly, whatever becomes of the reader of the logs."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from tests.system.database import fetch_value
from tests.system.server import Client, Server

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
# Their lines are more than a pipe holds.
EVENTS = 200


class Loud(NamedTuple):
    """A server that logs much, and the pipe that may be its standard error."""

    server: Server
    pipe: Path


@pytest.fixture(scope="module")
def loud(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loud]:
    """A server whose standard error is a pipe, is full, or is closed."""
    folder = tmp_path_factory.mktemp("loud")
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    target = {"pipe": str(pipe)}.get(request.param, request.param)
    loud = Server(
        folder,
        DATABASE_URL=server.environment["DATABASE_URL"],
        TALLYBOOK_WORKERS="1",
        TALLYBOOK_ACCESS_LOG="true",
        TALLYBOOK_SLOW_STATEMENT_MS="0",
    )
    loud.serving = ("bash", "-c", f"exec {sys.executable} manage.py serve 2>{target}")
    # The server opens the pipe without a wait, because there is a reader.
    with reading(pipe):
        loud.start()
    yield Loud(loud, pipe)
    loud.stop()


@contextmanager
def reading(pipe: Path) -> Iterator[None]:
    """Let a pipe have a reader that reads nothing."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield
    finally:
        os.close(reader)


def assert_tracking_goes_on(loud: Loud, http: Client, store: psycopg.Connection) -> None:
    """Send more than a pipe holds, and check that the server counts all of it."""
    with closing(loud.server.client(auth=http.auth, timeout=10)) as client:
        statuses = [client.track(**EVENT).status for _ in range(EVENTS)]
        # Each is a line of the audit log. After 30 in a minute they would be 429.
        refused = {client("GET", "/tags", auth="Bearer wrong").status for _ in range(12)}
        statuses += [client.track(**EVENT).status]
    assert set(statuses) == {200}
    assert refused == {401}
    assert fetch_value(store, "SELECT counter::int FROM events_trackedevent") == EVENTS + 1


@pytest.mark.parametrize("loud", ["pipe"], indirect=True)
def test_tracking_goes_on_while_the_reader_of_the_logs_stands_still(
    loud: Loud, http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    with reading(loud.pipe):
        assert_tracking_goes_on(loud, http, store)


@pytest.mark.parametrize("loud", ["pipe", "/dev/full", "&-"], indirect=True)
def test_tracking_goes_on_without_a_reader_of_the_logs(
    loud: Loud, http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    assert_tracking_goes_on(loud, http, store)
