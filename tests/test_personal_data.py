"""Everything about a contact in one file, and its erasure with a receipt."""

import hashlib
import io
import json
import re
import stat
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.database import fetch_rows
from crm.contacts import create
from crm.labels import attach, resolve_label_ids
from crm.models import Subscriber
from crm.segments import create_segment
from events import personal_data
from events.models import EventOccurrence, IdempotencyKey, TrackedEvent
from events.tracking import track
from tests import server as serving
from tests.system.tools import assert_nothing_is_orphaned_or_miscounted

pytestmark = pytest.mark.django_db(transaction=True)
HOSTILE = "<script>alert(1)</script> =cmd|' /C calc'!A0 \u202eRTL 😀 \u2028\n\"quoted\""
PATH = "/admin/crm/subscriber"


@pytest.fixture
def ada() -> int:
    contact = create({"email": "Ada@Example.com", "first_name": HOSTILE, "latitude": "12.5"})
    return contact.pk


def exported(people: Client, contact: int) -> Any:
    answer = people.get(f"{PATH}/{contact}/export/")
    assert answer.status_code == 200
    body = answer.getvalue()
    assert answer["Content-Length"] == str(len(body))
    return json.loads(body)


def add_occurrences(contact: int, number: int) -> None:
    """By SQL; they count."""
    event = track({"event_key": "many", "title": "t", "subscriber_id": contact})
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, "
            "value, counter, properties, context, occurred_at, received_at) "
            "SELECT %s, %s, 'many', 'custom', '', n + 1, '{}', '{}', "
            # Ten of them at each moment.
            "'2026-01-01'::timestamptz + (n / 10) * interval '1 s', now() "
            "FROM generate_series(1, %s) n",
            [event.id, contact, number],
        )
        cursor.execute(
            "UPDATE events_trackedevent SET counter = counter + %s WHERE id = %s",
            [number, event.id],
        )


def test_the_export_has_everything_as_it_was_sent(people: Client, ada: int) -> None:
    create({"email": "other@example.com"})
    values = {"note": HOSTILE, "large": 10**308}
    Subscriber.objects.filter(pk=ada).update(custom_values=values)
    for kind in ("tags", "lists"):
        attach(kind, [ada], resolve_label_ids(kind, [f"Of {kind}"], create=True))
    named = [[{"source": ["subscriber", "email"], "operator": "contains", "value": "ada"}]]
    create_segment({"title": "Adas", "slug": "adas", "filters": named})
    sent = {
        "event_key": "order",
        "title": HOSTILE.replace("\n", " "),  # as titles are kept
        "value": (HOSTILE * 1000)[:65_535],
        "properties": {"text": HOSTILE, "number": 1e22},
        "context": {"url": "https://example.com/"},
        "occurred_at": "2026-01-02T03:04:05.678901+01:00",
        "idempotency_key": HOSTILE.replace("\n", " "),
        "email": "ada@example.com",
    }
    track(sent, created_by=User.objects.get().pk)
    track({"event_key": "order", "title": "again", "email": "other@example.com"})
    TrackedEvent.objects.filter(subscriber=ada).update(counter=6, unlogged=5)

    found = exported(people, ada)
    contact, [event], [occurrence] = found["contact"], found["events"], found["occurrences"]
    assert set(contact) == {field.column for field in Subscriber._meta.concrete_fields}
    assert (contact["email"], contact["first_name"]) == ("Ada@Example.com", HOSTILE)
    assert contact["custom_values"] == values
    assert [tag["title"] for tag in found["tags"]] == ["Of tags"]
    assert [one["title"] for one in found["lists"]] == ["Of lists"]
    assert [segment["slug"] for segment in found["segments"]] == ["adas"]
    assert set(event) == {field.column for field in TrackedEvent._meta.concrete_fields}
    assert (event["title"], event["value"]) == (sent["title"], sent["value"])
    assert (event["counter"], event["unlogged"]) == (6, 5)
    assert event["created_by_id"] == User.objects.get().pk
    assert occurrence["properties"] == sent["properties"]
    assert occurrence["context"] == sent["context"]
    assert occurrence["idempotency_key"] == sent["idempotency_key"]
    assert occurrence["occurred_at"] == "2026-01-02T02:04:05.678901+00:00"
    assert datetime.fromisoformat(occurrence["received_at"]).tzinfo
    about = found["export"]
    assert datetime.fromisoformat(about["exported_at"]).tzinfo
    assert (about["time_zone"], about["tallybook"]) == ("UTC", "0.1.0")
    assert about["counts"] == {
        **{"tags": 1, "lists": 1, "segments": 1},
        **{"events": 1, "occurrences": 1},
    }


