"""All data of a contact in one file, and its erasure with a receipt: in the admin, by command."""

import hashlib
import io
import json
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.database import fetch_rows
from crm.attachments import attach
from crm.contacts import create, set_user_id
from crm.label_deletion import delete_labels
from crm.labels import resolve_label_ids
from crm.models import Subscriber
from crm.segments import create_segment
from events import personal_data
from events.models import EventOccurrence, IdempotencyKey, TrackedEvent
from events.tracking import track
from events.tracking.batches import track_many
from tests.api.pages import CONTACTS, browser_of, open_page, staff_user
from tests.api.snapshots import without_snapshots

HOSTILE = "<script>alert(1)</script> =cmd|' /C calc'!A0 \u202eRTL 😀 \u2028\n\"quoted\""
CUSTOM_VALUES = {"note": HOSTILE, "large": 10**308}
# Titles and keys are one line.
HOSTILE_LINE = HOSTILE.replace("\n", " ")
ORDER = {
    "event_key": "order",
    "title": HOSTILE_LINE,
    "value": (HOSTILE * 1000)[:65_535],
    "properties": {"text": HOSTILE, "number": 1e22},
    "context": {"url": "https://example.com/"},
    "occurred_at": "2026-01-02T03:04:05.678901+01:00",
    "idempotency_key": HOSTILE_LINE,
    "email": "ada@example.com",
}
ADAS = [[{"source": ["subscriber", "email"], "operator": "contains", "value": "ada"}]]
VIEWS = ("view_subscriber", "view_trackedevent", "view_eventoccurrence")
INLINE = re.compile(r"<script(?![^>]* src=)(?![^>]*application/json)|<style| style=")


@pytest.fixture(autouse=True)
def in_transaction(db: None) -> Iterator[None]:
    """Let an export run inside the test's transaction."""
    with without_snapshots():
        yield


@pytest.fixture
def contact(db: None) -> Subscriber:
    """The contact Ada@Example.com, with a hostile first name."""
    return create({"email": "Ada@Example.com", "first_name": HOSTILE, "latitude": "12.5"})


@pytest.fixture
def other(db: None) -> Subscriber:
    """The contact other@example.com."""
    return create({"email": "other@example.com"})


def page_of(contact: Subscriber, name: str) -> str:
    """Return the path of a page below the contact's page."""
    return f"{CONTACTS}{contact.pk}/{name}"


def export(browser: Client, contact: Subscriber) -> Any:
    """Return the content of the file that the admin exports."""
    response: Any = browser.get(page_of(contact, "export/"))
    assert response.status_code == 200
    body = response.getvalue()
    assert response["Content-Length"] == str(len(body))
    return json.loads(body)


def export_by_command(*arguments: str) -> str:
    """Return what the command export_contact writes to stdout."""
    out = io.StringIO()
    call_command("export_contact", *arguments, stdout=out)
    return out.getvalue()


def columns_of(model: type[models.Model]) -> set[str]:
    """Return the names of all columns of a model's table."""
    return {str(field.column) for field in model._meta.concrete_fields}


@pytest.fixture
def exported(admin_user: User, admin_client: Client, contact: Subscriber, other: Subscriber) -> Any:
    """The export of the contact, which has labels, a segment and an order; so has another one."""
    contact.custom_values = CUSTOM_VALUES
    contact.save()
    for kind in ("tags", "lists"):
        attach(kind, [contact.pk], resolve_label_ids(kind, [f"Of {kind}"], create=True))
    create_segment({"title": "Adas", "slug": "adas", "filters": ADAS})
    track(ORDER, created_by=admin_user.pk)
    track({"event_key": "order", "title": "again", "email": other.email})
    TrackedEvent.objects.filter(subscriber=contact).update(counter=6, unlogged=5)
    return export(admin_client, contact)


def test_the_export_has_every_column_of_the_contact(exported: Any) -> None:
    assert set(exported["contact"]) == columns_of(Subscriber)
    assert exported["contact"]["email"] == "Ada@Example.com"
    assert exported["contact"]["first_name"] == HOSTILE
    assert exported["contact"]["custom_values"] == CUSTOM_VALUES


@pytest.mark.parametrize(
    ("kind", "field", "values"),
    [
        ("tags", "title", ["Of tags"]),
        ("lists", "title", ["Of lists"]),
        ("segments", "slug", ["adas"]),
    ],
)
def test_the_export_has_the_labels_and_segments(
    exported: Any, kind: str, field: str, values: list[str]
) -> None:
    assert [row[field] for row in exported[kind]] == values


