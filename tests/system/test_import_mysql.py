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

from crm import jobs
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
TABLES = (
    *("options", "fc_subscribers", "fc_subscriber_meta", "fc_subscriber_pivot", "fc_tags"),
    *("fc_subscriber_notes", "fc_lists", "fc_meta", "fc_event_tracking"),
)
# As PHP serializes them: lengths are bytes, and the array has a gap.
FIELDS = (
    'a:3:{i:0;a:5:{s:9:"field_key";s:4:"text";s:4:"type";s:4:"text";s:5:"label";s:4:"Plan";'
    's:4:"slug";s:4:"plan";s:5:"group";s:9:"Verträge";}'
    'i:2;a:4:{s:9:"field_key";s:6:"number";s:4:"type";s:6:"number";s:5:"label";s:4:"Size";'
    's:4:"slug";s:4:"size";}'
    'i:3;a:5:{s:9:"field_key";s:8:"checkbox";s:4:"type";s:8:"checkbox";s:5:"label";s:6:"Colors";'
    's:4:"slug";s:6:"colors";s:7:"options";a:2:{i:0;s:3:"Red";i:1;s:5:"Grün";}}}'
)


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
    # Another connection does not see the job in the test's transaction.
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 600)
    for table in TABLES:
        server.run(f"DELETE FROM wp_{table}")
    for name, value in (("home", "https://shop.example"), ("timezone_string", "Europe/Berlin")):
        server.insert("options", {"option_name": name, "option_value": value})
    option = {"object_type": "option", "key": "contact_custom_fields", "value": FIELDS}
    server.insert("fc_meta", option)
    times = {"created_at": BEFORE, "updated_at": BEFORE}
    server.insert(
        "fc_tags",
        {"id": 7, "title": "VIP ✓", "slug": "vip", "description": "Best", **times},
        {"id": 9, "title": "Größe > 50", "slug": "g-50", "description": None, **times},
    )
    server.insert("fc_lists", {"id": 7, "title": "News", "slug": "news", "is_public": 1, **times})
    return server


def contact(shop: Shop, number: int, **columns: Any) -> None:
    shop.insert("fc_subscribers", contact_row(number, **columns))


def contact_row(number: int, **columns: Any) -> dict[str, Any]:
    row = {"id": number, "email": f"c{number}@example.com", "status": "subscribed"}
    return {**row, "created_at": BEFORE, "updated_at": BEFORE, **columns}


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
        **{
            "first_name": "Zoë 🦊",
            "user_id": 4,
            "latitude": "52.52",
            "date_of_birth": "1990-12-31",
        },
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
        ("size", "number", [], ""),
        ("colors", "checkbox", ["Red", "Grün"], ""),
    ]
    assert [*SubscriberNote.objects.values_list("title", "description", "type")] == [
        ("Call", "Hi", "call")
    ]
    found = TrackedEvent.objects.get()
    assert (found.counter, found.unlogged, found.value, found.provider) == (47, 47, "99", "woo")
    assert found.created_at == zoe.created_at
    assert found.updated_at == zoe.last_activity
    assert "differs" not in printed
    assert job.state == JobState.DONE


def test_odd_rows_are_written_or_named(shop: Shop) -> None:
    zero = "0000-00-00 00:00:00"
    contact(shop, 1, email="nobody")
    contact(shop, 2, status="", created_at=zero, updated_at=zero, date_of_birth="0000-00-00")
    contact(shop, 3, status="vip", avatar="javascript:1", created_at=None, updated_at=None)
    contact(shop, 4, status="unsubscribed")
    meta = {"subscriber_id": 4, "object_type": "custom_field", "created_by": 1}
    shop.insert("fc_subscriber_meta", {**meta, "key": "size", "value": "many"})
    shop.insert("fc_subscriber_meta", {**meta, "key": "plan", "value": 'a:1:{i:0;O:3:"Foo":0:{}}'})
    attach(shop, 4, 555)
    event(shop, 1)
    event(shop, 4, None, title="x " * 90 + "long", value=None, created_at=zero, updated_at=zero)
    event(shop, 4, 3, event_key=" ")
    job, _ = run(shop)
    rows = Subscriber.objects.order_by("email").values_list("email", "status", "custom_values")
    assert [*rows] == [
        ("c2@example.com", "pending", {}),
        ("c3@example.com", "pending", {}),
        ("c4@example.com", "unsubscribed", {"plan": 'a:1:{i:0;O:3:"Foo":0:{}}'}),
    ]
    rejected = [(each["email"], each["event"]) for each in report(job, "rejected.csv")]
    assert rejected == [("nobody", ""), ("c4@example.com", " ")]
    [size] = [each for each in report(job, "remarks.csv") if each["email"] == "c4@example.com"]
    assert "written without this" in size["reason"]
    assert TrackedEvent.objects.get().counter == 1


