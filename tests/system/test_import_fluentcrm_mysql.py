"""Imports of a FluentCRM from its database: a MariaDB with FluentCRM's tables and odd rows."""

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum

from crm.contacts import create, get_for_update, update
from crm.jobs import RESULTS
from crm.models import CustomField, Identity, Job, JobState, List, Subscriber, SubscriberNote, Tag
from events.models import TrackedEvent
from tests.system.mariadb import PASSWORD, Shop, mariadb

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
# Of most rows, long before the import, on the clock of the site.
BEFORE = "2026-03-01 12:00:00"
TAG, LIST = "FluentCrm\\App\\Models\\Tag", "FluentCrm\\App\\Models\\Lists"
FIELDS = (
    'a:2:{i:0;a:5:{s:9:"field_key";s:4:"text";s:4:"type";s:4:"text";s:5:"label";s:4:"Plan";'
    's:4:"slug";s:4:"plan";s:5:"group";s:7:"Verträge";}'
    'i:3;a:5:{s:9:"field_key";s:8:"checkbox";s:4:"type";s:8:"checkbox";s:5:"label";s:6:"Colors";'
    's:4:"slug";s:6:"colors";s:7:"options";a:2:{i:0;s:3:"Red";i:1;s:5:"Grün";}}}'
).replace('s:7:"Verträge"', 's:9:"Verträge"').replace('s:5:"Grün"', 's:5:"Grün"')
COUNTS = {"contacts": 300}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A MariaDB for the tests of this module."""
    with mariadb(tmp_path_factory.mktemp("mariadb")) as shop:
        yield shop


@pytest.fixture
def shop(server: Shop, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An empty shop in Berlin, with two custom fields, two tags and a list."""
    settings.FILES_DIR = tmp_path / "files"
    monkeypatch.setenv("FLUENTCRM_PASSWORD", PASSWORD)
    for table in ("subscribers", "subscriber_meta", "subscriber_pivot", "subscriber_notes"):
        server.run(f"TRUNCATE wp_fc_{table}")
    server.run("TRUNCATE wp_fc_tags; TRUNCATE wp_fc_lists; TRUNCATE wp_fc_meta")
    server.run("TRUNCATE wp_fc_event_tracking; TRUNCATE wp_options")
    for name, value in (("home", "https://shop.example"), ("timezone_string", "Europe/Berlin")):
        server.insert("options", {"option_name": name, "option_value": value})
    option = {"object_type": "option", "key": "contact_custom_fields", "value": FIELDS}
    server.insert("fc_meta", option)
    times = {"created_at": BEFORE, "updated_at": BEFORE}
    server.insert(
        "fc_tags",
        {"id": 7, "title": "VIP ✓", "slug": "vip", "description": "Best", **times},
        {"id": 9, "title": "Größe > 50", "slug": "groesse-50", **times},
    )
    server.insert("fc_lists", {"id": 7, "title": "News", "slug": "news", "is_public": 1, **times})
    return server


def contact(shop: Shop, number: int, **columns: Any) -> None:
    row = {"id": number, "email": f"c{number}@example.com", "status": "subscribed"}
    shop.insert("fc_subscribers", {**row, "created_at": BEFORE, "updated_at": BEFORE, **columns})


def attach(shop: Shop, number: int, label: int, kind: str = TAG, at: str = BEFORE) -> None:
    row = {"subscriber_id": number, "object_id": label, "object_type": kind, "created_at": at}
    shop.insert("fc_subscriber_pivot", row)


def event(shop: Shop, contact_id: int, counter: int | None = 1, **columns: Any) -> None:
    row = {"subscriber_id": contact_id, "counter": counter, "event_key": "buy", "title": "Bought"}
    shop.insert("fc_event_tracking", {**row, "created_at": BEFORE, "updated_at": BEFORE, **columns})


def now() -> str:
    """The time of the site's clock."""
    return datetime.now(BERLIN).strftime("%Y-%m-%d %H:%M:%S")


def run(shop: Shop, **options: Any) -> tuple[Job, str]:
    """Import the shop by the command. Returns the job, and what was printed."""
    out = StringIO()
    call_command("import_fluentcrm", shop.url, stdout=out, **options)
    return Job.objects.latest("pk"), out.getvalue()


def report(job: Job, name: str) -> list[dict[str, str]]:
    text = (job.path / RESULTS / name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(StringIO(text, newline="")))


def counts(job: Job) -> dict[str, int]:
    return {name: number for name, number in job.counts.items() if number}


def test_a_contact_comes_with_everything(shop: Shop) -> None:
    contact(
        shop,
        12,
        **{"first_name": "Zoë 🦊", "user_id": 4, "latitude": "52.52", "date_of_birth": "1990-12-31"},
        **{"life_time_value": 99, "last_activity": "2026-07-01 08:00:00", "phone": "+49 30 1"},
    )
    meta = {"subscriber_id": 12, "object_type": "custom_field", "created_by": 1}
    shop.insert("fc_subscriber_meta", {**meta, "key": "plan", "value": "pro"})
    shop.insert("fc_subscriber_meta", {**meta, "key": "colors", "value": 'a:1:{i:0;s:3:"Red";}'})
    attach(shop, 12, 7)
    attach(shop, 12, 7, LIST)
    note = {"subscriber_id": 12, "title": "Call", "description": "Hi", "type": "call"}
    shop.insert("fc_subscriber_notes", {**note, "created_at": BEFORE})
    event(shop, 12, 47, value="99", provider="woo", updated_at="2026-07-01 08:00:00")
    job, printed = run(shop)
    zoe = Subscriber.objects.get(email="c12@example.com")
    assert (zoe.first_name, str(zoe.latitude), str(zoe.date_of_birth), zoe.life_time_value) == (
        *("Zoë 🦊", "52.52000000", "1990-12-31", 99),
    )
    assert zoe.created_at == datetime(2026, 3, 1, 12, tzinfo=BERLIN)
    assert zoe.last_activity == datetime(2026, 7, 1, 8, tzinfo=BERLIN)
    assert zoe.custom_values == {"plan": "pro", "colors": ["Red"]}
    assert {*Identity.objects.values_list("kind", "source", "value")} == {
        ("user", "", "4"),
        ("contact", "shop.example", "12"),
    }
    assert [*zoe.tags.values_list("title", "slug", "description")] == [("VIP ✓", "vip", "Best")]
    assert [*zoe.lists.values_list("title", "is_public")] == [("News", True)]
    assert [*CustomField.objects.values_list("slug", "type", "options", "group")] == [
        ("plan", "text", [], "Verträge"),
        ("colors", "checkbox", ["Red", "Grün"], ""),
    ]
    assert [*SubscriberNote.objects.values_list("title", "description", "type")] == [
        ("Call", "Hi", "call")
    ]
    found = TrackedEvent.objects.get()
    assert (found.counter, found.unlogged, found.value, found.provider) == (47, 47, "99", "woo")
    assert found.created_at == zoe.created_at
    assert found.updated_at == zoe.last_activity
    print(printed)
    assert "differs" not in printed
    assert job.state == JobState.DONE
