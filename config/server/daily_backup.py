"""Make a backup each day, keep the newest ones, and tell how old the newest is.

docs/decisions/daily-backups.md tells why dates are in the names, and how clocks that were wrong and
several servers are handled.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from config.database import fetch_one
from config.files import whole_file
from config.server.backup import Manifest, write_backup
from config.server.postgres import PostgresError
from config.server.programs import StoreError, connect, value

NAME = re.compile(r"tallybook-\d{4}-\d{2}-\d{2}\.backup")
# As config.files.whole_file names it.
DRAFT_NAME = re.compile(rf"\.{NAME.pattern}\.\w+")
# The file that says of which store a folder has the backups: when its first migration ran, which a
# restore, an upgrade and a move to another machine keep.
MARK = ".store"
STORE = "SELECT min(applied)::text FROM django_migrations"
# Between two backups lie 25 hours when the clocks are set back, an hour at most until `serve`
# starts the next one, and the time that it takes.
LATE = timedelta(hours=27)
# The key of the advisory lock under which a backup is made.
LOCK = 0x7A11BAC0
STORE_AGE = "SELECT now() - min(applied) FROM django_migrations"


def make_daily_backup() -> tuple[Path, Manifest] | None:
    """Write the backup of today, and delete the oldest ones.

    Returns:
        The file and its manifest. None if there is one of today, if another process makes it, or if
        settings.BACKUPS is 0.

    Raises:
        StoreError: no backup could be made. last_failure returns the sentence from then on.
        PostgresError: the same, because pg_dump is not installed.
        psycopg.OperationalError: the database does not answer.
    """
    if not settings.BACKUPS:
        return None
    path = settings.BACKUPS_DIR / f"tallybook-{timezone.localdate()}.backup"
    try:
        with connect() as locking:
            if not value(locking, "SELECT pg_try_advisory_lock(%s)", LOCK):
                return None
            manifest = _make(path)
    except (StoreError, PostgresError) as error:
        _keep_failure(str(error))
        raise
    _failure_path().unlink(missing_ok=True)
    return (path, manifest) if manifest else None


def _make(path: Path) -> Manifest | None:
    """Write a backup into a folder in which no other process makes one.

    Returns:
        The manifest, or None if the file exists.

    Raises:
        StoreError: the folder or the file cannot be written.
    """
    folder = path.parent
    try:
        if path.exists():
            return None
        make_folder()
        _claim(folder)
        for draft in _named(folder, DRAFT_NAME):
            draft.unlink(missing_ok=True)
        manifest = write_backup(path, replace=False)
        for name in surplus((each.name for each in _named(folder, NAME)), path.name):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be used: {error.strerror}.") from None
    return manifest


def make_folder() -> Path:
    """Create the folder of backups if it is missing, and return it.

    Raises:
        OSError: it cannot be created.
    """
    folder: Path = settings.BACKUPS_DIR
    settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Without its parents, because a disk that is not mounted has none.
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _claim(folder: Path) -> None:
    """Mark a folder as that of this store, because two stores would delete each other's backups.

    Raises:
        StoreError: it is that of another store.
        OSError: the mark cannot be read or written.
    """
    (mark,) = fetch_one(STORE, {})
    path = folder / MARK
    if not path.exists():
        with whole_file(path) as file:
            file.write(mark.encode())
    elif path.read_text() != mark:
        raise StoreError(
            f"{folder} has the backups of another store. Set TALLYBOOK_BACKUP_DIR to another "
            f"folder, or delete {path} if this store replaces the other one."
        )


def surplus(names: Iterable[str], newest: str) -> set[str]:
    """Return the names of the backups that are deleted after a new one was written.

    Those with later dates were written by a clock that was ahead, or the new one by a clock that is
    behind. So they are deleted when there are enough others, instead of being kept as the newest.

    Args:
        names: of all daily backups.
        newest: of the new one.
    """
    everything = set(names)
    earlier = sorted(name for name in everything if name <= newest)
    kept = set(earlier[-settings.BACKUPS :])
    if len(kept) == settings.BACKUPS:
        return everything - kept
    return set()


def newest_backup() -> datetime | None:
    """Return when the newest daily backup was completed.

    Returns:
        The datetime. None if there is none, or if settings.BACKUPS is 0.
    """
    if not settings.BACKUPS:
        return None
    now = timezone.now().timestamp()
    times = []
    with suppress(OSError):
        for path in _named(settings.BACKUPS_DIR, NAME):
            # Another process may delete it meanwhile.
            with suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
    # A later one was written by a clock that was ahead.
    past = [time for time in times if time <= now]
    return datetime.fromtimestamp(max(past), UTC) if past else None


def lateness() -> str:
    """Return a sentence that says how late the daily backup is, or "" if it is not."""
    if not settings.BACKUPS:
        return ""
    newest = newest_backup()
    age = timezone.now() - newest if newest else fetch_one(STORE_AGE, {})[0]
    if age <= LATE:
        return ""
    if newest is None:
        return "There is no daily backup."
    return f"The newest backup is {age // timedelta(hours=1):,} hours old."


def last_failure() -> str:
    """Return why the last daily backup of this server failed, or "" if it succeeded."""
    try:
        return _failure_path().read_text()
    except OSError:
        return ""


def _keep_failure(sentence: str) -> None:
    # A full disk may have no room for the sentence.
    with suppress(OSError), whole_file(_failure_path()) as file:
        file.write(sentence.encode())


def _failure_path() -> Path:
    """Return a file outside of BACKUPS_DIR, which may be what cannot be written."""
    return settings.DATA_DIR / "backup_failure"


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    paths = (folder / name for name in os.listdir(folder) if pattern.fullmatch(name))
    return [path for path in paths if path.is_file()]
