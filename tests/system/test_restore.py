"""manage.py restore: the store is that of the backup, and who left since stays away."""

from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from config.server.backup import count_rows, read_manifest, write_backup
from config.server.bootstrap import bootstrap
from config.server.postgres import USER
from crm.models import Erasure, Subscriber
from events.models import EventOccurrence, TrackedEvent
from events.personal_data import erase_contact
from events.tracking import track
from events.verification import find_differences
from tests.system.stores import (
    DRAFT,
    FRESH,
    GRACE,
    LATER,
    REPLACED,
    TARGET,
    Databases,
    changed,
    emails,
    restored,
)


def test_an_empty_database_gets_the_whole_store(empty: Databases, shop_backup: Path) -> None:
    call_command("restore", shop_backup)
    assert count_rows() == read_manifest(shop_backup).tables
    track({"event_key": "k", "title": "t", "email": GRACE})
    event = TrackedEvent.objects.get(subscriber__email=GRACE)
    assert (event.counter, EventOccurrence.objects.filter(event=event).count()) == (3, 3)


def test_a_store_after_its_first_start_is_replaced(empty: Databases, shop_backup: Path) -> None:
    empty.create(TARGET, FRESH)
    restored(shop_backup, replace=False)
    assert GRACE in emails()


def test_replace_replaces_a_store_in_use(target: Databases, shop_backup: Path) -> None:
    target.create(DRAFT)
    target.create(REPLACED)
    call_command("restore", shop_backup, replace=True)
    assert LATER not in emails()
    assert target.names() & {DRAFT, REPLACED} == set()


def test_the_locale_of_the_database_stays(empty: Databases, shop_backup: Path) -> None:
    empty.drop(TARGET)
    empty.sql.execute(
        f"CREATE DATABASE {TARGET} TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"
    )
    restored(shop_backup)
    query = "SELECT datlocprovider, datcollate FROM pg_database WHERE datname = %s"
    assert empty.sql.execute(query, [TARGET]).fetchone() == ("c", "C")


def test_a_role_that_is_no_superuser_restores(empty: Databases, shop_backup: Path) -> None:
    empty.sql.execute(f"CREATE ROLE owner LOGIN CREATEDB; ALTER DATABASE {TARGET} OWNER TO owner")
    connection.close()
    connection.settings_dict["USER"] = "owner"
    restored(shop_backup)
    restored(shop_backup)
    assert GRACE in emails()
    connection.close()
    connection.settings_dict["USER"] = USER
    empty.drop(TARGET)
    empty.sql.execute("DROP ROLE owner")


def test_an_older_backup_is_migrated(target: Databases, tmp_path: Path) -> None:
    call_command("migrate", "automations", "0003", verbosity=0)
    write_backup(tmp_path / "b", replace=False)
    restored(tmp_path / "b")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = 'automations'")
        assert ("0004_deletion",) in cursor.fetchall()
    assert GRACE in emails()


def test_a_store_with_faults_is_restored_with_them(
    target: Databases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TrackedEvent.objects.update(counter=7)
    write_backup(tmp_path / "b", replace=False)
    call_command("restore", tmp_path / "b", replace=True)
    warning = "The store has 1 events whose counter differs (manage.py verify)."
    assert warning in capsys.readouterr().err
    assert [event.counter for event in find_differences()] == [7]


@pytest.mark.parametrize("leftover", [DRAFT, REPLACED])
def test_a_start_drops_what_a_killed_restore_left(target: Databases, leftover: str) -> None:
    target.create(leftover)
    bootstrap()
    assert leftover not in target.names()


def test_a_start_leaves_the_draft_of_a_running_restore(target: Databases) -> None:
    target.create(DRAFT)
    with target.connect(DRAFT):
        bootstrap()
        assert DRAFT in target.names()
    target.drop(DRAFT)


def test_who_was_erased_after_the_backup_is_erased_again(
    target: Databases, shop_backup: Path
) -> None:
    receipt = erase_contact(Subscriber.objects.get(email=GRACE).pk, "admin").receipt()
    sentences = ["1 contacts were erased after the backup. They are erased again."]
    assert restored(shop_backup) == sentences
    assert GRACE not in emails()
    assert not EventOccurrence.objects.exists()
    again, first = Erasure.objects.all()
    assert first.receipt() == receipt
    assert (again.erased_by, again.email_sha256) == ("restore", first.email_sha256)


def test_a_backup_that_counted_other_faults_is_restored(
    target: Databases, shop_backup: Path, tmp_path: Path
) -> None:
    faults = {"faults": {"a kind of another version": 1}}
    restored(changed(shop_backup, tmp_path, lambda _: faults))
    assert GRACE in emails()
