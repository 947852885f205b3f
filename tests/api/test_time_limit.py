"""config.time_limit: a request ends when its time is over, or when its client has gone away."""

import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.db import OperationalError, connection

from config import time_limit
from config.server.request_database.base import DatabaseWrapper
from tests.api.rsgi import Completed, HTTPProtocol, load_module, scope


@pytest.fixture
def database(db: None) -> Iterator[DatabaseWrapper]:
    """A connection of requests."""
    database = DatabaseWrapper(connection.settings_dict, "requests")
    yield database
    database.close()
    time_limit.end()


def ask(database: DatabaseWrapper) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_a_request_has_time_for_its_statements(database: DatabaseWrapper) -> None:
    time_limit.begin()
    ask(database)


def test_a_request_whose_time_is_over_gets_no_further_statement(
    database: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(database)
    monkeypatch.setattr(time_limit, "REQUEST_SECONDS", -1.0)
    time_limit.begin()
    with pytest.raises(OperationalError, match="The request has to end"):
        ask(database)


def test_the_next_request_connects_again(database: DatabaseWrapper) -> None:
    ask(database)
    time_limit.begin().ends_at = 0.0
    with pytest.raises(OperationalError):
        ask(database)
    database.close()
    time_limit.begin()
    ask(database)


def test_a_command_has_no_time_limit(database: DatabaseWrapper) -> None:
    ask(database)
    assert not time_limit.is_over()


def test_a_download_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "REQUEST_SECONDS", -1.0)
    time_limit.begin()
    time_limit.extend(10)
    assert not time_limit.is_over()
    time_limit.end()


class Leaving(HTTPProtocol):
    """A client that goes away as soon as it is watched."""

    def client_disconnect(self) -> Any:
        return Completed(b"")


@pytest.fixture
def rsgi() -> ModuleType:
    return load_module()


@pytest.mark.parametrize(("method", "is_over"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_a_read_ends_when_its_client_goes_away_and_a_write_goes_on(
    rsgi: ModuleType, method: str, is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = rsgi.Request(rsgi.application, scope(method=method), Leaving())
    seen: list[bool] = []

    def environ_of(*_: Any) -> Any:
        request.watch()
        time.sleep(0.001)
        seen.append(time_limit.is_over())
        raise OSError

    monkeypatch.setattr(rsgi, "environ_of", environ_of)
    request.answer()
    assert seen == [is_over]
