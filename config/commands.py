"""Share what the management commands have in common."""

import signal
import sys
from datetime import datetime
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from typing_extensions import override

from config.api.validation import InvalidValue, to_strict_datetime
from config.apps import ENVIRONMENT


class LeanCommand(BaseCommand):
    """Run the system checks of the environment alone, because others load the pages of the admin.

    `make check` runs all of them.
    """

    requires_system_checks = (ENVIRONMENT,)


class DatabaseCommand(LeanCommand):
    """Report an unavailable database in one line instead of a traceback."""

    # The exit code then.
    unavailable_code = 1

    @override
    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (OperationalError, psycopg.OperationalError) as error:
            message = f"The database does not answer; is it running? {error}"
            raise CommandError(message, returncode=self.unavailable_code) from None


def to_datetime(text: str) -> datetime | None:
    """Convert an option to a datetime. Without text there is none.

    Raises:
        CommandError: the text has another format than ISO 8601.
    """
    try:
        return to_strict_datetime(text)
    except InvalidValue:
        raise CommandError(f"{text} is no datetime of ISO 8601.") from None


def end_by_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that it removes its drafts."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
