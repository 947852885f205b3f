"""The selected contacts with their events, as NDJSON and CSV."""

import csv
import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.test import Client

from config.database import fetch_rows
from crm.contacts import create
from crm.labels import attach, resolve_label_ids
from crm.models import Subscriber
from events import exports
from events.models import TrackedEvent
from events.tracking import track

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/admin/crm/subscriber/"
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


def export(people: Client, form: str, ids: list[int], query: str = "", **more: Any) -> str:
    chosen = {"action": f"export_{form}", "_selected_action": ids, "index": 0}
    answer = people.post(f"{PATH}{query}", chosen | more)
    assert answer.status_code == 200, answer
    assert f'.{form}"' in answer["Content-Disposition"]
    body = answer.getvalue()
    assert answer["Content-Length"] == str(len(body))
    return body.decode()


def rows(text: str) -> list[dict[str, str]]:
    assert text[0] == "\ufeff"
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.fixture
def contacts() -> list[int]:
    """Ada with two events, Bob with none, Eve who is not selected."""
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


def test_ndjson_has_a_line_for_each_contact_with_all_of_it(
    people: Client, contacts: list[int]
) -> None:
    text = export(people, "ndjson", contacts)
    # splitlines() breaks where any reader may.
    ada, bob = (json.loads(line) for line in text.splitlines())
    assert (ada["id"], ada["first_name"]) == (contacts[0], HOSTILE)
    assert ada["custom_values"] == {"a": [1, HOSTILE], "n": 10**308}
    assert [tag["title"] for tag in ada["tags"]] == ["=New", "VIP"]
    assert [one["title"] for one in ada["lists"]] == ["News"]
    first, second = ada["events"]
    assert (first["value"], second["title"]) == ("v" * 65_535, "-5")
    assert set(first) == {field.column for field in TrackedEvent._meta.concrete_fields}
    assert (bob["id"], bob["tags"], bob["lists"], bob["events"]) == (contacts[1], [], [], [])


def test_csv_has_a_row_for_each_contact_and_event(people: Client, contacts: list[int]) -> None:
    found = rows(export(people, "csv", contacts))
    assert [row["email"] for row in found] == ["ada@example.com"] * 2 + ["bob@example.com"]
    first, second, bob = found
    assert first["first_name"] == HOSTILE.replace(";", ";'")
    assert json.loads(first["custom_values"])["n"] == 10**308
    assert (first["tags"], first["lists"], first["latitude"]) == (
        "'=New, VIP",
        "News",
        "-12.50000000",
    )
    assert (second["event_title"], second["event_counter"]) == ("-5", "1")
    assert second["event_repeatable"] == "true"
    assert first["event_value"] == "v" * 65_535
    event = TrackedEvent.objects.get(title="-5")
    assert second["event_created_at"] == f"{event.created_at:%Y-%m-%d %H:%M:%S}"
    assert {bob[name] for name in bob if name.startswith("event_")} == {""}


def test_no_cell_is_a_formula_and_numbers_stay_numbers(people: Client) -> None:
    ada = create({"email": "ada@example.com"}).pk
    texts = (*FORMULAS, *PLAIN, *BEHIND)
    TrackedEvent.objects.bulk_create(
        TrackedEvent(
            subscriber_id=ada,
            event_key="k",
            title=str(number),
            value=text,
            provider="custom",
            counter=0,
            repeatable=False,
            created_at="2026-01-01T00:00:00Z",
            updated_at="2026-01-01T00:00:00Z",
        )
        for number, text in enumerate(texts)
    )
    found = [row["event_value"] for row in rows(export(people, "csv", [ada]))]
    assert found == [*(f"'{text}" for text in FORMULAS), *PLAIN, *BEHIND.values()]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_all_selected_contacts_are_read_in_batches_under_the_filters(
    people: Client, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO crm_subscriber (email, status, contact_type, total_points, "
            "life_time_value, custom_values, created_at, updated_at) "
            "SELECT n || '@example.com', CASE n % 2 WHEN 0 THEN 'pending' ELSE 'spammed' END, "
            "'lead', 0, 0, '{}', now(), now() FROM generate_series(1, 2400) n"
        )
        cursor.execute(
            "INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, "
            "counter, repeatable, created_at, updated_at) "
            "SELECT id, 'k', t, '', '', 0, true, now(), now() "
            "FROM crm_subscriber, generate_series(1, 3) t"
        )
    statements: list[int] = []

    def counted(*arguments: Any) -> list[Any]:
        found = fetch_rows(*arguments)
        statements.append(len(found))
        return found

    monkeypatch.setattr(exports, "fetch_rows", counted)
    pending = Subscriber.objects.filter(status="pending").order_by("id")
    only = [pending[0].pk]
    text = export(people, form, only, "?status=pending", select_across="1")
    # Batches of 500, 500 and 200 contacts; events of each in pages of 1,000.
    assert sorted(statements) == [200, 500, 500, 500, 500, 600, 1000, 1000]
    if form == "csv":
        assert len(rows(text)) == 3600
        emails = list(dict.fromkeys(row["email"] for row in rows(text)))
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        assert {len(line["events"]) for line in lines} == {3}
        emails = [line["email"] for line in lines]
    assert emails == list(pending.values_list("email", flat=True))


def test_a_failure_midway_is_an_error_and_no_file(
    people: Client, contacts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:

    def failing(statement: str, *arguments: Any) -> list[Any]:
        if "subscriber_id" in statement and contacts[1] in arguments[0]["contacts"]:
            raise OperationalError("gone")
        return fetch_rows(statement, *arguments)

    monkeypatch.setattr(exports, "CONTACTS_AT_ONCE", 1)
    monkeypatch.setattr(exports, "fetch_rows", failing)
    people.raise_request_exception = False
    for form in ("ndjson", "csv"):
        chosen = {"action": f"export_{form}", "_selected_action": contacts, "index": 0}
        assert people.post(PATH, chosen).status_code == 503


def test_who_may_see_contacts_may_export_them(people: Client, contacts: list[int]) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    people.force_login(clerk)
    chosen = {"action": "export_csv", "_selected_action": contacts, "index": 0}
    assert people.post(PATH, chosen).status_code == 403
    clerk.user_permissions.set(Permission.objects.filter(codename="view_subscriber"))
    assert "Content-Disposition" not in people.post(PATH, chosen)
    names = ["view_subscriber", "view_trackedevent", "view_eventoccurrence"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    assert len(rows(export(people, "csv", contacts))) == 3