def test_the_export_of_a_long_history_is_whole_and_read_in_pages(
    people: Client, ada: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_occurrences(ada, 5000)
    pages: list[int] = []

    def counted(statement: str, *arguments: Any) -> list[Any]:
        rows = fetch_rows(statement, *arguments)
        pages.append(len(rows))
        return rows

    monkeypatch.setattr(personal_data, "fetch_rows", counted)
    with CaptureQueriesContext(connection) as queries:
        found = exported(people, ada)
    assert max(pages) == personal_data.OCCURRENCES_AT_ONCE
    assert len(pages) == 5001 // personal_data.OCCURRENCES_AT_ONCE + 1
    assert len(queries) < 12
    assert found["export"]["counts"]["occurrences"] == 5001
    ids = [occurrence["id"] for occurrence in found["occurrences"]]
    assert len(set(ids)) == 5001
    times = [occurrence["occurred_at"] for occurrence in found["occurrences"]]
    assert times == sorted(times)


def test_the_export_is_of_one_moment_while_events_arrive(ada: int) -> None:
    add_occurrences(ada, 500)
    written: list[str] = []
    more = threading.Event()

    def write(text: str) -> None:
        written.append(text)
        if not more.is_set():
            more.set()
            other = threading.Thread(target=arrive)
            other.start()
            other.join()

    def arrive() -> None:
        track({"event_key": "new", "title": "t", "subscriber_id": ada})
        connection.close()

    personal_data.export_contact(ada, write)
    found = json.loads("".join(written))
    assert EventOccurrence.objects.filter(subscriber=ada).count() == 502
    assert found["export"]["counts"]["occurrences"] == len(found["occurrences"]) == 501
    assert {event["event_key"] for event in found["events"]} == {"many"}


def test_an_export_that_fails_midway_is_an_error_and_no_file(
    people: Client, ada: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    track({"event_key": "k", "title": "t", "subscriber_id": ada})

    def away(*_: object) -> list[Any]:
        raise OperationalError("gone")

    monkeypatch.setattr(personal_data, "fetch_rows", away)
    people.raise_request_exception = False
    assert people.get(f"{PATH}/{ada}/export/").status_code == 503
    with pytest.raises(CommandError, match="does not answer"):
        call_command("export_contact", str(ada), "--output", str(tmp_path / "ada.json"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_to_stdout_or_to_a_file_of_ones_own(ada: int, tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("export_contact", "ADA@example.COM", stdout=out)
    assert json.loads(out.getvalue())["contact"]["id"] == ada
    path = tmp_path / "ada.json"
    path.write_text("older")
    call_command("export_contact", str(ada), "--output", str(path))
    assert json.loads(path.read_text())["contact"]["first_name"] == HOSTILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    for nobody in ("eve@example.com", "987654", "9" * 30):
        with pytest.raises(CommandError, match=f"No contact has the e-mail or id '{nobody}'"):
            call_command("export_contact", nobody)
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        call_command("export_contact", str(ada), "--output", str(tmp_path / "no" / "ada.json"))


def in_history(contact: int, name: str, flag: int) -> None:
    LogEntry.objects.create(
        user=User.objects.get(),
        content_type=ContentType.objects.get_for_model(Subscriber),
        object_id=str(contact),
        object_repr=name,
        action_flag=flag,
        change_message=f"Changed {name}",
    )


def test_erasing_in_the_admin_leaves_a_receipt_and_no_name(people: Client, ada: int) -> None:
    other = create({"email": "other@example.com"}).pk
    attach("tags", [ada, other], resolve_label_ids("tags", ["One", "Two tags"], create=True))
    for number in range(3):
        track({"event_key": "k", "title": "t", "subscriber_id": ada}, idempotency_key=str(number))
    track({"event_key": "k", "title": "t", "subscriber_id": other}, idempotency_key="other")
    in_history(ada, "old-address@example.com", ADDITION)
    # An earlier contact of the same person, deleted and not erased.
    in_history(4321, "ada@example.com", CHANGE)
    in_history(other, "other@example.com", ADDITION)

    page = people.get(f"{PATH}/{ada}/erase/").content.decode()
    for said in ("Tags that it has: 2", "Events: 1", "Occurrences: 3", f"{PATH}/{ada}/export/"):
        assert said in page
    assert Subscriber.objects.filter(pk=ada).exists()
    shown = people.post(f"{PATH}/{ada}/erase/", follow=True).content.decode()
    address = re.search(r'href="([^"]+/receipt.json)"', shown)
    assert address
    answer = people.get(address[1])
    assert "attachment" in answer["Content-Disposition"]
    receipt = answer.json()
    assert receipt["email_sha256"] == hashlib.sha256(b"ada@example.com").hexdigest()
    assert receipt["email_sha256"] in shown
    assert (receipt["contact_id"], receipt["erased_by"]) == (ada, "admin")
    assert datetime.fromisoformat(receipt["erased_at"]).tzinfo
    assert receipt["deleted"] == {
        **{"contacts": 1, "tags": 2, "lists": 0},
        **{"events": 1, "occurrences": 3, "idempotency_keys": 3},
    }
    assert receipt["made_nameless"] == {"admin_history": 2}
    # Who looks for the contact later finds the receipt.
    assert people.get(f"{PATH}/{ada}/").headers["Location"] == f"{PATH}/{ada}/erased/"

    for model in (TrackedEvent, EventOccurrence):
        assert list(model.objects.values_list("subscriber_id", flat=True)) == [other]
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["other"]
    history = "".join(
        f"{repr_} {message}\n"
        for repr_, message in LogEntry.objects.values_list("object_repr", "change_message")
    )
    assert "ada" not in history.lower()
    assert "old-address" not in history
    assert "other@example.com" in history
    assert "@" not in answer.content.decode()


def test_erasing_again_says_that_the_contact_is_not_there(people: Client, ada: int) -> None:
    people.post(f"{PATH}/{ada}/erase/")
    for again in (people.get, people.post):
        answer = again(f"{PATH}/{ada}/erase/", follow=True)
        assert f"There is no contact {ada}" in answer.content.decode()
    assert LogEntry.objects.filter(object_id=str(ada)).count() == 1
    for address in ("987654/export/", "987654/erased/", f"{10**30}/export/"):
        answer = people.get(f"{PATH}/{address}", follow=True)
        assert "There is no contact" in answer.content.decode()
    with pytest.raises(CommandError, match="nothing was erased"):
        call_command("erase_contact", "ada@example.com", "--yes")


def test_who_may_only_see_exports_and_does_not_erase(people: Client, ada: int) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    people.force_login(clerk)
    for address in ("export/", "erase/", "erased/", "erased/receipt.json"):
        assert people.get(f"{PATH}/{ada}/{address}").status_code == 403
    views = ["view_subscriber", "view_trackedevent", "view_eventoccurrence"]
    for names, status in ((views[:1], 403), (views[1:], 403), (views, 200)):
        clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
        answer = people.get(f"{PATH}/{ada}/export/")
        assert answer.status_code == status
        answer.close()
    assert exported(people, ada)["contact"]["id"] == ada
    assert people.get(f"{PATH}/{ada}/erase/").status_code == 403
    assert people.post(f"{PATH}/{ada}/erase/").status_code == 403
    people.logout()
    assert people.get(f"{PATH}/{ada}/export/").status_code == 302
    assert Subscriber.objects.filter(pk=ada).exists()


@pytest.mark.parametrize("page", ["erase/", "erased/"])
def test_the_pages_have_no_script_or_style_inside(people: Client, ada: int, page: str) -> None:
    if page == "erased/":
        people.post(f"{PATH}/{ada}/erase/")
    shown = people.get(f"{PATH}/{ada}/{page}").content.decode()
    assert not re.search(r"<script(?![^>]* src=)(?![^>]*application/json)|<style| style=", shown)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "left"), [("yes\n", 0), ("no\n", 1), ("", 1)])
def test_the_command_asks_at_a_terminal_naming_what_goes(
    ada: int, monkeypatch: pytest.MonkeyPatch, typed: str, left: int
) -> None:
    track({"event_key": "k", "title": "t", "subscriber_id": ada})
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    out, asked = io.StringIO(), io.StringIO()
    if left:
        with pytest.raises(CommandError, match="Nothing was erased"):
            call_command("erase_contact", str(ada), stdout=out, stderr=asked)
    else:
        call_command("erase_contact", str(ada), stdout=out, stderr=asked)
        assert json.loads(out.getvalue())["deleted"]["occurrences"] == 1
    assert "Ada@Example.com, with 0 tags, 0 lists, 1 events, 1 occurrences." in asked.getvalue()
    assert Subscriber.objects.count() == left


def test_the_command_does_not_erase_unasked(ada: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    with pytest.raises(CommandError, match="say --yes"):
        call_command("erase_contact", str(ada))
    out = io.StringIO()
    call_command("erase_contact", "ada@example.com", "--yes", stdout=out)
    receipt = json.loads(out.getvalue())
    assert receipt["contact_id"] == ada
    assert receipt["erased_by"].startswith("manage.py, ")
    assert not Subscriber.objects.exists()


def test_erasing_while_events_arrive_orphans_none(
    server: serving.Server, api: serving.Client, store: psycopg.Connection
) -> None:
    api.contact("ada@example.com")
    erased = threading.Event()
    statuses: list[int] = []

    def events() -> None:
        client = server.client()
        while not (erased.is_set() and statuses[-1:] == [422]):
            statuses.append(client.track(event_key="k", title="t", email="ada@example.com").status)
        client.close()

    thread = threading.Thread(target=events)
    thread.start()
    serving.wait_until(lambda: 200 in statuses)
    receipt = json.loads(server.manage("erase_contact", "ada@example.com", "--yes"))
    erased.set()
    thread.join()
    assert set(statuses) == {200, 422}
    assert receipt["deleted"]["occurrences"] == statuses.count(200)
    assert_nothing_is_orphaned_or_miscounted(store)
