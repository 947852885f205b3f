"""manage.py daily_backup: one backup a day, of which the newest are kept."""

import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from config.server.backup import read_manifest
from config.server.daily_backup import LOCK, MARK, last_failure
from tests.backups import files_in
from tests.system.fixtures import SERVED
from tests.system.server import ROOT, Server
from tests.system.stores import SHOP, Databases, begun, wait_for_statement

DRAFT = ".tallybook-2026-02-01.backup.abcd1234"

BackUpOn = Callable[[str], None]
BackedUpOn = Callable[..., None]


@pytest.fixture
def folder(source: None, settings: Settings, tmp_path: Path) -> Path:
    """The folder of the daily backups of SHOP, which is not there yet. Three are kept."""
    settings.DATA_DIR = tmp_path / "data"
    settings.BACKUPS, settings.BACKUPS_DIR = 3, tmp_path / "data" / "backups"
    return tmp_path / "data" / "backups"


@pytest.fixture
def back_up_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> BackUpOn:
    """Run the command on a date: `back_up_on("2026-02-01")`."""

    def run(date: str) -> None:
        now = datetime.fromisoformat(date).replace(hour=12, tzinfo=UTC)
        monkeypatch.setattr("django.utils.timezone.now", lambda: now)
        call_command("daily_backup")

    return run


@pytest.fixture
def backed_up_on(folder: Path) -> BackedUpOn:
    """Put empty files there, named as backups of dates: `backed_up_on("2026-02-01", …)`."""

    def touch(*dates: str) -> None:
        folder.mkdir(parents=True)
        for date in dates:
            (folder / f"tallybook-{date}.backup").touch()

    return touch


def dates(folder: Path) -> list[str]:
    """Return what the names of the files differ by."""
    names = sorted(path.name for path in files_in(folder))
    return [name.removeprefix("tallybook-").removesuffix(".backup") for name in names]


def test_the_newest_backups_are_kept(
    folder: Path, backed_up_on: BackedUpOn, back_up_on: BackUpOn
) -> None:
    backed_up_on("2026-02-27", "2026-02-28", "2026-03-01", "2026-03-04")
    back_up_on("2026-03-05")
    assert dates(folder) == ["2026-03-01", "2026-03-04", "2026-03-05"]


def test_a_daily_backup_has_the_store(folder: Path, back_up_on: BackUpOn) -> None:
    back_up_on("2026-02-01")
    manifest = read_manifest(folder / "tallybook-2026-02-01.backup")
    assert manifest.tables["public.crm_subscriber"] == 2


def test_other_files_stay(folder: Path, backed_up_on: BackedUpOn, back_up_on: BackUpOn) -> None:
    others = ["tallybook-2025-01-01.backup.kept", "tallybook-before-0.2.0.backup", ".own.abcd1234"]
    backed_up_on("2026-02-01", "2026-02-02", "2026-02-03")
    for name in others:
        (folder / name).touch()
    back_up_on("2026-02-04")
    assert {path.name for path in files_in(folder)} >= set(others)


def test_a_day_has_one_backup_however_often_the_command_runs(
    folder: Path, back_up_on: BackUpOn
) -> None:
    back_up_on("2026-02-01")
    (first,) = files_in(folder)
    written = first.stat()
    back_up_on("2026-02-01")
    assert files_in(folder) == [first]
    assert first.stat() == written


def test_no_backup_is_made_when_they_are_switched_off(
    folder: Path, back_up_on: BackUpOn, settings: Settings
) -> None:
    settings.BACKUPS = 0
    back_up_on("2026-02-01")
    assert not folder.exists()


