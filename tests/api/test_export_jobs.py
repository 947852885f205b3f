"""Exports of all contacts, events and occurrences by a job."""

import csv
import io
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from crm import jobs
from crm.attachments import attach
from crm.contacts import create, set_custom_values
from crm.jobs import RESULTS, prune_files
from crm.labels import resolve_label_ids
from crm.models import CustomField, Job, JobState, Subscriber
from crm.notes import add_note
from events.tracking import track
from tests.api.jobs import run_next
from tests.api.pages import browser_of, open_page, staff_user, text_of
from tests.api.snapshots import without_snapshots
from transfers import exports
from transfers.comparison import compare
from transfers.exports import ExportOptions, create_export

pytestmark = pytest.mark.django_db
Export = Callable[..., str]


@pytest.fixture(autouse=True)
def in_transaction(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Let exports run inside the test's transaction, in a folder of the test."""
    settings.FILES_DIR = tmp_path / "files"
    with without_snapshots():
        yield


def export(what: str, form: str, **options: Any) -> str:
    """Export, and return the file's text."""
    create_export(ExportOptions(what, form, **options), created_by=None)
    job = run_next()
    assert job.state == JobState.DONE, job.error
    [path] = (job.path / RESULTS).iterdir()
    return path.read_text(encoding="utf-8-sig")


def lines(text: str) -> list[dict[str, Any]]:
    """The lines of an export as NDJSON, without the first."""
    header, *others = map(json.loads, text.splitlines())
    assert (header["type"], header["format"], len(header["store"])) == ("tallybook", 1, 16)
    return others


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def ada(admin: User) -> Subscriber:
    """Ada with everything that a contact can have, and two events of her."""
    CustomField.objects.create(label="Plan", slug="plan")
    contact = create({"email": "ada@example.com", "user_id": "auth0|7", "postal_code": "01067"})
    set_custom_values(contact, {"plan": "gold"})
    attach("tags", [contact.pk], resolve_label_ids("tags", ["VIP", "Buyer"], True))
    add_note(contact.pk, {"title": "Call", "description": "Likes tea.", "type": "call"}, admin.pk)
    event = {"event_key": "checkout", "title": "Order", "email": "ada@example.com"}
    track({**event, "occurred_at": "2025-01-01T00:00:00Z", "properties": {"total": 5}})
    track({**event, "occurred_at": "2026-01-01T00:00:00Z", "value": "2"})
    track({**event, "event_key": "login", "occurred_at": "2026-02-01T00:00:00Z"})
    return contact


def test_a_line_of_a_contact_has_labels_identities_and_notes(ada: Subscriber) -> None:
    [line] = lines(export("contacts", "ndjson"))
    assert (line["type"], line["email"], line["postal_code"]) == ("contact", ada.email, "01067")
    assert line["custom_values"] == {"plan": "gold"}
    assert [tag["title"] for tag in line["tags"]] == ["Buyer", "VIP"]
    assert line["identities"] == [{"kind": "user", "source": "", "value": "auth0|7"}]
    assert [note["description"] for note in line["notes"]] == ["Likes tea."]


def test_a_table_of_contacts_has_a_row_each_and_the_chosen_columns(ada: Subscriber) -> None:
    create({"email": "bob@example.com"})
    chosen = ["email", "user_id", "tags", "custom:plan", "postal_code"]
    text = export("contacts", "csv", columns=chosen)
    assert text.splitlines() == [
        "email,user_id,tags,custom:plan,postal_code",
        'ada@example.com,auth0|7,"Buyer, VIP",gold,01067',
        "bob@example.com,,,,",
    ]


def test_a_table_of_contacts_has_all_columns_by_default(ada: Subscriber) -> None:
    [row] = rows(export("contacts", "csv"))
    assert row["email"] == "ada@example.com"
    assert row["custom:plan"] == "gold"
    assert "email_key" not in row


def test_an_export_of_events_has_their_occurrences(ada: Subscriber) -> None:
    found = lines(export("events", "ndjson"))
    assert [(each["type"], each["event_key"]) for each in found] == [
        ("event", "checkout"),
        ("event", "login"),
        ("occurrence", "checkout"),
        ("occurrence", "checkout"),
        ("occurrence", "login"),
    ]
    assert (found[0]["counter"], found[0]["unlogged"], found[0]["email"]) == (2, 0, ada.email)
    assert (found[2]["event_id"], found[2]["properties"]) == (found[0]["id"], {"total": 5})


def test_only_chosen_events_are_exported(ada: Subscriber) -> None:
    options = {"event_keys": ["checkout"], "since": "2025-06-01T00:00:00+00:00"}
    [row] = rows(export("occurrences", "csv", **options))
    assert (row["event_key"], row["value"], row["counter"]) == ("checkout", "2", "2")


def test_a_table_of_events_has_counters(ada: Subscriber) -> None:
    found = rows(export("events", "csv"))
    assert [(row["event_key"], row["counter"]) for row in found] == [
        ("checkout", "2"),
        ("login", "1"),
    ]


def test_an_export_that_fails_leaves_no_file(
    ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Iterator[str]:
        yield "{}\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports.contacts, "contact_lines", fail)
    create_export(ExportOptions("contacts", "ndjson"), created_by=None)
    job = run_next()
    assert job.error == "The files of the job cannot be used: No space left on device."
    assert list((job.path / RESULTS).iterdir()) == []


def test_files_are_deleted_a_week_after_the_end_and_the_job_stays(ada: Subscriber) -> None:
    export("contacts", "csv")
    assert prune_files() == 0
    Job.objects.update(ended_at=timezone.now() - jobs.KEEP_FILES)
    assert prune_files() == 1
    assert Job.objects.get().counts == {"rows": 1}


def test_the_command_writes_a_file_for_its_owner(ada: Subscriber, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    call_command("export", "contacts", str(path), columns="email")
    assert path.read_text().splitlines() == ["email", "ada@example.com"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not Job.objects.get().path.exists()


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("x.txt", {}, "has to end in .ndjson or .csv"),
        ("x.csv", {"columns": "email,nothing"}, "There is no column nothing."),
        ("x.csv", {"since": "yesterday"}, "yesterday is no datetime"),
    ],
)
def test_the_command_rejects_wrong_options(
    file: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("export", "contacts", file, **options)
    assert not Job.objects.exists()


def test_a_store_is_equal_to_its_export(ada: Subscriber, tmp_path: Path) -> None:
    for what in ("contacts", "events"):
        (tmp_path / what).write_text(export(what, "ndjson"))
    numbers, differences = compare([tmp_path / "contacts", tmp_path / "events"])
    assert numbers == {"contact": 1, "event": 2, "occurrence": 3}
    assert differences == []


def test_each_difference_is_named(ada: Subscriber, tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text(export("events", "ndjson"))
    track({"event_key": "login", "title": "Order", "subscriber_id": ada.pk})
    _, differences = compare([path])
    assert [(d.type, d.is_in_files, d.number, d.names) for d in differences] == [
        ("event", True, 1, ["ada@example.com login Order"]),
        ("event", False, 1, ["ada@example.com login Order"]),
        ("occurrence", False, 1, ["ada@example.com login Order"]),
    ]


def test_another_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text('{"type": "track"}\n')
    with pytest.raises(CommandError, match="line 1, is no line of an export"):
        call_command("compare_export", str(path))


@pytest.fixture
def browser(admin: User) -> Client:
    return browser_of(admin)


FORM = {"what": "contacts", "reader": "programs", "columns": ["email"], "event_keys": ""}


def test_the_form_starts_an_export_whose_page_has_its_file(
    browser: Client, ada: Subscriber
) -> None:
    response = browser.post("/admin/transfers/export/add/", FORM, follow=True)
    job = Job.objects.get()
    assert response.redirect_chain == [(f"/admin/crm/job/{job.pk}/change/", 302)]
    assert "Waiting" in text_of(response.content.decode())
    run_next()
    page = open_page(browser, f"/admin/crm/job/{job.pk}/change/")
    [path] = (job.path / RESULTS).iterdir()
    assert "Rows 1" in " ".join(text_of(page).split())
    file: Any = browser.get(f"/admin/crm/job/{job.pk}/files/{path.name}")
    assert file.getvalue() == b"email\r\nada@example.com\r\n"


def test_an_export_stands_in_the_history(browser: Client, admin: User) -> None:
    browser.post("/admin/transfers/export/add/", FORM)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr) == (admin, "Export contacts as CSV")


def test_who_may_not_see_events_exports_no_events(ada: Subscriber) -> None:
    user = staff_user("view_subscriber", "view_job")
    browser = browser_of(user)
    response = browser.post("/admin/transfers/export/add/", FORM | {"what": "events"})
    assert "You may not see events." in text_of(response.content.decode())
    assert not Job.objects.exists()


def test_who_may_not_see_events_gets_no_file_of_events(ada: Subscriber) -> None:
    export("events", "csv")
    job = Job.objects.get()
    [path] = (job.path / RESULTS).iterdir()
    browser = browser_of(staff_user("view_subscriber", "view_job"))
    response = browser.get(f"/admin/crm/job/{job.pk}/files/{path.name}")
    assert response.status_code == 404


@pytest.mark.parametrize("name", ["nothing", "..%2Fdraft", "..", "%00"])
def test_no_other_file_is_sent(browser: Client, ada: Subscriber, name: str) -> None:
    export("contacts", "csv")
    (Job.objects.get().path / "draft").write_text("secret")
    response = browser.get(f"/admin/crm/job/{Job.objects.get().pk}/files/{name}")
    assert response.status_code == 404


def test_a_job_that_waits_is_stopped_and_goes_on(browser: Client) -> None:
    browser.post("/admin/transfers/export/add/", FORM)
    job = Job.objects.get()
    page = browser.post(f"/admin/crm/job/{job.pk}/stop/", follow=True).content.decode()
    assert "Stopped" in text_of(page)
    page = browser.post(f"/admin/crm/job/{job.pk}/go-on/", follow=True).content.decode()
    assert "Waiting" in text_of(page)


def test_half_a_file_is_neither_listed_nor_kept(ada: Subscriber, admin: User) -> None:
    job = create_export(ExportOptions("contacts", "ndjson"), created_by=None)
    draft = job.path / RESULTS / ".contacts.ndjson.x1"
    draft.parent.mkdir(parents=True)
    draft.write_text("half")
    browser = browser_of(admin)
    assert draft.name not in open_page(browser, f"/admin/crm/job/{job.pk}/change/")
    assert browser.get(f"/admin/crm/job/{job.pk}/files/{draft.name}").status_code == 404
    run_next()
    assert not draft.exists()
