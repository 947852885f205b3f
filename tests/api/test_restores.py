"""What a restore keeps of the old store: opt-outs, and erasures with their receipts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.utils.module_loading import import_string
from psycopg.types.json import Json
from rest_framework.test import APIClient

from crm.bulk_changes import AlreadyUndone, change_column, undo_change
from crm.contacts import create
from crm.emails import email_sha256
from crm.jobs import create_job, stop_restored_jobs
from crm.merging import merge_contacts
from crm.models import Erasure, JobState, Subscriber
from crm.restores import keep_opt_outs
from events.models import TrackedEvent
from events.personal_data import erase_contact
from events.restores import erase_again
from events.tracking import track

GRACE = "grace@example.com"
ERASED_AT = datetime(2026, 11, 3, tzinfo=UTC)
CREATED_AT = datetime(2026, 11, 2, tzinfo=UTC)
OPTED_OUT = "1 contacts opted out after the backup. They stay opted out."
ADDED = (
    "1 e-mails that opted out are of no contact of the backup. Each is stored as a contact with "
    "its status, without other data."
)

Old = psycopg.Connection[Any]


@pytest.fixture
def old(db: None) -> Iterator[Old]:
    """A connection to the old store, whose tables are temporary ones and hide the others."""
    dsn = connection.connection.info.dsn
    with psycopg.connect(dsn, autocommit=True) as connected:
        for table in ("crm_subscriber", "crm_erasure", "crm_identity"):
            connected.execute(f"CREATE TEMPORARY TABLE {table} (LIKE public.{table} INCLUDING ALL)")
        yield connected


@pytest.fixture
def grace(db: None) -> Subscriber:
    """A subscribed contact of the restored store."""
    return create({"email": GRACE, "status": "subscribed"})


def add_contact(old: Old, email: str, status: str, same: Subscriber | None = None) -> None:
    """Create a contact of the old store, or the row that a contact of the restored one was."""
    contact_id, created_at = (same.pk, same.created_at) if same else (987654, CREATED_AT)
    old.execute(
        "INSERT INTO crm_subscriber (id, email, email_key, status, contact_type, total_points, "
        "life_time_value, custom_values, created_at, updated_at) "
        "VALUES (%s, %s, lower(%s), %s, 'lead', 0, 0, '{}', %s, now())",
        [contact_id, email, email, status, created_at],
    )


def add_alias(old: Old, contact_id: int, email: str) -> None:
    """Create an alias of a contact of the old store."""
    old.execute(
        "INSERT INTO crm_identity (subscriber_id, kind, source, value) "
        "VALUES (%s, 'email', '', %s)",
        [contact_id, email],
    )


def statuses() -> dict[str, str]:
    """Return the statuses of the restored store's contacts by e-mail."""
    return dict(Subscriber.objects.values_list("email", "status"))


def add_receipt(old: Old, contact_id: int, email: str, erased_at: datetime = ERASED_AT) -> None:
    """Create the receipt of an erasure in the old store."""
    old.execute(
        "INSERT INTO crm_erasure "
        "(contact_id, email_sha256, erased_at, erased_by, counts, version) "
        "VALUES (%s, %s, %s, 'admin', %s, '0.1.0')",
        [contact_id, email_sha256(email), erased_at, Json({"deleted": {"contacts": 1}})],
    )


@pytest.mark.parametrize("status", ["unsubscribed", "complained", "bounced"])
def test_who_opted_out_after_the_backup_stays_opted_out(
    old: Old, grace: Subscriber, status: str
) -> None:
    add_contact(old, GRACE.upper(), status)
    assert list(keep_opt_outs(old)) == [OPTED_OUT]
    grace.refresh_from_db()
    assert grace.status == status


def test_who_opted_out_after_a_change_of_the_email_stays_opted_out_with_both(
    old: Old, grace: Subscriber
) -> None:
    add_contact(old, "hopper@example.com", "unsubscribed", same=grace)
    assert list(keep_opt_outs(old)) == [OPTED_OUT, ADDED]
    assert statuses() == {GRACE: "unsubscribed", "hopper@example.com": "unsubscribed"}


def test_the_contact_of_another_store_with_the_same_id_is_another_person(
    old: Old, grace: Subscriber
) -> None:
    add_contact(old, "bob@example.com", "unsubscribed", same=grace)
    old.execute("UPDATE crm_subscriber SET created_at = %s", [CREATED_AT])
    assert list(keep_opt_outs(old)) == [ADDED]
    assert statuses() == {GRACE: "subscribed", "bob@example.com": "unsubscribed"}


def test_who_opted_out_and_is_not_in_the_backup_stays_opted_out(
    old: Old, api: APIClient, grace: Subscriber
) -> None:
    add_contact(old, "Later@Example.com", "complained")
    assert list(keep_opt_outs(old)) == [ADDED]
    later = Subscriber.objects.get(email="Later@Example.com")
    assert (later.status, later.created_at) == ("complained", CREATED_AT)
    sent = {"email": "later@example.com", "status": "subscribed"}
    answer = api.post("/subscribers/bulk-add-update", {"contacts": [sent]}).json()
    assert [row["status"] for row in answer["updated"]] == ["complained"]


def test_two_contacts_of_one_mailbox_that_opted_out_are_stored_as_one(old: Old) -> None:
    add_contact(old, "jörg@bücher.example", "unsubscribed")
    old.execute("UPDATE crm_subscriber SET id = 1")
    add_contact(old, "jörg@xn--bcher-kva.example", "unsubscribed")
    assert list(keep_opt_outs(old)) == [ADDED]
    assert list(statuses().values()) == ["unsubscribed"]


