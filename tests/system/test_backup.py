"""manage.py backup: what the file holds, and that a failed backup leaves none."""

import resource
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from config.server import backup
from config.server.backup import open_dump, read_manifest
from events.models import TrackedEvent
from tests.system.fixtures import SERVED
from tests.system.server import Client, Server
from tests.system.stores import Databases, begun, wait_for_statement


def test_only_the_owner_may_read_a_backup(shop_backup: Path) -> None:
    assert stat.S_IMODE(shop_backup.stat().st_mode) == 0o600


def test_the_manifest_counts_rows_and_events(shop_backup: Path) -> None:
    manifest = read_manifest(shop_backup)
    assert manifest.tables["public.crm_subscriber"] == 2
    assert manifest.tables["public.events_eventoccurrence"] == 2
    assert manifest.sums == {"counters": 2, "unlogged": 0}
    assert set(manifest.faults.values()) == {0}


@pytest.mark.parametrize(
    ("table", "secret"), [("django_session", b"secret-session"), ("crm_sharedkey", b"secret-key")]
)
def test_a_backup_has_no_sessions_and_no_key_that_signs_them(
    shop_backup: Path, table: str, secret: bytes
) -> None:
    with open_dump(shop_backup) as dump:
        assert secret not in dump.read()
    assert f"public.{table}" not in read_manifest(shop_backup).tables


def test_an_existing_file_is_kept(source: None, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_text("kept")
    with pytest.raises(CommandError, match=r"b exists\. --force replaces it\."):
        call_command("backup", path)
    assert path.read_text() == "kept"


def test_force_replaces_an_existing_file(source: None, tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_text("old")
    call_command("backup", path, force=True)
    assert read_manifest(path).tables["public.crm_subscriber"] == 2


@pytest.mark.parametrize("names", [[], ["b"]], ids=["a new file", "over a file"])
def test_a_full_disk_leaves_the_folder_as_it_was(
    source: None, tmp_path: Path, names: list[str]
) -> None:
    for name in names:
        (tmp_path / name).write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CommandError, match="b cannot be written: File too large"):
            call_command("backup", tmp_path / "b", force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir() if path.read_text() == "old"] == names
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_missing_folder_is_reported(source: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written: No such file or directory"):
        call_command("backup", tmp_path / "missing" / "b")


def test_a_folder_is_rejected_also_by_force(source: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"is a folder\. Name a file in it\."):
        call_command("backup", tmp_path, force=True)


def test_a_failure_of_pg_dump_is_reported_and_leaves_no_file(
    source: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "LEFT_OUT", ("a.b.c.d",))
    with pytest.raises(CommandError, match="pg_dump failed: pg_dump: error: "):
        call_command("backup", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_newer_than_pg_dump_is_reported(
    source: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "major_version", lambda: 16)
    with pytest.raises(CommandError, match="The server is PostgreSQL 18, and pg_dump 16 of"):
        call_command("backup", tmp_path / "b")


def test_an_empty_database_is_reported(empty: Databases, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="The database target is empty"):
        call_command("backup", tmp_path / "b")


def test_a_pooler_is_reported(
    source: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    with pytest.raises(CommandError, match="DATABASE_URL leads to a connection pooler"):
        call_command("backup", tmp_path / "b")


def test_the_extension_of_statistics_stays_out(target: Databases, tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
    call_command("backup", tmp_path / "b")
    with open_dump(tmp_path / "b") as dump:
        assert b"pg_stat_statements" not in dump.read()


def test_a_backup_reports_the_faults_of_the_store(
    target: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TrackedEvent.objects.update(counter=7)
    call_command("backup", tmp_path / "b")
    warning = "The store has 1 events whose counter differs (manage.py verify)."
    assert warning in capsys.readouterr().err


class InTheMiddle(NamedTuple):
    """A backup whose pg_dump waits until it is released."""

    process: "subprocess.Popen[str]"
    release: Callable[[], Any]


@pytest.fixture
def in_the_middle(
    server: Server, http: Client, databases: Databases, tmp_path: Path
) -> Iterator[InTheMiddle]:
    """`manage.py backup b` of the served store, which clients use meanwhile."""
    with databases.connect(SERVED) as locking:
        locking.execute("BEGIN; LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE")
        with begun(server, "backup", str(tmp_path / "b")) as process:
            wait_for_statement(databases.sql.info.host, "LOCK TABLE public.")
            yield InTheMiddle(process, locking.rollback)


def test_a_killed_backup_leaves_no_file(in_the_middle: InTheMiddle, tmp_path: Path) -> None:
    in_the_middle.process.kill()
    in_the_middle.process.communicate()
    assert not (tmp_path / "b").exists()


def test_a_stopped_backup_leaves_no_draft(in_the_middle: InTheMiddle, tmp_path: Path) -> None:
    in_the_middle.process.terminate()
    in_the_middle.process.communicate()
    assert in_the_middle.process.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_tracking_goes_on_and_the_backup_has_what_was_stored_before(
    http: Client, ada_id: int, in_the_middle: InTheMiddle, tmp_path: Path
) -> None:
    answer = http.track(event_key="k", title="t", email="ada@example.com")
    assert answer.status == 200
    in_the_middle.release()
    in_the_middle.process.communicate()
    tables = read_manifest(tmp_path / "b").tables
    assert tables["public.crm_subscriber"] == 1
    assert tables["public.events_trackedevent"] == 0
