"""The selected contacts with their events, exported as NDJSON and as CSV."""

import csv
import errno
import io
import json
from collections.abc import Iterator
from typing import IO, Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from config import downloads
from config.database import fetch_rows
from crm.attachments import attach
from crm.contacts import create
from crm.labels import resolve_label_ids
from crm.models import Subscriber
from events.admin import exports
from events.models import TrackedEvent
from events.tracking import track
from tests.api.pages import CONTACTS, browser_of, staff_user
from tests.api.snapshots import without_snapshots

pytestmark = pytest.mark.django_db
HOSTILE = '<b>bold</b>, "q"; \u202e=RTL 😀 \u2028\x85\r\nsecond line'
FORMULAS = (
    *("=1+1", "=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\tx"),
    # Full-width and small forms.
    *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", "\ufe661"),
    # Behind what is not seen.
    *(" =1", "\u00a0=1", "\u3000=1", "\u202e=1", "\ufeff=1", "\u200b=1"),
    *("-5 ", "+49 30 1234", "--5", "-", "-\u0665"),
)
PLAIN = ("-5", "+4.2e3", "-0.5E-7", "5", "a=1", "'=1", "", "1+1", "ada@example.com", "a;b")
# Behind what begins a cell with other separators, or in another country.
BEHIND = {
    **{"x;=1+1": "x;'=1+1", "x\n=1": "x\n'=1", "x\t-y": "x\t'-y", "5; \uff1d1": "5;' \uff1d1"},
    **{"\t=1": "'\t'=1", "\r=1": "'\r'=1", "\n=1": "'\n'=1"},
}


FORMATS = ("ndjson", "csv")
NOW = "2026-01-01T00:00:00Z"


def selected(form: str, ids: list[int]) -> dict[str, Any]:
    """The form that exports these contacts."""
    return {"action": f"export_{form}", "_selected_action": ids, "index": 0}


def export(browser: Client, form: str, ids: list[int], query: str = "", **more: Any) -> str:
    """Export these contacts, and return the file's text."""
    response: Any = browser.post(f"{CONTACTS}{query}", selected(form, ids) | more)
    assert response.status_code == 200
    assert f'.{form}"' in response["Content-Disposition"]
    body: bytes = response.getvalue()
    assert response["Content-Length"] == str(len(body))
    return body.decode()


@pytest.fixture
def in_transaction() -> Iterator[None]:
    """Let an export run inside the test's transaction."""
    with without_snapshots():
        yield


def csv_rows(text: str) -> list[dict[str, str]]:
    """Read a CSV, which begins with a byte order mark."""
    assert text[0] == "\ufeff"
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.fixture
def ada_and_bob() -> list[int]:
    """The ids of Ada, who has two events, and Bob, who has none; Eve is there besides."""
    ada, bob, eve = (create({"email": f"{name}@example.com"}).pk for name in ("ada", "bob", "eve"))
    Subscriber.objects.filter(pk=ada).update(
        first_name=HOSTILE, custom_values={"a": [1, HOSTILE], "n": 10**308}, latitude="-12.5"
    )
    attach("tags", [ada], resolve_label_ids("tags", ["VIP", "=New"], create=True))
    attach("lists", [ada], resolve_label_ids("lists", ["News"], create=True))
    for title in (HOSTILE, "-5"):
        track({"event_key": "k", "title": title, "value": "v" * 65_535, "subscriber_id": ada})
    track({"event_key": "k", "title": "t", "subscriber_id": eve})
    return [ada, bob]


@pytest.fixture
def ndjson(
    admin_client: Client, ada_and_bob: list[int], in_transaction: None
) -> list[dict[str, Any]]:
    """The lines of an export of Ada and Bob."""
    # splitlines() breaks where any reader may.
    return [json.loads(line) for line in export(admin_client, "ndjson", ada_and_bob).splitlines()]


def test_ndjson_has_a_line_for_each_selected_contact(
    ndjson: list[dict[str, Any]], ada_and_bob: list[int]
) -> None:
    assert [contact["id"] for contact in ndjson] == ada_and_bob


def test_ndjson_has_a_contact_s_fields_tags_and_lists(ndjson: list[dict[str, Any]]) -> None:
    ada, bob = ndjson
    assert ada["first_name"] == HOSTILE
    assert ada["custom_values"] == {"a": [1, HOSTILE], "n": 10**308}
    assert [tag["title"] for tag in ada["tags"]] == ["=New", "VIP"]
    assert [one["title"] for one in ada["lists"]] == ["News"]
    assert (bob["tags"], bob["lists"]) == ([], [])


