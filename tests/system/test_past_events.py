"""Events of the past are imported while others track the same contacts, and a million of them."""

import random
import re
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker, Settings

from config.database import in_transaction
from crm.contacts import create
from crm.merging import merge_contacts
from crm.models import Job
from events.models import ImportedEvent, TrackedEvent
from events.tracking.fields import parse_event
from events.tracking.imported_counts import ImportedCount, import_counts
from events.tracking.imports import EventChunk, Imported, PastEvent, import_events
from events.tracking.row_keys import RowKeys
from tests.databases import use
from tests.long import long
from tests.system.database import (
    assert_nothing_is_orphaned_or_miscounted,
    count_deadlocks,
    counted,
    waiting_for_locks,
)
from tests.system.fixtures import SERVED
from tests.system.server import API, ROOT, Client, Server, wait_until
from tests.system.threads import in_threads

CONTACTS = 6
CHUNKS, ROWS = 6, 1_000
CLIENTS = 8


def row(number: int) -> dict[str, Any]:
    """An event that shares its contact, key and title with many others."""
    return {
        "event_key": f"k{number % 3}",
        "title": f"t{number % 2}",
        "email": f"c{number % CONTACTS}@example.com",
        "occurred_at": f"2024-01-01 00:00:{number % 60:02}",
    }


def test_tracking_goes_on_beside_an_import_of_the_same_contacts(
    server: Server,
    http: Client,
    store: psycopg.Connection,
    django_db_blocker: DjangoDbBlocker,
) -> None:
    for number in range(CONTACTS):
        http.contact(f"c{number}@example.com")
    is_done = threading.Event()

    def send(index: int) -> Counter[int]:
        client = server.client()
        statuses: Counter[int] = Counter()
        number = index
        while not is_done.is_set():
            if index % 2:
                answer = client.track(**row(number))
                statuses[answer.status] += 1
            else:
                events = [row(number + each) for each in range(24)][:: 1 if index % 4 else -1]
                answer = client("POST", f"{API}/subscribers/track-events", {"events": events})
                statuses[answer.status] += len(events)
            number += 1
        client.close()
        return statuses

    def import_history(_: int) -> int:
        chance = random.Random(1)
        keys = RowKeys(b"f")
        with django_db_blocker.unblock(), use(SERVED):
            written = 0
            for chunk in range(CHUNKS):
                fields = [parse_event(row(chance.randrange(36))) for _ in range(ROWS)]
                numbers = range(chunk * ROWS, (chunk + 1) * ROWS)
                events = [
                    PastEvent(each, *keys.keyed(each, number))
                    for each, number in zip(fields, numbers, strict=True)
                ]
                outcomes = in_transaction(import_events)(EventChunk(events, "shop"))
                written += sum(isinstance(each, Imported) for each in outcomes)
        is_done.set()
        return written

    before = count_deadlocks(store)
    results: list[Any] = in_threads(
        CLIENTS + 1, lambda index: send(index) if index < CLIENTS else import_history(index)
    )
    statuses = sum(results[:CLIENTS], Counter[int]())
    assert set(statuses) == {200}
    assert results[CLIENTS] == CHUNKS * ROWS
    assert counted(store) == (statuses[200] + CHUNKS * ROWS,) * 2
    assert count_deadlocks(store) == before
    assert_nothing_is_orphaned_or_miscounted(store)


@pytest.mark.django_db(transaction=True)
def test_two_imports_of_one_source_at_once_count_once() -> None:
    create({"email": "c0@example.com"})
    fields = parse_event(row(0))
    keyed = PastEvent(fields, *RowKeys(b"f").keyed(fields, 0), event="1")
    together = threading.Barrier(4)

    def write(_: int) -> None:
        try:
            together.wait()
            in_transaction(import_counts)([ImportedCount("1", fields, 3)], "shop")
            in_transaction(import_events)(EventChunk([keyed], "shop"))
        finally:
            connection.close()

    in_threads(4, write)
    event, imported = TrackedEvent.objects.get(), ImportedEvent.objects.get()
    assert (event.counter, event.unlogged) == (3, 2)
    assert (imported.counter, imported.logged) == (3, 1)


@pytest.mark.django_db(transaction=True)
def test_a_contact_that_is_merged_while_its_events_are_imported_is_found(
    settings: Settings, tmp_path: Path
) -> None:
    settings.FILES_DIR = tmp_path / "files"
    ada, bob = (create({"email": email}) for email in ("ada@example.com", "bob@example.com"))
    path = tmp_path / "events.csv"
    path.write_text("email,event\nbob@example.com,login\n")

    is_merged = threading.Event()

    def merge() -> None:
        try:
            with transaction.atomic():
                merge_contacts(ada.pk, ("contact", str(bob.pk)))
                is_merged.set()
                # The import has found Bob, and waits for his lock.
                wait_until(lambda: waiting_for_locks(connection.connection))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        merging = threads.submit(merge)
        assert is_merged.wait(10)
        call_command("import_events", str(path), stdout=StringIO())
        merging.result(10)
    assert Job.objects.get().counts == {"imported": 1}
    assert TrackedEvent.objects.get().subscriber_id == ada.pk


@long
def test_a_million_events_are_imported_in_bounded_memory_and_once() -> None:
    # It ends with another code on a machine that is too slow or busy.
    output = subprocess.run(
        [sys.executable, "-m", "tools.bench.imports"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    assert ", imported: 1,000,000\n" in output
    assert ", there already: 1,000,000\n" in output
    assert ", 0 faults" in output
    megabytes = [int(found) for found in re.findall(r"(\d+) MB", output)]
    assert len(megabytes) == 3
    assert max(megabytes) < 400