def test_the_date_is_that_of_the_time_zone(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    now = datetime(2026, 2, 1, 12, tzinfo=UTC)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    call_command("daily_backup")
    assert dates(folder) == ["2026-02-02"]


def test_a_clock_that_is_ahead_for_a_moment_stops_no_backups(
    folder: Path, backed_up_on: BackedUpOn, back_up_on: BackUpOn
) -> None:
    backed_up_on("2026-02-01", "2026-02-02", "2026-02-03")
    back_up_on("2027-02-03")
    assert dates(folder) == ["2026-02-02", "2026-02-03", "2027-02-03"]
    back_up_on("2026-02-04")
    assert dates(folder) == ["2026-02-02", "2026-02-03", "2026-02-04"]


def test_a_clock_that_is_behind_for_a_moment_deletes_no_backup(
    folder: Path, backed_up_on: BackedUpOn, back_up_on: BackUpOn
) -> None:
    backed_up_on("2026-02-01", "2026-02-02", "2026-02-03")
    back_up_on("1970-01-01")
    assert dates(folder) == ["1970-01-01", "2026-02-01", "2026-02-02", "2026-02-03"]


@pytest.mark.parametrize(("name", "mode"), [(".", 0o700), ("tallybook-2026-02-01.backup", 0o600)])
def test_only_the_owner_may_read_the_folder(
    folder: Path, back_up_on: BackUpOn, name: str, mode: int
) -> None:
    back_up_on("2026-02-01")
    assert stat.S_IMODE((folder / name).stat().st_mode) == mode


def test_a_failure_is_kept_until_a_backup_succeeds(folder: Path, back_up_on: BackUpOn) -> None:
    folder.parent.mkdir()
    folder.touch()
    with pytest.raises(CommandError, match=r"failed: .*backups cannot be used: File exists\."):
        back_up_on("2026-02-01")
    assert last_failure() == f"{folder} cannot be used: File exists."
    folder.unlink()
    back_up_on("2026-02-01")
    assert last_failure() == ""


def test_a_failed_backup_deletes_no_older_one(
    folder: Path,
    backed_up_on: BackedUpOn,
    back_up_on: BackUpOn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backed_up_on("2026-02-01", "2026-02-02", "2026-02-03")
    monkeypatch.setattr("config.server.backup.LEFT_OUT", ("a.b.c.d",))
    with pytest.raises(CommandError, match="The daily backup failed: pg_dump failed"):
        back_up_on("2026-02-04")
    assert dates(folder) == ["2026-02-01", "2026-02-02", "2026-02-03"]


def test_the_folder_of_another_store_is_rejected(folder: Path, back_up_on: BackUpOn) -> None:
    back_up_on("2026-02-01")
    (folder / MARK).write_text("another")
    with pytest.raises(CommandError, match="backups has the backups of another store"):
        back_up_on("2026-02-02")
    assert dates(folder) == ["2026-02-01"]


def test_a_folder_by_the_name_of_a_backup_stays(
    folder: Path, backed_up_on: BackedUpOn, back_up_on: BackUpOn
) -> None:
    backed_up_on("2026-02-01", "2026-02-02", "2026-02-03")
    (folder / "tallybook-2026-01-01.backup").mkdir()
    back_up_on("2026-02-04")
    assert dates(folder) == ["2026-01-01", "2026-02-02", "2026-02-03", "2026-02-04"]


def test_a_disk_that_is_not_mounted_is_reported(
    folder: Path, back_up_on: BackUpOn, settings: Settings, tmp_path: Path
) -> None:
    settings.BACKUPS_DIR = tmp_path / "not-mounted" / "backups"
    with pytest.raises(CommandError, match="cannot be used: No such file or directory"):
        back_up_on("2026-02-01")


def test_the_draft_of_a_killed_backup_is_removed(folder: Path, back_up_on: BackUpOn) -> None:
    folder.mkdir(parents=True)
    (folder / DRAFT).touch()
    back_up_on("2026-02-02")
    assert dates(folder) == ["2026-02-02"]


def test_the_draft_of_another_server_stays(
    folder: Path, back_up_on: BackUpOn, own_server: Databases
) -> None:
    folder.mkdir(parents=True)
    (folder / DRAFT).touch()
    with own_server.connect(SHOP) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        back_up_on("2026-02-02")
    assert [path.name for path in files_in(folder)] == [DRAFT]


@pytest.mark.usefixtures("http")
class TestProcesses:
    """The command on the served store, as `serve` starts it."""

    @pytest.fixture
    def copy(self, server: Server, tmp_path: Path) -> Server:
        """The server's environment, with daily backups in a folder of the test."""
        other = Server(tmp_path, DATABASE_URL=server.environment["DATABASE_URL"])
        other.environment["TALLYBOOK_BACKUPS"] = "3"
        return other

    @pytest.fixture
    def killed(self, copy: Server, databases: Databases) -> Path:
        """The folder of a backup that was killed while pg_dump waited."""
        with databases.connect(SERVED) as locking:
            locking.execute("BEGIN; LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE")
            with begun(copy, "daily_backup") as process:
                wait_for_statement(databases.sql.info.host, "LOCK TABLE public.")
                process.kill()
                process.communicate()
            locking.rollback()
        return copy.data_dir / "backups"

    def test_two_at_once_make_one(self, copy: Server) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "manage.py", "daily_backup"],
                cwd=ROOT,
                env=copy.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(2)
        ]
        printed = [process.communicate(timeout=60)[0] for process in processes]
        (made,) = files_in(copy.data_dir / "backups")
        assert [process.returncode for process in processes] == [0, 0]
        assert sorted(line.partition(" has ")[0] for line in printed) == ["", str(made)]

    def test_a_killed_backup_leaves_no_half_file(self, killed: Path) -> None:
        assert [path.name[0] for path in files_in(killed)] == ["."]

    def test_a_killed_backup_is_made_by_the_next_run(self, copy: Server, killed: Path) -> None:
        copy.manage("daily_backup")
        (made,) = files_in(killed)
        assert read_manifest(made).tables["public.crm_subscriber"] == 0
