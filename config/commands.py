"""Share what the management commands have in common."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from typing_extensions import override


class DatabaseCommand(BaseCommand):
    """Report an unavailable database in one line instead of a traceback."""

    @override
    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except OperationalError as error:
            raise CommandError(f"The database does not answer; is it running? {error}") from None
