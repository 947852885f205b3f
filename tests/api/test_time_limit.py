"""config.time_limit: a request ends when its time is over, or when its client has gone away."""

from collections.abc import Iterator

import pytest
from django.db import OperationalError, connection

from config import time_limit
from config.server.request_database.base import DatabaseWrapper


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
    time_limit.begin(is_read=True)
    ask(database)


def test_a_request_whose_time_is_over_gets_no_further_statement(
    database: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(database)
    monkeypatch.setattr(time_limit, "REQUEST_SECONDS", -1.0)
    time_limit.begin(is_read=True)
    with pytest.raises(OperationalError, match="The request has to end"):
        ask(database)


def test_the_next_request_connects_again(database: DatabaseWrapper) -> None:
    ask(database)
    time_limit.begin(is_read=True, is_given_up=lambda: True)
    with pytest.raises(OperationalError):
        ask(database)
    database.close()
    time_limit.begin(is_read=True)
    ask(database)


def test_a_command_has_no_time_limit(database: DatabaseWrapper) -> None:
    ask(database)
    assert not time_limit.is_over()


def test_a_download_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "REQUEST_SECONDS", -1.0)
    time_limit.begin(is_read=True)
    time_limit.extend_read(10)
    assert not time_limit.is_over()
    time_limit.end()


def test_a_download_ends_when_its_client_goes_away_although_it_is_a_post() -> None:
    time_limit.begin(is_read=False, is_given_up=lambda: True)
    assert not time_limit.is_over()
    time_limit.extend_read(10)
    assert time_limit.is_over()
    time_limit.end()
