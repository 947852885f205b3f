"""An upgrade that fails leaves the store as it was, and says so. Without a fault it succeeds.

Processes are killed in test_upgrade_processes.py.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings as SettingsFixture

from config import database
from config.server import replacement, upgrade
from config.server.backup import Manifest, read_manifest, write_backup
from config.server.bootstrap import bootstrap
from config.server.postgres import USER, EmbeddedPostgres, PostgresError
from config.server.programs import StoreError
from crm.models import Subscriber
from tests.system.stores import DRAFT, LARGE, REPLACED, TARGET, Databases, full_disk, restored
from tests.system.upgrades import LATER_MIGRATIONS, Rows, read_store, upgraded

FAILING = "SELECT 1/0"
TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@pytest.fixture
def later(
    target: Databases,
    settings: SettingsFixture,
    tmp_path: Path,
) -> Iterator[Databases]:
    """A store that lacks two migrations of this version. Django is connected to it."""
    settings.MIGRATION_MODULES = LATER_MIGRATIONS
    settings.BACKUPS_DIR = tmp_path / "backups"
    database._migrations.cache_clear()
    yield target
    database._migrations.cache_clear()


@pytest.fixture
def untouched(later: Databases) -> Iterator[Rows]:
    """The rows of a store whose upgrade has to fail. They stay, and nothing is left beside them."""
    rows = read_store()
    yield rows
    assert read_store() == rows
    assert later.names() & {DRAFT, REPLACED} == set()


def backups() -> list[Path]:
    return list(django_settings.BACKUPS_DIR.iterdir())


def test_the_store_gets_all_migrations(later: Databases) -> None:
    before = read_store()
    upgraded()
    after = read_store()
    assert [row["email"] for row in after.pop("public.later_than_all")] == [
        row["email"] for row in before["public.crm_subscriber"]
    ]
    names = [row["name"] for row in after.pop("public.django_migrations")]
    assert names[-2:] == ["0002_later", "0003_last"]
    before.pop("public.django_migrations")
    assert after == before
    assert later.names() & {DRAFT, REPLACED} == set()


def test_a_backup_is_written_before(later: Databases) -> None:
    before = read_store()
    upgraded()
    [path] = backups()
    assert re.fullmatch(r"before-0\.1\.0-\d{4}-\d\d-\d\dT\d{6}\.backup", path.name)
    database._migrations.cache_clear()
    restored(path)
    kept = ("public.crm_subscriber", "public.events_trackedevent", "public.events_eventoccurrence")
    after = read_store()
    assert {table: after[table] for table in kept} == {table: before[table] for table in kept}


def test_a_store_with_all_migrations_is_left_alone(
    target: Databases, settings: SettingsFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BACKUPS_DIR = tmp_path / "backups"
    call_command("upgrade")
    assert capsys.readouterr().out == "The store is up to date.\n"
    assert not (tmp_path / "backups").exists()


def test_a_store_of_a_newer_version_is_rejected(target: Databases) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('crm', '0900_x', now())"
        )
    match = r"has the migration crm\.0900_x, which this Tallybook \(0\.1\.0\) lacks\. Install the"
    with pytest.raises(CommandError, match=match):
        call_command("upgrade")
    # As `serve` does at its start.
    with pytest.raises(PostgresError, match=match):
        bootstrap()


def test_a_draft_of_a_killed_upgrade_is_deleted(later: Databases) -> None:
    draft = django_settings.BACKUPS_DIR / ".before-0.1.0-2026-01-01T000000.backup.abcd1234"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.touch()
    call_command("upgrade")
    assert not draft.exists()


def test_an_empty_database_is_rejected(empty: Databases) -> None:
    with pytest.raises(CommandError, match="The database target is empty"):
        call_command("upgrade")


def test_a_migration_that_fails_is_named_with_its_reason_and_the_backup(
    untouched: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration before it was committed."""
    monkeypatch.setenv("LAST_MIGRATION", FAILING)
    with pytest.raises(CommandError) as raised:
        call_command("upgrade")
    [backup] = backups()
    assert str(raised.value) == (
        "The migration transfers.0003_last failed: division by zero. The store is as it was "
        "before, so the version of Tallybook that used it goes on with it (its last migration: "
        f"transfers.0001_initial). The backup before the upgrade: {backup}."
    )
    assert read_manifest(backup).tables["public.crm_subscriber"] == 3


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("UPDATE events_trackedevent SET counter = 9", r"upgraded sums differ: counters 9 instead"),
        (
            "UPDATE events_eventoccurrence SET event_id = 0",
            "upgraded faults differ: events whose counter differs",
        ),
    ],
    ids=["counters", "orphans"],
)
def test_a_migration_that_loses_events_is_rejected(
    untouched: Rows, monkeypatch: pytest.MonkeyPatch, sql: str, error: str
) -> None:
    monkeypatch.setenv("LAST_MIGRATION", sql)
    with pytest.raises(StoreError, match=error):
        upgraded()


def test_a_connected_program_is_reported(untouched: Rows, later: Databases) -> None:
    match = "The database target has other open connections: 1"
    with later.connect(TARGET), pytest.raises(StoreError, match=match):
        upgraded()


