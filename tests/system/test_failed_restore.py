"""A restore that fails leaves the old store as it was, and nothing beside it.

The fixture `untouched` verifies that after each test. Processes are killed in
test_restore_processes.py.
"""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings as SettingsFixture

from config.server import replacement, restore
from config.server.backup import Manifest
from config.server.postgres import USER, EmbeddedPostgres
from config.server.programs import StoreError
from config.server.replacement import Replacement
from tests.databases import use
from tests.long import long
from tests.system.stores import LARGE, TARGET, Databases, changed, full_disk, restored


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report connections at once that are not closed."""
    monkeypatch.setattr(replacement, "LEAVING_SECONDS", 0)


def same(_: Any) -> dict[str, Any]:
    """Change nothing of a manifest."""
    return {}


@pytest.mark.parametrize(
    ("change", "sql", "error"),
    [
        (
            lambda _: {"rules": [1, 1]},
            "",
            r"The restored constraints and indexes differ: constraints \d+ instead of 1, indexes",
        ),
        (
            lambda backup: {"sums": {**backup["sums"], "counters": 9}},
            "",
            r"The restored sums differ: counters \d+ instead of 9\.$",
        ),
        (
            same,
            "DELETE FROM public.events_eventname;",
            r"The restored rows differ: public.events_eventname 0 instead of 1\.$",
        ),
        (
            lambda backup: {"tables": {**backup["tables"], "public.lost": 1200}},
            "",
            r"The restored rows differ: public.lost none instead of 1,200\.$",
        ),
        (
            same,
            "UPDATE public.events_eventoccurrence SET event_id = 0;",
            "The restored faults differ",
        ),
        (same, "SELECT 1/0;", "psql failed: ERROR:  division by zero"),
    ],
    ids=["indexes", "counters", "rows", "table", "orphans", "an error of SQL"],
)
def test_a_backup_that_differs_from_its_manifest_is_rejected(
    untouched: Databases,
    shop_backup: Path,
    tmp_path: Path,
    change: Callable[[Any], Any],
    sql: str,
    error: str,
) -> None:
    with pytest.raises(StoreError, match=error):
        restored(changed(shop_backup, tmp_path, change, sql))


def test_a_store_in_use_is_kept_and_its_rows_are_named(
    untouched: Databases, shop_backup: Path
) -> None:
    rows = r"public\.crm_subscriber 2, public\.events_eventname 1, .*"
    match = rf"in use \(rows: {rows}\)\. --replace replaces it\. Nothing was changed\."
    with pytest.raises(CommandError, match=match):
        call_command("restore", shop_backup)


def test_a_full_disk_is_reported(
    untouched: Databases, postgres: EmbeddedPostgres, shop_backup: Path, tmp_path: Path
) -> None:
    match = r"psql failed: ERROR: .*File too large"
    with full_disk(postgres), pytest.raises(StoreError, match=match):
        restored(changed(shop_backup, tmp_path, same, LARGE))


def test_a_truncated_file_is_rejected(
    untouched: Databases, shop_backup: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(shop_backup.read_bytes()[:-100])
    with pytest.raises(CommandError, match=r"copy is damaged, or .*Nothing was changed\."):
        call_command("restore", copy, replace=True)


def test_a_connected_program_is_reported(
    untouched: Databases, shop_backup: Path, no_waiting: None
) -> None:
    match = "The database target has other open connections: 1"
    with untouched.connect(TARGET), pytest.raises(StoreError, match=match):
        restored(shop_backup)


def test_a_program_that_connects_meanwhile_cannot_write_and_is_reported(
    untouched: Databases, shop_backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `serve` that starts meanwhile accepts no event, because the restore would lose it."""
    check = restore._check

    with ExitStack() as programs:

        def connect_and_check(manifest: Manifest) -> None:
            other = programs.enter_context(untouched.connect(TARGET))
            other.execute("SET lock_timeout = 1")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("UPDATE events_trackedevent SET counter = counter")
            check(manifest)

        monkeypatch.setattr(restore, "_check", connect_and_check)
        with pytest.raises(StoreError, match="has other open connections: 1"):
            restored(shop_backup)


@long  # PostgreSQL waits for five seconds
def test_a_program_that_connects_at_the_end_is_reported(
    untouched: Databases, shop_backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = Replacement._swap

    def connect_and_swap(place: Replacement) -> None:
        with untouched.connect(TARGET):
            swap(place)

    monkeypatch.setattr(Replacement, "_swap", connect_and_swap)
    with pytest.raises(StoreError, match="has connected to the database target meanwhile"):
        restored(shop_backup)


def test_a_second_restore_is_rejected(untouched: Databases, shop_backup: Path) -> None:
    with untouched.connect("postgres") as other:
        other.execute("SELECT pg_advisory_lock(hashtext('target'))")
        with pytest.raises(
            StoreError, match="Another restore or upgrade of the database target runs"
        ):
            restored(shop_backup)


def test_a_role_that_may_not_create_databases_is_told_what_to_run(
    untouched: Databases, shop_backup: Path
) -> None:
    untouched.sql.execute("CREATE ROLE clerk LOGIN")
    connection.settings_dict["USER"] = "clerk"
    try:
        with pytest.raises(StoreError, match="Run ALTER ROLE clerk CREATEDB and ALTER DATABASE"):
            restored(shop_backup)
    finally:
        connection.settings_dict["USER"] = USER
        connection.close()
        untouched.sql.execute("DROP ROLE clerk")


def test_a_name_that_leaves_no_room_for_a_suffix_is_rejected(
    untouched: Databases, shop_backup: Path
) -> None:
    name = "x" * 60
    untouched.create(name)
    with use(name), pytest.raises(StoreError, match="is too long for a restore"):
        restored(shop_backup)
    untouched.drop(name)


def test_a_disk_that_is_too_small_is_reported_before(
    untouched: Databases,
    shop_backup: Path,
    settings: SettingsFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.EMBEDDED_POSTGRES = True
    usage = shutil.disk_usage("/")._replace(free=10 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"needs \d+ MiB beside the old store, and 10 MiB are"):
        restored(shop_backup)