def test_notes_of_companies_and_of_the_system_do_not_come(shop: Shop) -> None:
    contact(shop, 1)
    for status, title in (("open", None), ("_company_note_", "A"), ("_system_log_", "B")):
        row = {"subscriber_id": 1, "status": status, "title": title, "description": "d"}
        shop.insert("fc_subscriber_notes", {**row, "created_at": BEFORE})
    run(shop)
    assert [*SubscriberNote.objects.values_list("title", "description")] == [("Note", "d")]


def test_rows_of_the_same_event_stay_apart(shop: Shop) -> None:
    contact(shop, 1)
    for counter in (5, 1, 1):
        event(shop, 1, counter)
    for _ in range(2):
        _, printed = run(shop)
        assert "differs" not in printed
    rows = TrackedEvent.objects.order_by("id").values_list("counter", "repeatable")
    assert [*rows] == [(5, True), (1, False), (1, False)]


def fill(shop: Shop, number: int) -> None:
    """Add contacts, each with a tag, a note and two events."""
    ids = range(1, number + 1)
    shop.insert(
        "fc_subscribers",
        *(contact_row(each, status=("subscribed", "bounced")[each % 2]) for each in ids),
    )
    shop.run(
        "INSERT INTO wp_fc_event_tracking (subscriber_id, counter, event_key, title) "
        "SELECT id, id, 'buy', 'Bought' FROM wp_fc_subscribers UNION ALL "
        "SELECT id, 1, 'login', 'In' FROM wp_fc_subscribers"
    )
    shop.run(
        "INSERT INTO wp_fc_subscriber_pivot (subscriber_id, object_id, object_type) "
        "SELECT id, 7, 'FluentCrm\\\\App\\\\Models\\\\Tag' FROM wp_fc_subscribers"
    )
    shop.run(
        "INSERT INTO wp_fc_subscriber_notes (subscriber_id, title, description, created_at) "
        "SELECT id, 'Hello', email, created_at FROM wp_fc_subscribers"
    )


def state() -> tuple[Any, ...]:
    """Everything that an import writes."""
    return (
        [*Subscriber.objects.order_by("id").values()],
        [*Identity.objects.order_by("id").values()],
        [*TrackedEvent.objects.order_by("id").values()],
        [*SubscriberNote.objects.order_by("id").values()],
        [*Tag.objects.order_by("id").values(), *List.objects.order_by("id").values()],
        Subscriber.tags.through.objects.count(),
    )


def test_many_contacts_come_and_the_second_import_changes_nothing(shop: Shop) -> None:
    fill(shop, 230)
    job, printed = run(shop)
    assert "differs" not in printed
    assert (job.done, job.total, job.counts["created"]) == (230, 230, 230)
    assert TrackedEvent.objects.aggregate(Sum("counter"))["counter__sum"] == 230 * 231 // 2 + 230
    before = state()
    job, printed = run(shop)
    assert (state(), "differs" in printed) == (before, False)
    assert counts(job) == {"unchanged": 230}


def test_exactly_what_is_new_comes(shop: Shop) -> None:
    for number in range(1, 6):
        contact(shop, number)
    attach(shop, 1, 7)
    event(shop, 1, 5)
    run(shop)
    shop.run("UPDATE wp_fc_tags SET title = 'Gold', updated_at = '2037-01-01' WHERE id = 7")
    columns = f"updated_at = '{now()}'"
    shop.run(f"UPDATE wp_fc_subscribers SET city = 'Rome', {columns} WHERE id = 1")
    shop.run(f"UPDATE wp_fc_subscribers SET email = 'new@example.com', {columns} WHERE id = 2")
    shop.run(f"UPDATE wp_fc_subscribers SET status = 'unsubscribed', {columns} WHERE id = 3")
    shop.run(f"UPDATE wp_fc_event_tracking SET counter = 8, {columns}, value = 'x'")
    attach(shop, 4, 9, at=now())
    contact(shop, 6)
    event(shop, 5, event_key="login")
    job, printed = run(shop)
    assert "differs" not in printed
    assert counts(job) == {
        **{"new_emails": 1, "created": 1, "updated": 3, "unchanged": 2, "times_counted": 4},
    }
    rows = Subscriber.objects.order_by("email").values_list(
        "email", "city", "status", "tags__title"
    )
    assert [*rows] == [
        ("c1@example.com", "Rome", "subscribed", "Gold"),
        ("c3@example.com", None, "unsubscribed", None),
        ("c4@example.com", None, "subscribed", "Größe > 50"),
        ("c5@example.com", None, "subscribed", None),
        ("c6@example.com", None, "subscribed", None),
        ("new@example.com", None, "subscribed", None),
    ]
    assert [*TrackedEvent.objects.order_by("id").values_list("event_key", "counter", "value")] == [
        ("buy", 8, "x"),
        ("login", 1, ""),
    ]