def test_the_export_leaves_out_a_segment_whose_tag_was_deleted(
    admin_client: Client, contact: Subscriber
) -> None:
    [tag_id] = resolve_label_ids("tags", ["Gone"], create=True)
    gone = [[{"source": ["segment", "tags"], "operator": "not_in", "value": [tag_id]}]]
    create_segment({"title": "Not gone", "slug": "not-gone", "filters": gone})
    create_segment({"title": "Everyone", "slug": "everyone", "filters": []})
    delete_labels("tags", [tag_id], force=True)
    segments = export(admin_client, contact)["segments"]
    assert [segment["slug"] for segment in segments] == ["everyone"]


def test_the_export_has_the_ids_that_programs_gave_the_contact(ada: Subscriber) -> None:
    set_user_id(ada, "auth0|5f7c")
    pieces: list[str] = []
    with without_snapshots():
        personal_data.export_contact(ada.pk, pieces.append)
    expected = {"kind": "user", "source": "", "value": "auth0|5f7c"}
    assert json.loads("".join(pieces))["identities"] == [expected]


def test_the_export_has_every_column_of_the_contacts_own_events(
    exported: Any, admin_user: User
) -> None:
    [event] = exported["events"]
    assert set(event) == columns_of(TrackedEvent)
    assert (event["title"], event["value"]) == (ORDER["title"], ORDER["value"])
    assert (event["counter"], event["unlogged"]) == (6, 5)
    assert event["created_by_id"] == admin_user.pk


def test_the_export_has_the_occurrences_as_they_were_sent(exported: Any) -> None:
    [occurrence] = exported["occurrences"]
    for name in ("properties", "context", "idempotency_key"):
        assert occurrence[name] == ORDER[name]
    assert occurrence["occurred_at"] == "2026-01-02T02:04:05.678901+00:00"
    assert datetime.fromisoformat(occurrence["received_at"]).tzinfo


def test_the_export_has_a_header_with_counts(exported: Any) -> None:
    header = exported["export"]
    assert datetime.fromisoformat(header["exported_at"]).tzinfo
    assert (header["time_zone"], header["tallybook"]) == ("UTC", "0.1.0")
    assert header["counts"] == {
        **{"tags": 1, "lists": 1, "segments": 1},
        **{"events": 1, "occurrences": 1, "notes": 0, "automations": 0, "webhooks": 0},
    }


