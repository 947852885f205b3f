"""Imports start no automation, unless their user has chosen so."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from automations.models import Run
from crm.models import OutboxEntry, Subscriber, Tag
from events.models import EventOccurrence
from tests.api.automation import CHECKOUT, happens, published, work
from tests.api.snapshots import without_snapshots

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def in_transaction(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Let jobs run inside the test's transaction, in a folder of the test."""
    settings.FILES_DIR = tmp_path / "files"
    with without_snapshots():
        yield


def import_rows(tmp_path: Path, command: str, *rows: str, **options: Any) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(rows))
    call_command(command, str(path), stdout=StringIO(), **options)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_imported_contacts_start_where_it_is_chosen(tmp_path: Path, is_chosen: bool) -> None:
    vip = Tag.objects.create(title="VIP", slug="vip")
    published(trigger={"type": "tag_added", "tags": [vip.pk]}, only_subscribed=False)
    published(trigger={"type": "contact_created"}, title="New", only_subscribed=False)
    rows = ("email,tags", "new@example.com,VIP")
    import_rows(tmp_path, "import_contacts", *rows, start_automations=is_chosen)
    work()
    assert Run.objects.count() == (2 if is_chosen else 0)


@pytest.mark.parametrize("is_chosen", [False, True])
def test_imported_events_start_where_it_is_chosen(
    tmp_path: Path, ada: Subscriber, is_chosen: bool
) -> None:
    published()
    now = timezone.now().isoformat()
    rows = ("email,event,timestamp", f"{ada.email},checkout,{now}")
    import_rows(tmp_path, "import_events", *rows, start_automations=is_chosen)
    work()
    assert Run.objects.count() == is_chosen
    assert not OutboxEntry.objects.exists()


def test_old_imported_events_start_nothing(tmp_path: Path, ada: Subscriber) -> None:
    published()
    rows = ("email,event,timestamp", f"{ada.email},checkout,2025-01-01T00:00:00Z")
    import_rows(tmp_path, "import_events", *rows, start_automations=True)
    work()
    assert not Run.objects.exists()


@pytest.mark.parametrize("counter", ["", "5"])
def test_an_import_while_entries_wait_leaves_their_numbers(
    tmp_path: Path, ada: Subscriber, counter: str
) -> None:
    published(trigger={**CHECKOUT, "times": 2, "when": "at"})
    for number in range(3):
        happens(ada, title=f"Order {number}")
    day = (timezone.now() - timedelta(days=9)).isoformat()
    rows = ("email,event,timestamp,counter", f"{ada.email},checkout,{day},{counter}")
    import_rows(tmp_path, "import_events", *rows)
    work()
    second = EventOccurrence.objects.order_by("id")[1]
    assert Run.objects.get().occurrence_id == second.pk
