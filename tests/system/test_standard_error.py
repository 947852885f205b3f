"""Tracking goes on, and counts exactly, whatever becomes of the reader of the logs."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.system.database import fetch_value
from tests.system.server import Client, Server

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
# Their lines are more than a pipe holds.
EVENTS = 200


@pytest.fixture(params=["/dev/full", "stalled", "ended", "&-"])
def loud(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[Server]:
    """A server that logs much, to a standard error that accepts little or nothing."""
    pipe = tmp_path / "stalled"
    os.mkfifo(pipe)
    # It opens without a wait, because there is a reader.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    # That of bash has a reader that ends at once.
    target = {"stalled": str(pipe), "ended": " >(true)"}.get(request.param, request.param)
    loud = Server(
        tmp_path,
        DATABASE_URL=server.environment["DATABASE_URL"],
        TALLYBOOK_WORKERS="1",
        TALLYBOOK_ACCESS_LOG="true",
        TALLYBOOK_SLOW_STATEMENT_MS="0",
    )
    loud.serving = ("bash", "-c", f"exec {sys.executable} manage.py serve 2>{target}")
    yield loud.start()
    loud.stop()
    os.close(reader)


def test_tracking_goes_on_without_a_reader_of_the_logs(
    loud: Server, http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    with closing(loud.client(auth=http.auth, timeout=10)) as client:
        statuses = [client.track(**EVENT).status for _ in range(EVENTS)]
        # Each is a line of the audit log.
        refused = {client("GET", "/tags", auth="Bearer wrong").status for _ in range(20)}
        statuses += [client.track(**EVENT).status]
    assert set(statuses) == {200}
    assert refused == {401}
    assert fetch_value(store, "SELECT counter::int FROM events_trackedevent") == EVENTS + 1