def change_here(email: str, **columns: Any) -> None:
    found = get_for_update(email=email)
    assert found
    update(found, columns)


def test_what_was_changed_here_later_stays(shop: Shop) -> None:
    contact(shop, 1, city="Bonn", phone=None)
    run(shop)
    past = (datetime.now(BERLIN) - timedelta(minutes=1)).strftime("%Y-%m-%d %H:%M:%S")
    columns = f"city = 'Rome', phone = '1', updated_at = '{past}'"
    shop.run(f"UPDATE wp_fc_subscribers SET {columns}")
    change_here("c1@example.com", city="Oslo")
    run(shop)
    assert Subscriber.objects.values_list("city", "phone").get() == ("Oslo", "1")


def test_opt_outs_hold_both_ways(shop: Shop) -> None:
    for number in range(1, 4):
        contact(shop, number)
    create({"email": "c3@example.com", "status": "complained"})
    run(shop)
    change_here("c1@example.com", status="unsubscribed")
    change_here("c2@example.com", city="Oslo")
    shop.run(f"UPDATE wp_fc_subscribers SET updated_at = '{now()}'")
    shop.run("UPDATE wp_fc_subscribers SET status = 'unsubscribed', updated_at = NULL WHERE id = 2")
    run(shop)
    assert [*Subscriber.objects.order_by("email").values_list("status", flat=True)] == [
        *("unsubscribed", "unsubscribed", "complained"),
    ]


def test_a_source_that_dies_in_the_middle_is_finished_by_the_same_command(shop: Shop) -> None:
    fill(shop, 230)
    shop.run("RENAME TABLE wp_fc_event_tracking TO kept")
    # A view that fails at the events of the last contacts.
    shop.run(
        "CREATE VIEW wp_fc_event_tracking AS SELECT * FROM kept "
        "WHERE subscriber_id < 210 "
        "OR (SELECT k.counter FROM kept k WHERE k.subscriber_id = kept.subscriber_id)"
    )
    try:
        with pytest.raises(CommandError, match="The database of the source has failed"):
            run(shop)
    finally:
        shop.run("DROP VIEW wp_fc_event_tracking; RENAME TABLE kept TO wp_fc_event_tracking")
    assert Subscriber.objects.count() == 200
    job, printed = run(shop)
    assert f"Going on with job {job.pk}." in printed
    assert "differs" not in printed
    assert (job.state, job.done, job.counts["created"]) == (JobState.DONE, 230, 230)


def test_a_dry_run_counts_and_stores_nothing(shop: Shop) -> None:
    fill(shop, 3)
    job, printed = run(shop, dry_run=True)
    assert "created: 3\n" in printed
    assert job.counts["times_counted"] == 9
    assert not Subscriber.objects.exists()
    assert not Tag.objects.exists()


def test_an_older_shop_without_events_says_so(shop: Shop) -> None:
    contact(shop, 1)
    shop.run("RENAME TABLE wp_fc_event_tracking TO kept")
    try:
        job, _ = run(shop)
    finally:
        shop.run("RENAME TABLE kept TO wp_fc_event_tracking")
    [remark] = report(job, "remarks.csv")
    assert remark["reason"] == "The source has no table wp_fc_event_tracking, so no events."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": "shop_"}, "no table shop_fc_subscribers. There are tables with the prefix wp_"),
        ({"prefix": "wp_`; --"}, "is no prefix of tables"),
    ],
)
def test_a_wrong_prefix_is_named(shop: Shop, options: Any, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(shop, **options)


def test_a_wrong_password_is_one_sentence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUENTCRM_PASSWORD", "wrong")
    with pytest.raises(CommandError, match="cannot be opened: Access denied"):
        run(shop)


def test_times_of_a_site_with_an_offset_are_read_by_it(shop: Shop) -> None:
    shop.run("DELETE FROM wp_options WHERE option_name = 'timezone_string'")
    shop.insert("options", {"option_name": "gmt_offset", "option_value": "-3.5"})
    contact(shop, 1)
    run(shop)
    assert Subscriber.objects.get().created_at.isoformat() == "2026-03-01T15:30:00+00:00"