def test_who_opted_out_after_a_merge_stays_opted_out_with_the_emails_of_both_contacts(
    old: Old, grace: Subscriber
) -> None:
    add_contact(old, "hopper@example.com", "unsubscribed")
    add_alias(old, 987654, GRACE)
    list(keep_opt_outs(old))
    assert statuses() == {GRACE: "unsubscribed", "hopper@example.com": "unsubscribed"}


def test_an_opt_out_of_an_alias_of_the_backup_is_that_of_its_contact(
    old: Old, grace: Subscriber
) -> None:
    merge_contacts(grace.pk, ("contact", str(create({"email": "hopper@example.com"}).pk)))
    add_contact(old, "hopper@example.com", "unsubscribed")
    assert list(keep_opt_outs(old)) == [OPTED_OUT]
    assert statuses() == {GRACE: "unsubscribed"}


def test_a_contact_made_by_an_event_stays_opted_out_of_the_next_batch(
    old: Old, api: APIClient, grace: Subscriber
) -> None:
    Subscriber.objects.update(status="pending", made_by_track=True)
    add_contact(old, GRACE, "unsubscribed")
    list(keep_opt_outs(old))
    sent = {"email": GRACE, "status": "subscribed"}
    answer = api.post("/subscribers/bulk-add-update", {"contacts": [sent]}).json()
    assert [row["status"] for row in answer["updated"]] == ["unsubscribed"]
    assert statuses() == {GRACE: "unsubscribed"}


def test_who_was_erased_and_came_back_to_opt_out_stays_opted_out(
    old: Old, grace: Subscriber
) -> None:
    add_receipt(old, grace.pk, GRACE)
    add_contact(old, GRACE, "unsubscribed")
    for step in settings.RESTORE_STEPS:
        list(import_string(step)(old))
    assert statuses() == {GRACE: "unsubscribed"}
    assert Subscriber.objects.get().pk != grace.pk


def test_an_opt_out_of_the_backup_stays_as_it_was(old: Old, grace: Subscriber) -> None:
    Subscriber.objects.update(status="complained")
    add_contact(old, GRACE, "unsubscribed")
    assert list(keep_opt_outs(old)) == []
    grace.refresh_from_db()
    assert grace.status == "complained"


def test_who_was_erased_after_the_backup_is_erased_again(old: Old, grace: Subscriber) -> None:
    track({"event_key": "k", "title": "t", "email": GRACE})
    add_receipt(old, grace.pk, GRACE)
    assert list(erase_again(old)) == [
        "1 contacts were erased after the backup. They are erased again."
    ]
    assert not Subscriber.objects.filter(pk=grace.pk).exists()
    assert not TrackedEvent.objects.exists()


def test_who_was_erased_after_the_backup_is_known_by_an_alias(old: Old, grace: Subscriber) -> None:
    merge_contacts(grace.pk, ("contact", str(create({"email": "hopper@example.com"}).pk)))
    add_receipt(old, 987654, "hopper@example.com")
    list(erase_again(old))
    assert not Subscriber.objects.exists()


def test_the_receipts_of_the_old_store_are_kept(old: Old, grace: Subscriber) -> None:
    add_receipt(old, grace.pk, GRACE)
    list(erase_again(old))
    again, first = Erasure.objects.all()
    assert (first.erased_at, first.erased_by) == (ERASED_AT, "admin")
    assert first.counts == {"deleted": {"contacts": 1}}
    assert (again.erased_by, again.email_sha256) == ("restore", first.email_sha256)


def test_who_was_erased_with_another_e_mail_is_reported(old: Old, grace: Subscriber) -> None:
    add_receipt(old, grace.pk, "hopper@example.com")
    assert list(erase_again(old)) == [
        f"The contact {grace.pk} was erased after the backup, with another e-mail than the backup "
        "has. Erase it again if it is the same person."
    ]
    assert Subscriber.objects.filter(pk=grace.pk).exists()


def test_a_contact_who_came_back_before_the_backup_stays(old: Old, grace: Subscriber) -> None:
    receipt = erase_contact(grace.pk, "admin")
    add_receipt(old, grace.pk, GRACE, receipt.erased_at)
    again = create({"email": GRACE})
    assert list(erase_again(old)) == []
    assert Subscriber.objects.filter(pk=again.pk).exists()
    assert Erasure.objects.count() == 1


def test_a_job_of_the_backup_that_had_not_ended_is_stopped(old: Old) -> None:
    job = create_job("export_contacts", "Export", {})
    assert list(stop_restored_jobs(old)) == [
        "1 jobs of the backup had not ended. They are stopped."
    ]
    job.refresh_from_db()
    assert job.state == JobState.STOPPED


def test_an_old_store_without_tables_changes_nothing(old: Old) -> None:
    tables = "crm_subscriber, crm_erasure, crm_identity"
    old.execute(f"DROP TABLE {tables}; SET search_path = pg_catalog")
    assert [*keep_opt_outs(old), *erase_again(old)] == []


def test_a_change_of_the_status_before_the_backup_cannot_be_undone(
    old: Old, grace: Subscriber, admin: User
) -> None:
    job, _ = change_column("status", "unsubscribed", [grace.pk], True, admin)
    list(stop_restored_jobs(old))
    with pytest.raises(AlreadyUndone):
        undo_change(job, admin)
