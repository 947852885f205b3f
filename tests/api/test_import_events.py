"""Imports of events by a job: exactly once, with counters, Segment's calls, and own exports."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from crm.contacts import create, delete_contacts
from crm.jobs import RESULTS
from crm.merging import merge_contacts
from crm.models import Job, JobState, Subscriber
from events.maintenance import KEEP_IMPORT_KEYS, prune_idempotency_keys, prune_occurrences
from events.models import EventOccurrence, IdempotencyKey, ImportedEvent, TrackedEvent
from events.tracking import track
from events.tracking.corrections import take_back
from events.verification import find_differences, find_orphans
from tests.api.jobs import run_next
from tests.api.snapshots import without_snapshots
from transfers.comparison import compare
from transfers.exports import ExportOptions, create_export
from transfers.imports import events as import_events
from transfers.store import store_id

pytestmark = pytest.mark.django_db
TABLE = """email,event,value,timestamp,counter
ada@example.com,login,1,2025-01-01T00:00:00Z,
ada@example.com,login,2,2025-01-02T00:00:00Z,
ada@example.com,login,2,2025-01-02T00:00:00Z,
eve@example.com,login,3,2025-01-03T00:00:00Z,
ada@example.com,,4,2025-01-04T00:00:00Z,
bob@example.com,visit,5,2025-01-05T00:00:00Z,47
"""


@pytest.fixture(autouse=True)
def in_transaction(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Let jobs run inside the test's transaction, in a folder of the test."""
    settings.FILES_DIR = tmp_path / "files"
    with without_snapshots():
        yield


