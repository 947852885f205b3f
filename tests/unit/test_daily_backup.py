"""config.server.daily_backup: which backups are deleted, and how old the newest is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from config.server.daily_backup import last_failure, newest_backup, surplus
from tests.backups import daily_backup


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    """The folder of daily backups, of which three are kept."""
    settings.BACKUPS, settings.BACKUPS_DIR = 3, tmp_path
    return tmp_path


def age() -> timedelta:
    """Return the age of the newest backup in whole minutes."""
    newest = newest_backup()
    assert newest
    return timedelta(minutes=(timezone.now() - newest) // timedelta(minutes=1))


@pytest.mark.parametrize(
    ("dates", "today", "deleted"),
    [
        ("02-01 02-02 02-03", "02-03", ""),
        ("02-01 02-02 02-03 02-04", "02-04", "02-01"),
        ("01-01 01-09 02-02 02-03 02-04", "02-04", "01-01 01-09"),
        ("02-01 02-02 12-31", "02-02", ""),
        ("02-01 02-02 02-03 12-30 12-31", "02-03", "12-30 12-31"),
        ("01-01 02-01 02-02 02-03", "01-01", ""),
        ("01-01 01-02 01-03 02-02 02-03", "01-03", "02-02 02-03"),
    ],
    ids=[
        "as many as are kept",
        "the oldest is deleted",
        "after fewer were to be kept",
        "of a clock that was ahead, while few are there",
        "of a clock that was ahead, when enough are there",
        "a clock that is behind for a moment deletes none",
        "a clock that stays behind is believed in the end",
    ],
)
def test_as_many_backups_as_are_kept_always_stay(
    folder: Path, dates: str, today: str, deleted: str
) -> None:
    def name(date: str) -> str:
        return f"tallybook-2026-{date}.backup"

    names = [name(date) for date in dates.split()]
    assert surplus(names, name(today)) == {name(date) for date in deleted.split()}


def test_the_newest_backup_is_the_last_completed_one(folder: Path) -> None:
    daily_backup(folder, hours_ago=2, name="tallybook-2026-02-03.backup")
    daily_backup(folder, hours_ago=26, name="tallybook-2026-02-02.backup")
    assert age() == timedelta(hours=2)


@pytest.mark.parametrize(
    "name",
    [
        *("own.backup", "tallybook-2026-02-03.backup.old", "tallybook-before-upgrade.backup"),
        ".tallybook-2026-02-03.backup.abcd1234",
    ],
)
def test_other_files_are_no_daily_backups(folder: Path, name: str) -> None:
    daily_backup(folder, hours_ago=1, name=name)
    assert newest_backup() is None


def test_a_backup_of_a_clock_that_was_ahead_hides_no_age(folder: Path) -> None:
    daily_backup(folder, hours_ago=-365 * 24, name="tallybook-2027-02-02.backup")
    daily_backup(folder, hours_ago=30, name="tallybook-2026-02-02.backup")
    assert age() == timedelta(hours=30)


def test_a_missing_folder_has_no_backup(folder: Path, settings: Settings) -> None:
    settings.BACKUPS_DIR = folder / "missing"
    assert newest_backup() is None


def test_nothing_is_said_of_backups_that_are_switched_off(folder: Path, settings: Settings) -> None:
    daily_backup(folder, hours_ago=2, name="tallybook-2026-02-03.backup")
    settings.BACKUPS = 0
    assert newest_backup() is None


def test_the_newest_backup_is_in_utc(folder: Path) -> None:
    daily_backup(folder, hours_ago=0, name="tallybook-2026-02-03.backup")
    newest = newest_backup()
    assert isinstance(newest, datetime)
    assert newest.tzinfo is UTC


def test_without_a_failure_there_is_no_reason(folder: Path, settings: Settings) -> None:
    settings.DATA_DIR = folder
    assert last_failure() == ""
