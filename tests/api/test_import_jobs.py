"""Imports of files by a job: reports, dry runs, steps that fail, and exports that come back."""

import csv
import os
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crm.attachments import attach
from crm.contacts import create, delete_contacts
from crm.jobs import RESULTS, JobError, resume
from crm.labels import resolve_label_ids
from crm.models import Job, JobState, Subscriber, SubscriberNote, Tag
from crm.notes import add_note
from tests.api.jobs import run_next
from tests.api.snapshots import without_snapshots
from transfers.comparison import compare
from transfers.contacts import ContactRow, ContactRules, Outcome
from transfers.contacts import import_contacts as write_contacts
from transfers.exports import ExportOptions, create_export
from transfers.imports import contacts as import_contacts
from transfers.imports import run
from transfers.imports.reports import Reports

pytestmark = pytest.mark.django_db
TABLE = """Email,First name,Birthday,Tags
ada@example.com,Ada,1990-12-31,"VIP, Buyer"
nobody,No,,
bob@example.com,Bob,31.12.1990,
"""


@pytest.fixture(autouse=True)
def in_transaction(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Let jobs run inside the test's transaction, in a folder of the test."""
    settings.FILES_DIR = tmp_path / "files"
    with without_snapshots():
        yield


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of three contacts, two of which cannot be read."""
    path = tmp_path / "contacts.csv"
    path.write_text(TABLE)
    return path


def run_import(path: Path, **options: Any) -> tuple[Job, str]:
    """Import contacts by the command. Returns the job, and what was printed."""
    out = StringIO()
    call_command("import_contacts", str(path), stdout=out, **options)
    return Job.objects.latest("pk"), out.getvalue()


def emails() -> list[str]:
    return list(Subscriber.objects.order_by("email").values_list("email", flat=True))


def report(job: Job, name: str) -> list[dict[str, str]]:
    text = (job.path / RESULTS / name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(StringIO(text, newline="")))


def test_the_command_prints_the_columns_and_the_numbers(table: Path) -> None:
    job, printed = run_import(table)
    assert "Email: email\nFirst name: first_name\nBirthday: date_of_birth\n" in printed
    assert "created: 1\nrejected: 2\n" in printed
    assert (job.state, job.done, job.total) == (JobState.DONE, 3, 3)
    assert emails() == ["ada@example.com"]


def test_rejected_rows_are_a_file_with_their_reasons(table: Path) -> None:
    job, _ = run_import(table)
    first, second = report(job, "rejected.csv")
    assert (first["row number"], first["Email"]) == ("3", "nobody")
    assert "valid email" in first["reason"]
    assert (second["row number"], second["Birthday"]) == ("4", "31.12.1990")
    assert "date" in second["reason"]


def test_the_mended_file_of_rejected_rows_is_imported(table: Path) -> None:
    job, _ = run_import(table)
    path = job.path / RESULTS / "rejected.csv"
    path.write_text(path.read_text(encoding="utf-8-sig").replace("nobody", "eve@example.com"))
    run_import(path, date_order="dmy")
    assert emails() == ["ada@example.com", "bob@example.com", "eve@example.com"]


def test_who_stays_opted_out_is_remarked(table: Path) -> None:
    create({"email": "ada@example.com", "status": "unsubscribed"})
    job, printed = run_import(table, status="subscribed", existing="overwrite")
    assert "held back: 1\n" in printed
    [remark] = report(job, "remarks.csv")
    assert "stays unsubscribed" in remark["reason"]
    assert Subscriber.objects.get().status == "unsubscribed"


def test_a_dry_run_counts_and_stores_nothing(table: Path) -> None:
    job, printed = run_import(table, dry_run=True)
    assert "created: 1\nrejected: 2\n" in printed
    assert job.title == "Try to import contacts from contacts.csv"
    assert emails() == []
    assert not Tag.objects.exists()
    assert len(report(job, "rejected.csv")) == 2


def test_a_column_is_chosen(table: Path) -> None:
    run_import(table, column=["First name=last_name", "Birthday=ignore"])
    assert [*Subscriber.objects.order_by("id").values_list("email", "last_name")] == [
        ("ada@example.com", "Ada"),
        ("bob@example.com", "Bob"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": ["Email=nothing"]}, "is no field of contacts"),
        ({"column": ["Mail=email"]}, 'The file has no column "Mail"'),
        ({"encoding": "klingon"}, "klingon"),
        ({"zone": "Moon"}, 'There is no time zone "Moon"'),
    ],
)
def test_wrong_choices_are_rejected(table: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run_import(table, **options)
    assert emails() == []


def test_a_command_that_starts_nothing_leaves_nothing(table: Path, settings: Any) -> None:
    with pytest.raises(CommandError):
        run_import(table, column=["Mail=email"])
    assert not Job.objects.exists()
    assert [*settings.FILES_DIR.iterdir()] == []


def test_what_is_no_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CommandError, match="cannot be read: It is no file"):
        run_import(tmp_path / "pipe")


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        run_import(tmp_path / "nothing.csv")


def test_a_step_that_failed_is_repeated_without_a_trace(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Reports.write
    monkeypatch.setattr(import_contacts, "ROWS_PER_STEP", 1)
    steps: list[int] = []

    def fail_once(*arguments: Any) -> dict[str, int]:
        lengths = write(*arguments)
        steps.append(len(steps))
        if len(steps) == 3:
            raise JobError("The disk is full.")
        return lengths

    monkeypatch.setattr(Reports, "write", fail_once)
    with pytest.raises(CommandError, match="The disk is full"):
        run_import(table)
    job = Job.objects.get()
    assert job.done == 2
    assert resume(job.pk)
    run_next()
    job.refresh_from_db()
    assert (job.state, job.counts) == (JobState.DONE, {"created": 1, "rejected": 2})
    assert [row["row number"] for row in report(job, "rejected.csv")] == ["3", "4"]


def test_long_rows_are_written_in_several_steps(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []

    def count(read: Sequence[ContactRow], rules: ContactRules) -> list[Outcome]:
        rows.append(len(read))
        return write_contacts(read, rules)

    monkeypatch.setattr(import_contacts, "import_contacts", count)
    # The first row has 38 characters, the others 36.
    monkeypatch.setattr(run, "MAX_CHARACTERS_PER_STEP", 36)
    run_import(table)
    assert rows == [1, 2]


def test_a_file_that_was_deleted_is_reported(table: Path) -> None:
    run_import(table, dry_run=True)
    job = Job.objects.get()
    (job.path / "upload").unlink()
    Job.objects.update(state=JobState.WAITING, done=0)
    assert "The file is not here" in run_next().error


@pytest.fixture
def ada(admin: Any) -> Subscriber:
    """Ada, with everything that an export of contacts has."""
    contact = create(
        {
            "email": "ada@example.com",
            "user_id": "auth0|7",
            "postal_code": "01067",
            "phone": "+49 30 1234",
            "status": "unsubscribed",
            "custom_values": {"plan": {"name": "gold"}},
        }
    )
    attach("tags", [contact.pk], resolve_label_ids("tags", ["VIP", "a, b"], True))
    add_note(contact.pk, {"title": "Call", "description": "Likes tea.", "type": "call"}, admin.pk)
    return contact


def export(tmp_path: Path, form: str, **options: Any) -> Path:
    """Export all contacts. Returns the path of the file."""
    create_export(ExportOptions("contacts", form, **options), created_by=None)
    [result] = (run_next().path / RESULTS).iterdir()
    path = tmp_path / f"export.{form}"
    path.write_bytes(result.read_bytes())
    return path


def test_an_export_that_is_imported_elsewhere_makes_equal_contacts(
    ada: Subscriber, tmp_path: Path
) -> None:
    path = export(tmp_path, "ndjson")
    delete_contacts([ada.pk])
    run_import(path)
    assert compare([path]) == ({"contact": 1}, [])
    assert SubscriberNote.objects.get().description == "Likes tea."


def test_an_export_that_is_imported_twice_changes_nothing(ada: Subscriber, tmp_path: Path) -> None:
    path = export(tmp_path, "ndjson")
    _, printed = run_import(path, existing="overwrite")
    assert "unchanged: 1\n" in printed
    assert compare([path]) == ({"contact": 1}, [])


@pytest.mark.parametrize("reader", ["programs", "excel", "excel-semicolon"])
def test_a_table_for_each_reader_is_read_as_it_was(
    ada: Subscriber, tmp_path: Path, reader: str
) -> None:
    path = export(tmp_path, "csv", reader=reader)
    delete_contacts([ada.pk])
    run_import(path)
    contact = Subscriber.objects.get()
    assert (contact.postal_code, contact.phone) == ("01067", "+49 30 1234")
    assert (contact.status, contact.custom_values) == ("unsubscribed", {"plan": {"name": "gold"}})
