"""Imports of contacts while others write the same contacts on connections of their own."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from config.database import in_transaction
from crm.contacts import Existing, create, get_for_update, update
from crm.jobs import RESULTS, claim_job, run_claimed
from crm.labels import LABEL_MODELS
from crm.merging import merge_contacts
from crm.models import Erasure, Identity, Job, JobState, Subscriber
from events.personal_data import erase_contact
from tests.system.database import waiting_for_locks
from tests.system.server import wait_until
from tests.system.threads import in_threads
from transfers.contacts import ContactRow, ContactRules, Outcome, import_contacts
from transfers.imports import contacts as job_of_contacts
from transfers.imports.drafts import create_draft, guess_file, start_import
from transfers.imports.files import copy_file

pytestmark = pytest.mark.django_db(transaction=True)
ADA = "ada@example.com"
ROW = {
    **{"email": ADA, "city": "Rome", "user_id": "57", "status": "subscribed"},
    **{"custom_values": {"size": "M"}, "tags": [{"title": "vip"}]},
}


def write(rows: list[ContactRow], existing: Existing) -> list[Outcome]:
    """Import rows as a job does: in one transaction, which is repeated after a deadlock."""
    rules = ContactRules(existing=existing, create=[*LABEL_MODELS])
    try:
        return in_transaction(import_contacts)(rows, rules)
    finally:
        connection.close()


def import_during(
    work: Callable[[], object], existing: Existing, row: dict[str, Any] = ROW
) -> Outcome:
    """Import a row while a transaction that did `work` is open."""
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            work()
            outcomes = threads.submit(write, [ContactRow(2, row, {}, [])], existing)
            wait_until(lambda: waiting_for_locks(connection.connection))
        return outcomes.result(10)[0]


EXISTING: list[tuple[Existing, tuple[str, ...], int]] = [
    ("skip", ("skipped", "Bonn", "L", "58"), 0),
    ("fill", ("updated", "Bonn", "L", "58"), 1),
    ("overwrite", ("updated", "Rome", "M", "57"), 1),
]


@pytest.mark.parametrize(("existing", "state", "tags"), EXISTING)
def test_a_contact_that_is_created_meanwhile_exists(
    existing: Existing, state: tuple[str, ...], tags: int
) -> None:
    fields = {"email": ADA, "city": "Bonn", "user_id": "58", "custom_values": {"size": "L"}}
    outcome = import_during(lambda: create(fields), existing)
    contact, user_id = Subscriber.objects.get(), Identity.objects.get().value
    assert state == (outcome.kind, contact.city, contact.custom_values["size"], user_id)
    assert contact.tags.count() == tags


def test_a_row_without_an_email_finds_no_contact_whose_email_changes_meanwhile() -> None:
    create({"email": ADA, "user_id": "57"})

    def change_email() -> None:
        contact = get_for_update(email=ADA)
        assert contact
        update(contact, {"email": "ada@new.example"})

    outcome = import_during(change_email, "overwrite", {"user_id": "57", "city": "Rome"})
    assert (outcome.kind, [*outcome.errors]) == ("rejected", ["email"])
    assert [contact.email for contact in Subscriber.objects.all()] == ["ada@new.example"]


@pytest.mark.parametrize("existing", ["skip", "fill", "overwrite"])
def test_a_contact_that_opts_out_meanwhile_stays_so(existing: Existing) -> None:
    create({"email": ADA, "status": "subscribed"})

    def opt_out() -> None:
        contact = get_for_update(email=ADA)
        assert contact
        update(contact, {"status": "unsubscribed"})

    outcome = import_during(opt_out, existing)
    assert Subscriber.objects.get().status == "unsubscribed"
    assert (outcome.kind == "held_back") == (existing == "overwrite")


def test_imports_of_the_same_contacts_in_opposite_orders_create_each_once() -> None:
    def rows(number: int) -> list[ContactRow]:
        items = [
            {"email": f"c{each}@example.com", "tags": [{"title": f"tag {each % 5}"}]}
            for each in range(40)
        ]
        ordered = items[:: 1 if number % 2 else -1]
        return [ContactRow(line, item, {}, []) for line, item in enumerate(ordered)]

    outcomes = in_threads(4, lambda number: write(rows(number), "overwrite"))
    kinds = [outcome.kind for each in outcomes for outcome in each]
    assert (kinds.count("created"), len(kinds)) == (40, 160)
    assert {*kinds} <= {"created", "updated", "unchanged"}
    assert Subscriber.objects.count() == Subscriber.tags.through.objects.count() == 40


def test_a_process_that_was_frozen_leaves_the_reports_of_its_successor(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILES_DIR = tmp_path / "files"
    monkeypatch.setattr(job_of_contacts, "ROWS_PER_STEP", 1)
    path = tmp_path / "contacts.csv"
    path.write_text("email,city\nnobody,Rome\nnothing,Bonn\n")
    job = create_draft("contacts", path.name, path.stat().st_size, None)
    copy_file(job, path)
    guessed = guess_file(job, "contacts")
    start_import(
        job, "contacts", guessed, {"status": "pending"}, {"existing": "fill"}, dry_run=False
    )
    first = claim_job()
    assert first

    def run_successor() -> None:
        Job.objects.update(lease_until=timezone.now())
        try:
            second = claim_job()
            assert second
            run_claimed(second)
        finally:
            connections.close_all()

    def freeze_once(*arguments: Any) -> list[Outcome]:
        monkeypatch.undo()
        with ThreadPoolExecutor(1) as threads:
            threads.submit(run_successor).result(30)
        return import_contacts(*arguments)

    monkeypatch.setattr(job_of_contacts, "import_contacts", freeze_once)
    run_claimed(first)
    report = (job.path / RESULTS / "rejected.csv").read_text()
    assert ("nobody" in report, "nothing" in report) == (True, True)
    job.refresh_from_db()
    assert (job.state, job.counts) == (JobState.DONE, {"rejected": 2})


def test_an_erasure_by_an_alias_meanwhile_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    survivor = create({"email": "bob@example.com"})
    merge_contacts(survivor.pk, ("contact", str(create({"email": ADA}).pk)))
    read = Erasure.erased_keys

    def erase() -> None:
        try:
            erase_contact(survivor.pk, by="test")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:

        def erase_after(emails: Iterable[str]) -> set[str]:
            monkeypatch.undo()
            keys = read(emails)
            erased = threads.submit(erase)
            wait_until(lambda: erased.done() or waiting_for_locks(connection.connection))
            return keys

        monkeypatch.setattr(Erasure, "erased_keys", erase_after)
        write([ContactRow(2, ROW, {}, [])], "fill")
    assert not Subscriber.objects.exists()