def test_a_program_that_connects_meanwhile_cannot_write_and_is_reported(
    untouched: Rows, later: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `serve` that starts meanwhile accepts no event, because the upgrade would lose it."""
    finish = replacement.finish

    with ExitStack() as programs:

        def connect_and_finish(manifest: Manifest, adjective: str) -> None:
            other = programs.enter_context(later.connect(TARGET))
            other.execute("SET lock_timeout = 1")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("UPDATE events_trackedevent SET counter = counter")
            finish(manifest, adjective)

        monkeypatch.setattr(upgrade, "finish", connect_and_finish)
        with pytest.raises(StoreError, match="has other open connections: 1"):
            upgraded()


def test_a_change_during_the_backup_is_reported(
    later: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of rows are the same, and the change stays."""

    def write_and_change(path: Path, replace: bool) -> Any:
        with later.connect(TARGET) as other:
            manifest = write_backup(path, replace)
            other.execute("UPDATE crm_subscriber SET first_name = 'Changed'")
        return manifest

    monkeypatch.setattr(upgrade, "write_backup", write_and_change)
    with pytest.raises(StoreError, match="A program has written into the store meanwhile"):
        upgraded()
    assert set(Subscriber.objects.values_list("first_name", flat=True)) == {"Changed"}


def test_a_second_upgrade_is_rejected(untouched: Rows, later: Databases) -> None:
    with later.connect("postgres") as other:
        other.execute("SELECT pg_advisory_lock(hashtext('target'))")
        with pytest.raises(StoreError, match="Another restore or upgrade of the database target"):
            upgraded()


def test_a_disk_that_is_too_small_is_reported_before_the_backup(
    untouched: Rows, settings: SettingsFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDED_POSTGRES = True
    usage = shutil.disk_usage("/")._replace(free=10 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match=r"An upgrade needs \d+ MiB beside the old store, and 10"):
        upgraded()
    assert not settings.BACKUPS_DIR.exists()


def test_a_role_that_may_not_create_databases_is_told_what_to_run(
    untouched: Rows, later: Databases
) -> None:
    later.sql.execute("CREATE ROLE clerk LOGIN; GRANT pg_read_all_data TO clerk")
    connection.close()
    connection.settings_dict["USER"] = "clerk"
    try:
        with pytest.raises(StoreError, match="Run ALTER ROLE clerk CREATEDB and ALTER DATABASE"):
            upgraded()
    finally:
        connection.settings_dict["USER"] = USER
        connection.close()
        later.sql.execute("DROP ROLE clerk")


def test_owner_grants_and_settings_of_the_database_stay(later: Databases) -> None:
    later.sql.execute(f"""
        CREATE ROLE owner LOGIN CREATEDB; CREATE ROLE reader LOGIN;
        ALTER DATABASE {TARGET} OWNER TO owner;
        REVOKE ALL ON DATABASE {TARGET} FROM PUBLIC; GRANT CONNECT ON DATABASE {TARGET} TO reader;
        ALTER DATABASE {TARGET} SET search_path = public, pg_catalog;
        ALTER ROLE reader IN DATABASE {TARGET} SET statement_timeout = '7s';
        ALTER DATABASE {TARGET} CONNECTION LIMIT 50;
        COMMENT ON DATABASE {TARGET} IS 'The shop''s';
    """)
    query = """
    SELECT datdba::regrole::text, datacl::text, datconnlimit, shobj_description(oid, 'pg_database'),
        (SELECT array_agg((setrole, setconfig)::text ORDER BY 1) FROM pg_db_role_setting
         WHERE setdatabase = oid)
    FROM pg_database WHERE datname = 'target'
    """
    before = later.sql.execute(query).fetchone()
    try:
        upgraded()
        assert later.sql.execute(query).fetchone() == before
    finally:
        connection.close()
        later.drop(TARGET)
        later.sql.execute("DROP ROLE owner; DROP ROLE reader")


def test_a_role_that_owns_the_database_upgrades_it_and_names_what_a_superuser_has_set(
    later: Databases,
) -> None:
    later.sql.execute(f"CREATE ROLE owner LOGIN CREATEDB; ALTER DATABASE {TARGET} OWNER TO owner")
    later.sql.execute(f"ALTER DATABASE {TARGET} SET log_min_duration_statement = '1s'")
    with later.connect(TARGET) as superuser:
        for (table,) in superuser.execute(TABLES).fetchall():
            superuser.execute(f"ALTER TABLE {table} OWNER TO owner")
    connection.close()
    connection.settings_dict["USER"] = "owner"
    try:
        sentence = "A superuser has to set log_min_duration_statement = 1s for the database again."
        assert sentence in upgraded()
    finally:
        connection.close()
        connection.settings_dict["USER"] = USER
        later.drop(TARGET)
        later.sql.execute("DROP ROLE owner")


def test_a_full_disk_is_reported(later: Databases, postgres: EmbeddedPostgres) -> None:
    with later.connect(TARGET) as other:
        other.execute(LARGE)
    rows = read_store()
    match = r"PostgreSQL reports: .*File too large"
    with full_disk(postgres), pytest.raises(StoreError, match=match):
        upgraded()
    assert read_store() == rows
    assert later.names() & {DRAFT, REPLACED} == set()


def test_a_folder_of_backups_that_cannot_be_made_is_reported(
    untouched: Rows, settings: SettingsFixture, tmp_path: Path
) -> None:
    settings.BACKUPS_DIR = tmp_path / "not mounted" / "backups"
    with pytest.raises(StoreError, match="backups cannot be used: No such file or directory"):
        upgraded()