def test_a_long_history_is_exported_whole_and_read_in_pages(
    admin_client: Client, contact: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    event = {"event_key": "many", "title": "t", "subscriber_id": contact.pk}
    # Ten occurrences have the same datetime. From 1, so that pages end between such ten.
    times = (began + timedelta(seconds=number // 10) for number in range(1, 5002))
    track_many([{**event, "occurred_at": time} for time in times])
    page_sizes: list[int] = []

    def fetch_page(statement: str, *arguments: Any) -> list[Any]:
        rows = fetch_rows(statement, *arguments)
        page_sizes.append(len(rows))
        return rows

    monkeypatch.setattr(personal_data, "fetch_rows", fetch_page)
    with CaptureQueriesContext(connection) as queries:
        content = export(admin_client, contact)
    assert max(page_sizes) == personal_data.OCCURRENCES_PER_STATEMENT
    # The last one reads the notes.
    assert len(page_sizes) == 5001 // personal_data.OCCURRENCES_PER_STATEMENT + 2
    assert len(queries) < 12
    assert content["export"]["counts"]["occurrences"] == 5001
    ids = [occurrence["id"] for occurrence in content["occurrences"]]
    assert len(ids) == len(set(ids)) == 5001
    exported_times = [occurrence["occurred_at"] for occurrence in content["occurrences"]]
    assert exported_times == sorted(exported_times)


@pytest.fixture
def failing_export(contact: Subscriber, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database go away while an export reads occurrences."""
    track({"event_key": "k", "title": "t", "subscriber_id": contact.pk})

    def fail(*_: object) -> list[Any]:
        raise OperationalError("gone")

    monkeypatch.setattr(personal_data, "fetch_rows", fail)


@pytest.mark.usefixtures("failing_export")
def test_an_export_in_the_admin_that_fails_midway_is_503(
    admin_client: Client, contact: Subscriber
) -> None:
    admin_client.raise_request_exception = False
    assert admin_client.get(page_of(contact, "export/")).status_code == 503


@pytest.mark.usefixtures("failing_export")
def test_an_export_by_command_that_fails_midway_leaves_no_file(
    contact: Subscriber, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="does not answer"):
        export_by_command(str(contact.pk), "--output", str(tmp_path / "ada.json"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_export_to_stdout(contact: Subscriber) -> None:
    content = json.loads(export_by_command("ADA@example.COM"))
    assert content["contact"]["id"] == contact.pk


def test_the_command_replaces_a_file_that_only_its_owner_may_read(
    contact: Subscriber, tmp_path: Path
) -> None:
    path = tmp_path / "ada.json"
    path.write_text("older")
    export_by_command(str(contact.pk), "--output", str(path))
    assert json.loads(path.read_text())["contact"]["first_name"] == HOSTILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["eve@example.com", "987654", "9" * 30])
def test_the_command_rejects_an_unknown_contact(contact: Subscriber, name: str) -> None:
    with pytest.raises(CommandError, match=f"No contact has the e-mail or id '{name}'"):
        export_by_command(name)


def test_the_command_reports_a_file_that_cannot_be_written(
    contact: Subscriber, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        export_by_command(str(contact.pk), "--output", str(tmp_path / "no" / "ada.json"))


def add_to_history(user: User, contact_id: int, name: str, flag: int) -> None:
    """Add an entry to the admin's history of a contact."""
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Subscriber),
        object_id=str(contact_id),
        object_repr=name,
        action_flag=flag,
        change_message=f"Changed {name}",
    )


@pytest.fixture
def eventful(admin_user: User, contact: Subscriber, other: Subscriber) -> Subscriber:
    """The contact, with tags, three occurrences and a history; another one has some of it, too."""
    labels = resolve_label_ids("tags", ["One", "Two tags"], create=True)
    attach("tags", [contact.pk, other.pk], labels)
    event = {"event_key": "k", "title": "t"}
    track_many(
        {**event, "subscriber_id": contact.pk, "idempotency_key": key} for key in ("a", "b", "c")
    )
    track({**event, "subscriber_id": other.pk}, idempotency_key="other")
    add_to_history(admin_user, contact.pk, "old-address@example.com", ADDITION)
    # An earlier contact of the same person, which was deleted and not erased.
    add_to_history(admin_user, 4321, "ada@example.com", CHANGE)
    add_to_history(admin_user, other.pk, "other@example.com", ADDITION)
    return contact


def erase(browser: Client, contact: Subscriber) -> Any:
    """Erase the contact in the admin, and return the response after the redirect."""
    return browser.post(page_of(contact, "erase/"), follow=True)


def test_the_erase_page_shows_counts_and_offers_the_export(
    admin_client: Client, eventful: Subscriber
) -> None:
    page = open_page(admin_client, page_of(eventful, "erase/"))
    for text in ("Tags that it has: 2", "Events: 1", "Occurrences: 3"):
        assert text in page
    assert page_of(eventful, "export/") in page
    assert Subscriber.objects.filter(pk=eventful.pk).exists()


def test_erasing_in_the_admin_gives_a_receipt(admin_client: Client, eventful: Subscriber) -> None:
    page = erase(admin_client, eventful).content.decode()
    link = re.search(r'href="([^"]+/receipt.json)"', page)
    assert link
    response: Any = admin_client.get(link[1])
    assert "attachment" in response["Content-Disposition"]
    assert "@" not in response.content.decode()
    receipt = response.json()
    assert receipt["email_sha256"] == hashlib.sha256(b"ada@example.com").hexdigest()
    assert receipt["email_sha256"] in page
    assert (receipt["contact_id"], receipt["erased_by"]) == (eventful.pk, "admin")
    assert datetime.fromisoformat(receipt["erased_at"]).tzinfo
    assert receipt["deleted"] == {
        **{"contacts": 1, "tags": 2, "lists": 0, "notes": 0},
        **{"events": 1, "occurrences": 3, "idempotency_keys": 3},
        **{"automation_runs": 0, "webhook_deliveries": 0},
    }
    assert receipt["made_nameless"] == {"admin_history": 2, "segments": 0, "automations": 0}


def test_the_page_of_an_erased_contact_redirects_to_the_receipt(
    admin_client: Client, eventful: Subscriber
) -> None:
    erase(admin_client, eventful)
    response = admin_client.get(page_of(eventful, ""))
    assert response.headers["Location"] == page_of(eventful, "erased/")


def test_erasing_deletes_events_and_keys_of_this_contact_only(
    admin_client: Client, eventful: Subscriber, other: Subscriber
) -> None:
    erase(admin_client, eventful)
    assert Subscriber.objects.get() == other
    assert TrackedEvent.objects.get().subscriber == other
    assert EventOccurrence.objects.get().subscriber == other
    assert IdempotencyKey.objects.get().key == "other"


def test_erasing_removes_the_contacts_names_from_the_admins_history(
    admin_client: Client, eventful: Subscriber
) -> None:
    erase(admin_client, eventful)
    entries = LogEntry.objects.values_list("object_repr", "change_message")
    history = "".join(f"{name} {message}\n" for name, message in entries)
    assert "ada" not in history.lower()
    assert "old-address" not in history
    assert "other@example.com" in history


@pytest.mark.parametrize("method", ["get", "post"])
def test_erasing_an_erased_contact_reports_that_there_is_none(
    admin_client: Client, contact: Subscriber, method: str
) -> None:
    erase(admin_client, contact)
    response = getattr(admin_client, method)(page_of(contact, "erase/"), follow=True)
    assert f"There is no contact {contact.pk}" in response.content.decode()
    assert LogEntry.objects.filter(object_id=str(contact.pk)).count() == 1


@pytest.mark.parametrize("path", ["987654/export/", "987654/erased/", f"{10**30}/export/"])
def test_the_pages_of_an_unknown_contact_report_that_there_is_none(
    admin_client: Client, path: str
) -> None:
    response = admin_client.get(f"{CONTACTS}{path}", follow=True)
    assert "There is no contact" in response.content.decode()


def test_the_command_rejects_an_erased_contact(admin_client: Client, contact: Subscriber) -> None:
    erase(admin_client, contact)
    with pytest.raises(CommandError, match="nothing was erased"):
        call_command("erase_contact", "ada@example.com", "--yes")


@pytest.mark.parametrize("name", ["export/", "erase/", "erased/", "erased/receipt.json"])
def test_an_admin_user_without_permissions_is_rejected(contact: Subscriber, name: str) -> None:
    assert browser_of(staff_user()).get(page_of(contact, name)).status_code == 403


@pytest.mark.parametrize("permissions", [VIEWS[:1], VIEWS[1:]], ids=["contacts", "events"])
def test_an_admin_user_who_may_view_only_contacts_or_events_may_not_export(
    contact: Subscriber, permissions: tuple[str, ...]
) -> None:
    browser = browser_of(staff_user(*permissions))
    assert browser.get(page_of(contact, "export/")).status_code == 403


def test_an_admin_user_who_may_view_contacts_and_events_may_export(contact: Subscriber) -> None:
    assert export(browser_of(staff_user(*VIEWS)), contact)["contact"]["id"] == contact.pk


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_admin_user_who_may_only_view_may_not_erase(contact: Subscriber, method: str) -> None:
    response = browser_of(staff_user(*VIEWS)).generic(method, page_of(contact, "erase/"))
    assert response.status_code == 403
    assert Subscriber.objects.filter(pk=contact.pk).exists()


def test_an_export_without_a_login_redirects(client: Client, contact: Subscriber) -> None:
    assert client.get(page_of(contact, "export/")).status_code == 302


def test_the_erase_page_has_no_inline_script_or_style(
    admin_client: Client, contact: Subscriber
) -> None:
    assert not INLINE.search(open_page(admin_client, page_of(contact, "erase/")))


def test_the_receipts_page_has_no_inline_script_or_style(
    admin_client: Client, contact: Subscriber
) -> None:
    erase(admin_client, contact)
    assert not INLINE.search(open_page(admin_client, page_of(contact, "erased/")))


class Terminal(io.StringIO):
    """A stdin at which a person types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def question(contact: Subscriber) -> Iterator[io.StringIO]:
    """The stderr of erase_contact, which has to name what would be erased."""
    track({"event_key": "k", "title": "t", "subscriber_id": contact.pk})
    err = io.StringIO()
    yield err
    numbers = (
        "0 tags, 0 lists, 0 notes, 1 events, 1 occurrences, 0 automation runs, 0 webhook deliveries"
    )
    assert f"Ada@Example.com, with {numbers}." in err.getvalue()


def test_the_command_erases_after_a_yes_at_the_terminal(
    contact: Subscriber, question: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    out = io.StringIO()
    call_command("erase_contact", str(contact.pk), stdout=out, stderr=question)
    assert json.loads(out.getvalue())["deleted"]["occurrences"] == 1
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("typed", ["no\n", ""], ids=["no", "end of input"])
def test_the_command_erases_nothing_after_another_answer_at_the_terminal(
    contact: Subscriber, question: io.StringIO, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    with pytest.raises(CommandError, match="Nothing was erased"):
        call_command("erase_contact", str(contact.pk), stdout=io.StringIO(), stderr=question)
    assert Subscriber.objects.count() == 1


def test_the_command_without_a_terminal_demands_yes(
    contact: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    with pytest.raises(CommandError, match="Use --yes"):
        call_command("erase_contact", str(contact.pk))
    assert Subscriber.objects.count() == 1


def test_the_command_with_yes_erases_and_writes_the_receipt(contact: Subscriber) -> None:
    out = io.StringIO()
    call_command("erase_contact", "ada@example.com", "--yes", stdout=out)
    receipt = json.loads(out.getvalue())
    assert receipt["contact_id"] == contact.pk
    assert receipt["erased_by"].startswith("manage.py, ")
    assert not Subscriber.objects.exists()
