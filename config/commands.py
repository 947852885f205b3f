"""What our management commands share."""

import re
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

DAYS = {"h": 1 / 24, "d": 1, "w": 7}


class DatabaseCommand(BaseCommand):
    """A command that says so when the database does not answer, instead of a traceback."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run it. Raises CommandError."""
        try:
            return super().execute(*args, **options)
        except OperationalError as error:
            raise CommandError(f"The database does not answer; is it running? {error}") from None


def age(text: str) -> timedelta:
    """`400d`, `12h` or `3w` of a command line. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", text)
    if not found:
        raise ValueError(text)
    return timedelta(days=int(found[1]) * DAYS[found[2]])