def test_ndjson_has_a_contact_s_events_with_every_column(ndjson: list[dict[str, Any]]) -> None:
    ada, bob = ndjson
    first, second = ada["events"]
    assert (first["value"], second["title"]) == ("v" * 65_535, "-5")
    assert set(first) == {field.column for field in TrackedEvent._meta.concrete_fields}
    assert bob["events"] == []


@pytest.fixture
def rows(
    admin_client: Client, ada_and_bob: list[int], in_transaction: None
) -> list[dict[str, str]]:
    """The rows of a CSV of Ada and Bob."""
    return csv_rows(export(admin_client, "csv", ada_and_bob))


def test_csv_has_a_row_for_each_contact_and_event(rows: list[dict[str, str]]) -> None:
    assert [row["email"] for row in rows] == ["ada@example.com"] * 2 + ["bob@example.com"]


def test_csv_has_a_contact_s_fields_tags_and_lists(rows: list[dict[str, str]]) -> None:
    ada = rows[0]
    assert ada["first_name"] == HOSTILE.replace(";", ";'")
    assert json.loads(ada["custom_values"])["n"] == 10**308
    assert (ada["tags"], ada["lists"], ada["latitude"]) == ("'=New, VIP", "News", "-12.50000000")


def test_csv_has_an_event_s_fields_beside_its_contact_s(rows: list[dict[str, str]]) -> None:
    first, second, bob = rows
    assert first["event_value"] == "v" * 65_535
    assert (second["event_title"], second["event_counter"]) == ("-5", "1")
    assert second["event_repeatable"] == "true"
    event = TrackedEvent.objects.get(title="-5")
    assert second["event_created_at"] == f"{event.created_at:%Y-%m-%d %H:%M:%S}"
    assert {bob[name] for name in bob if name.startswith("event_")} == {""}


def test_csv_has_no_formulas_and_keeps_numbers(admin_client: Client, in_transaction: None) -> None:
    ada = create({"email": "ada@example.com"}).pk
    TrackedEvent.objects.bulk_create(
        TrackedEvent(
            subscriber_id=ada,
            event_key="k",
            title=str(number),
            value=text,
            provider="custom",
            counter=0,
            repeatable=False,
            created_at=NOW,
            updated_at=NOW,
        )
        for number, text in enumerate((*FORMULAS, *PLAIN, *BEHIND))
    )
    values = [row["event_value"] for row in csv_rows(export(admin_client, "csv", [ada]))]
    assert values == [*(f"'{text}" for text in FORMULAS), *PLAIN, *BEHIND.values()]


# Forty events with the largest value, which have 10 MB.
LARGE_EVENTS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT %s, 'large', 'title ' || n, repeat('😀', 65535), 'custom', 1, 1, true, now(), now()
FROM generate_series(1, 60) n
"""


@pytest.fixture
def pending() -> list[Subscriber]:
    """1,200 pending contacts with three events each, between as many spammed ones."""
    contacts = Subscriber.objects.bulk_create(
        Subscriber(email=f"{number}@example.com", status=("pending", "spammed")[number % 2])
        for number in range(2400)
    )
    TrackedEvent.objects.bulk_create(
        TrackedEvent(
            subscriber=contact,
            event_key="k",
            title=str(number),
            value="",
            provider="",
            counter=0,
            repeatable=True,
            created_at=NOW,
            updated_at=NOW,
        )
        for contact in contacts
        for number in range(3)
    )
    return [contact for contact in contacts if contact.status == "pending"]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement of an export has read."""
    numbers: list[int] = []

    def counted(*arguments: Any) -> list[Any]:
        found = fetch_rows(*arguments)
        numbers.append(len(found))
        return found

    monkeypatch.setattr("config.database.fetch_rows", counted)
    return numbers


# Of 500, 500 and 200 contacts: the contacts in pages of 20, the events in pages that double.
EXPECTED_BATCHES = sorted(
    [*[20] * 25, 0, 20, 40, 80, 160, 320, 640, 240] * 2 + [*[20] * 10, 0, 20, 40, 80, 160, 300]
)


@pytest.mark.django_db(transaction=True)
def test_ndjson_of_all_pages_is_read_in_batches_under_the_filters(
    admin_client: Client, pending: list[Subscriber], batches: list[int]
) -> None:
    text = export(admin_client, "ndjson", [pending[0].pk], "?status=pending", select_across="1")
    assert sorted(batches) == EXPECTED_BATCHES
    lines = [json.loads(line) for line in text.splitlines()]
    assert {len(line["events"]) for line in lines} == {3}
    assert [line["email"] for line in lines] == [contact.email for contact in pending]


