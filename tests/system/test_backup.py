"""manage.py backup: what the file holds, and that a failed backup leaves none."""

import resource
import stat
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from config.server import backup
from config.server.backup import open_dump, read_manifest
from events.models import TrackedEvent
from tests.system.stores import Databases


def test_only_the_owner_may_read_a_backup(shop_backup: Path) -> None:
    assert stat.S_IMODE(shop_backup.stat().st_mode) == 0o600


def test_the_manifest_counts_rows_and_events(shop_backup: Path) -> None:
    manifest = read_manifest(shop_backup)
    assert manifest.tables["public.crm_subscriber"] == 2
    assert manifest.tables["public.events_eventoccurrence"] == 2
    assert manifest.sums == {"counters": 2, "unlogged": 0}
    assert set(manifest.faults.values()) == {0}


def test_a_backup_has_no_sessions(shop_backup: Path) -> None:
    with open_dump(shop_backup) as dump:
        assert b"secret-session" not in dump.read()
    assert "public.django_session" not in read_manifest(shop_backup).tables


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
    monkeypatch.setattr(backup, "LEFT_OUT", "a.b.c.d")
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
    warning = "The store has 1 events whose counter differs (manage.py verify_counters)."
    assert warning in capsys.readouterr().err
