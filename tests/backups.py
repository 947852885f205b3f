"""Daily backups and stores of some age, for the tests of what is said of them."""

import os
from pathlib import Path

from django.db import connection
from django.utils import timezone

from config.server.daily_backup import MARK


def daily_backup(folder: Path, hours_ago: float, name: str = "tallybook-2026-02-01.backup") -> None:
    """Write an empty file that was completed some hours ago."""
    path = folder / name
    path.touch()
    completed_at = timezone.now().timestamp() - hours_ago * 3600
    os.utime(path, (completed_at, completed_at))


def files_in(folder: Path) -> list[Path]:
    """Return the files of a folder of backups, but for the mark of its store."""
    return sorted(path for path in folder.iterdir() if path.name != MARK)


def old_store() -> None:
    """Let the store be a year older than it is."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET applied = applied - interval '1 year'")