@pytest.mark.django_db(transaction=True)
def test_csv_of_all_pages_is_read_in_batches_under_the_filters(
    admin_client: Client, pending: list[Subscriber], batches: list[int]
) -> None:
    text = export(admin_client, "csv", [pending[0].pk], "?status=pending", select_across="1")
    assert sorted(batches) == EXPECTED_BATCHES
    emails = [row["email"] for row in csv_rows(text)]
    assert emails == [contact.email for contact in pending for _ in range(3)]


def test_large_contacts_and_events_are_read_8_mb_at_a_time(
    admin_client: Client, in_transaction: None, batches: list[int]
) -> None:
    ids = [create({"email": f"c{number}@example.com"}).pk for number in range(3)]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE crm_subscriber "
            "SET custom_values = jsonb_build_object('a', repeat('x', 5000000))"
        )
        cursor.execute(LARGE_EVENTS, [ids[1]])
    lines = [json.loads(line) for line in export(admin_client, "ndjson", ids).splitlines()]
    assert [line["id"] for line in lines] == ids
    assert [len(line["custom_values"]["a"]) for line in lines] == [5_000_000] * 3
    assert [len(line["events"]) for line in lines] == [0, 60, 0]
    contacts, events = [1, 1, 1], [20, 32, 8]
    assert sorted(batches) == sorted(contacts + events)


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_fails_midway_is_an_error_and_no_file(
    admin_client: Client,
    ada_and_bob: list[int],
    in_transaction: None,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    def failing(statement: str, *arguments: Any) -> list[Any]:
        if "subscriber_id" in statement and ada_and_bob[1] in arguments[0]["contacts"]:
            raise OperationalError("gone")
        return fetch_rows(statement, *arguments)

    monkeypatch.setattr("events.exports.CONTACTS_PER_TURN", 1)
    monkeypatch.setattr("config.database.fetch_rows", failing)
    admin_client.raise_request_exception = False
    response = admin_client.post(CONTACTS, selected(form, ada_and_bob))
    assert response.status_code == 503
    assert "Content-Disposition" not in response


def test_an_export_without_permission_to_see_contacts_is_forbidden(ada: Subscriber) -> None:
    browser = browser_of(staff_user())
    assert browser.post(CONTACTS, selected("csv", [ada.pk])).status_code == 403


def test_an_export_without_permission_to_see_events_is_ignored(ada: Subscriber) -> None:
    browser = browser_of(staff_user("view_subscriber"))
    assert "Content-Disposition" not in browser.post(CONTACTS, selected("csv", [ada.pk]))


def test_users_who_see_contacts_and_events_export_them(
    ada_and_bob: list[int], in_transaction: None
) -> None:
    browser = browser_of(staff_user("view_subscriber", "view_trackedevent", "view_eventoccurrence"))
    assert len(csv_rows(export(browser, "csv", ada_and_bob))) == 3


def full_disk() -> IO[bytes]:
    """A temporary file on a full disk."""
    return open("/dev/full", "wb+")


def no_folder() -> IO[bytes]:
    """What tempfile does if each folder is full."""
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")


@pytest.mark.parametrize("opener", [full_disk, no_folder])
@pytest.mark.parametrize("form", FORMATS)
def test_an_export_into_a_full_disk_is_503(
    form: str,
    opener: Any,
    admin_client: Client,
    ada_and_bob: list[int],
    in_transaction: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "TemporaryFile", opener)
    admin_client.raise_request_exception = False
    response = admin_client.post(CONTACTS, selected(form, ada_and_bob))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_takes_too_long_ends_with_a_message(
    form: str,
    admin_client: Client,
    ada_and_bob: list[int],
    in_transaction: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "MAX_SECONDS", -1)
    response = admin_client.post(CONTACTS, selected(form, ada_and_bob), follow=True)
    assert "takes longer than 120 seconds, so it was ended. Select fewer" in response.text


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_while_another_one_runs_ends_with_a_message(
    form: str,
    admin_client: Client,
    ada_and_bob: list[int],
    in_transaction: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    responses: list[str] = []

    def another(*_: object) -> None:
        responses.append(admin_client.post(CONTACTS, selected(form, ada_and_bob), follow=True).text)

    monkeypatch.setattr(exports, "log_contacts", another)
    first = admin_client.post(CONTACTS, selected(form, ada_and_bob)).getvalue()
    assert "Another export is running." in responses[0]
    monkeypatch.undo()
    assert admin_client.post(CONTACTS, selected(form, ada_and_bob)).getvalue() == first


def test_an_export_of_a_contact_that_takes_too_long_names_the_command(
    admin_client: Client, ada: Subscriber, in_transaction: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MAX_SECONDS", -1)
    response = admin_client.get(f"{CONTACTS}{ada.pk}/export/", follow=True)
    assert f"Use manage.py export_contact {ada.pk}." in response.text