@pytest.fixture(autouse=True)
def ada() -> Subscriber:
    """Ada, and Bob."""
    create({"email": "bob@example.com"})
    return create({"email": "ada@example.com"})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file of six rows: a contact that is not there, a row without an event, a counter."""
    path = tmp_path / "events.csv"
    path.write_text(TABLE)
    return path


def run_import(path: Path, **options: Any) -> dict[str, int]:
    """Import events by the command. Returns the numbers of the job."""
    call_command("import_events", str(path), stdout=StringIO(), **options)
    counts: dict[str, int] = Job.objects.latest("pk").counts
    return counts


def counters() -> list[tuple[str, str, int, int]]:
    """The e-mail, key, counter and unlogged of all events, after a check of the store."""
    assert find_differences() == []
    assert [fault for fault in find_orphans() if fault.number] == []
    rows = TrackedEvent.objects.order_by("subscriber__email", "event_key", "id")
    return [*rows.values_list("subscriber__email", "event_key", "counter", "unlogged")]


def rejected() -> list[dict[str, str]]:
    path = Job.objects.latest("pk").path / RESULTS / "rejected.csv"
    return list(csv.DictReader(StringIO(path.read_text(encoding="utf-8-sig"))))


def test_each_row_is_counted_and_a_counter_has_no_occurrences(table: Path) -> None:
    assert run_import(table) == {"imported": 4, "rejected": 2}
    assert counters() == [
        ("ada@example.com", "login", 3, 0),
        ("bob@example.com", "visit", 47, 47),
    ]
    event = TrackedEvent.objects.get(event_key="login")
    assert (event.value, event.title, event.updated_at.day) == ("2", "login", 2)


def test_rejected_rows_say_why(table: Path) -> None:
    run_import(table)
    reasons = [(row["row number"], row["reason"]) for row in rejected()]
    assert reasons == [
        ("5", "Subscriber not found"),
        ("6", "The event_key field is required. The title field is required."),
    ]


def test_the_same_file_again_changes_nothing(table: Path) -> None:
    run_import(table)
    before = counters()
    assert run_import(table) == {"there already": 4, "rejected": 2}
    assert counters() == before


def test_a_corrected_file_adds_what_is_new(table: Path) -> None:
    run_import(table)
    create({"email": "eve@example.com"})
    table.write_text(TABLE.replace(",47", ",50").replace("com,,4", "com,login,4"))
    assert run_import(table) == {"imported": 3, "there already": 3}
    assert counters() == [
        ("ada@example.com", "login", 4, 0),
        ("bob@example.com", "visit", 50, 50),
        ("eve@example.com", "login", 1, 0),
    ]


def test_a_counter_that_shrank_changes_nothing_and_is_remarked(table: Path) -> None:
    run_import(table)
    table.write_text(TABLE.replace(",47", ",40"))
    run_import(table)
    assert counters()[1] == ("bob@example.com", "visit", 47, 47)
    remarks = (Job.objects.latest("pk").path / RESULTS / "remarks.csv").read_text("utf-8-sig")
    assert "The source has counted 40, and 47 were imported before." in remarks


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_size_of_steps_makes_no_difference(
    table: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(import_events, "ROWS_PER_STEP", size)
    assert run_import(table) == {"imported": 4, "rejected": 2}
    assert run_import(table, fast=True) == {"there already": 4, "rejected": 2}


def test_the_total_is_the_number_of_rows_although_quotes_hide_a_line_end(tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    rows = ('ada@example.com,5" pipe,"a', 'b",6" pipe', "ada@example.com,x,y,z")
    path.write_text("\n".join(["email,event,title,provider", *rows]))
    run_import(path)
    job = Job.objects.latest("pk")
    assert (job.done, job.total, job.counts) == (2, 2, {"imported": 2})


def test_a_trial_counts_and_stores_nothing(table: Path) -> None:
    assert run_import(table, dry_run=True) == {"imported": 4, "rejected": 2}
    assert not TrackedEvent.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert not ImportedEvent.objects.exists()


def test_unknown_contacts_are_created_where_it_is_chosen(table: Path) -> None:
    assert run_import(table, new_contacts="pending") == {"imported": 5, "rejected": 1}
    assert Subscriber.objects.get(email="eve@example.com").status == "pending"


def test_keys_of_imports_are_kept_for_ninety_days(table: Path) -> None:
    run_import(table)
    IdempotencyKey.objects.update(created_at=timezone.now() - KEEP_IMPORT_KEYS + timedelta(1))
    assert prune_idempotency_keys() == 0
    IdempotencyKey.objects.update(created_at=timezone.now() - KEEP_IMPORT_KEYS)
    assert prune_idempotency_keys() == 3


def test_calls_of_segment_are_events_with_their_message_ids(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"type": "track", "event": "Bought", "properties": {"total": 5}, "messageId": "m1"},
        {"type": "track", "event": "Bought", "properties": {"total": 5}, "messageId": "m1"},
        {"type": "page", "name": "Pricing", "messageId": "m2"},
        {"type": "identify", "traits": {"plan": "gold"}, "messageId": "m3"},
    ]
    contact = create({"email": "grace@example.com", "user_id": "auth0|7"})
    path = tmp_path / "segment.ndjson"
    times = {"userId": "auth0|7", "timestamp": "2026-01-01T10:00:00.123Z"}
    path.write_text("\n".join(json.dumps({**line, **times}) for line in lines))
    assert run_import(path) == {"imported": 2, "there already": 1, "rejected": 1}
    events = TrackedEvent.objects.filter(subscriber=contact).order_by("event_key")
    found = [(each.event_key, each.title, each.counter) for each in events]
    assert found == [("Bought", "Bought", 1), ("page", "Pricing", 1)]
    assert EventOccurrence.objects.get(event__event_key="Bought").properties == {"total": 5}
    assert 'A row of the type "identify" is no event.' in rejected()[0]["reason"]


def test_a_key_that_is_another_event_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    header = "email,event,messageId,timestamp\n"
    path.write_text(f"{header}ada@example.com,login,m1,2025-01-01T00:00:00Z\n")
    run_import(path)
    path.write_text(f"{header}ada@example.com,logout,m1,2025-01-01T00:00:00Z\n")
    assert run_import(path) == {"rejected": 1}
    assert [row[1] for row in counters()] == ["login"]


@pytest.fixture
def history(ada: Subscriber) -> None:
    """Events of Ada: counted, pruned in part, taken back in part, and rows that do not repeat."""
    event = {"event_key": "checkout", "title": "Order", "email": "ada@example.com"}
    for day in range(1, 6):
        at = f"2025-01-0{day}T00:00:00.123456Z"
        track({**event, "value": str(day), "occurred_at": at, "properties": {"n": day / 3}})
    for day in (1, 2):
        track({**event, "title": "Once", "occurred_at": f"2025-02-0{day}T00:00:00Z"}, False)
    second = EventOccurrence.objects.order_by("id")[1]
    take_back(ada.pk, [second.pk])
    prune_occurrences(datetime(2025, 1, 2, tzinfo=UTC), None, lambda *_: None)


def export(tmp_path: Path) -> Path:
    """Export all events. Returns the path of the file."""
    create_export(ExportOptions("events", "ndjson"), created_by=None)
    [result] = (run_next().path / RESULTS).iterdir()
    path = tmp_path / "export.ndjson"
    path.write_bytes(result.read_bytes())
    return path


@pytest.mark.usefixtures("history")
def test_an_export_that_is_imported_elsewhere_makes_equal_events(
    tmp_path: Path, ada: Subscriber
) -> None:
    path = export(tmp_path)
    path.write_text(path.read_text().replace(store_id(), "another"))
    delete_contacts([ada.pk])
    create({"email": "ada@example.com"})
    run_import(path)
    before = counters()
    _, differences = compare([path])
    assert differences == []
    assert run_import(path).get("imported", 0) == 0
    assert counters() == before


@pytest.mark.usefixtures("history")
def test_an_export_of_this_store_is_rejected(tmp_path: Path) -> None:
    path = export(tmp_path)
    with pytest.raises(CommandError, match="was exported from this store"):
        run_import(path)
    assert Job.objects.latest("pk").state == JobState.FAILED


def test_what_was_imported_follows_a_merge(table: Path, ada: Subscriber) -> None:
    run_import(table)
    bob = Subscriber.objects.get(email="bob@example.com")
    merge_contacts(ada.pk, ("contact", str(bob.pk)))
    table.write_text(TABLE.replace(",47", ",50"))
    assert run_import(table) == {"imported": 1, "there already": 3, "rejected": 2}
    assert counters() == [
        ("ada@example.com", "login", 3, 0),
        ("ada@example.com", "visit", 50, 50),
    ]


def test_a_deleted_contact_takes_what_was_imported_along(table: Path, ada: Subscriber) -> None:
    run_import(table)
    delete_contacts([Subscriber.objects.get(email="bob@example.com").pk])
    assert not ImportedEvent.objects.exists()
