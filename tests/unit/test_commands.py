"""config.commands: what a management command reports without a database."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, ProgrammingError

from config.commands import DatabaseCommand


class FailingCommand(DatabaseCommand):
    """A command that ends with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def handle(self, *_: Any, **__: Any) -> None:
        raise self.error


def test_an_unavailable_database_is_reported_in_one_line() -> None:
    error = OperationalError("connection refused")
    message = "^The database does not answer; is it running\\? connection refused$"
    with pytest.raises(CommandError, match=message):
        call_command(FailingCommand(error))


def test_another_error_of_the_database_is_not_hidden() -> None:
    with pytest.raises(ProgrammingError):
        call_command(FailingCommand(ProgrammingError("syntax error")))
