"""Whole files, from their bytes to contacts and events: what other people's files have taught."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crm.contacts import create, delete_contacts, set_user_id
from crm.custom_fields import declared_fields
from crm.labels import LABEL_MODELS, create_label
from crm.models import CustomField, Status, Subscriber
from events.exports import write_csv, write_ndjson
from events.models import EventOccurrence, TrackedEvent
from events.personal_data import erase_contact
from events.tracking import track
from tests.api.snapshots import without_snapshots
from transfers.columns import guess
from transfers.contacts import ContactRules, Outcome, import_contacts, read_contact
from transfers.conversion import EventMapping
from transfers.options import ContactOptions, Options
from transfers.tables import inspect, open_table

pytestmark = pytest.mark.django_db
ImportFile = Callable[..., list[Outcome]]


@pytest.fixture
def import_file(tmp_path: Path) -> ImportFile:
    """Import a file of contacts as it is guessed, and return the outcome of each row."""

    def run(content: str | bytes, **options: Any) -> list[Outcome]:
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        declared = declared_fields()
        chosen = ContactOptions(**{"status": Status.SUBSCRIBED, **options})
        with open_table(path, inspect(path)) as table:
            rows = [*table.rows()]
            mapping = guess(table.columns, [row.values for row in rows], "contacts", declared)
            read = [read_contact(row, mapping, chosen, declared) for row in rows]
        return import_contacts(read, ContactRules(existing="overwrite", create=[*LABEL_MODELS]))

    return run


def statuses() -> dict[str, str]:
    """Return the status of each contact, by the name of its e-mail."""
    return {contact.email.partition("@")[0]: contact.status for contact in Subscriber.objects.all()}


def test_1_two_titles_that_make_one_slug_are_two_tags(import_file: ImportFile) -> None:
    import_file("email,tags\nhi@x.example,Score > 50\nlo@x.example,Score < 50\n")
    tags = {each.email: [tag.title for tag in each.tags.all()] for each in Subscriber.objects.all()}
    assert tags == {"hi@x.example": ["Score > 50"], "lo@x.example": ["Score < 50"]}


WORDS = {
    **{"active": "subscribed", "unsubscribed": "unsubscribed", "unreachable": "bounced"},
    **{"Unsubscribed": "unsubscribed", "cleaned": "bounced", "2": "unsubscribed", "3": "bounced"},
    **{"": "pending", "nicht abonniert": "pending", "nicht angemeldet": "unsubscribed"},
}


def test_2_an_opt_out_that_is_not_understood_is_no_opt_in(import_file: ImportFile) -> None:
    rows = "".join(f"c{number}@x.example,{word}\n" for number, word in enumerate(WORDS))
    import_file(f"Email,Status\n{rows}")
    assert statuses() == {f"c{number}": status for number, status in enumerate(WORDS.values())}


@pytest.mark.parametrize("status", ["complained", "bounced", "unsubscribed"])
def test_3_an_import_revives_no_contact(import_file: ImportFile, status: str) -> None:
    create({"email": "ada@x.example", "status": status})
    [outcome] = import_file("email,status\nada@x.example,subscribed\n")
    assert (outcome.kind, statuses()) == ("held_back", {"ada": status})


def test_5_a_zero_date_of_mysql_is_none(import_file: ImportFile) -> None:
    csv = "email,date_of_birth,last_activity\nada@x.example,0000-00-00,0000-00-00 00:00:00\n"
    [outcome] = import_file(csv)
    contact = Subscriber.objects.get()
    assert (outcome.kind, contact.date_of_birth, contact.last_activity) == ("created", None, None)


def test_6_each_row_at_fault_has_its_line_and_its_reason(import_file: ImportFile) -> None:
    csv = (
        "email,birthday\nada@x.example,1990-12-31\n\nbob@x.example,31.12.1990\nno e-mail,\n"
        'cy@x.example,1990-01-01,extra\n"dee@x.example,1990-01-01\neve@x.example,1990-01-01\n'
    )
    rejected = [each for each in import_file(csv) if each.kind == "rejected"]
    assert [(each.number, each.errors) for each in rejected] == [
        (
            4,
            {
                "date_of_birth": {
                    "date": 'The date_of_birth "31.12.1990" is no date in the order year, month,'
                    " day."
                }
            },
        ),
        (5, {"email": {"email": "The email must be a valid email address."}}),
        (6, {"row": {"cells": "The row has 3 cells, and the table has 2 columns."}}),
        (
            7,
            {
                "row": {
                    "quotes": "A cell has a quote that is not closed, or that is not doubled "
                    "inside of quotes."
                }
            },
        ),
    ]
    assert statuses() == {"ada": "subscribed", "eve": "subscribed"}


def test_10_titles_of_two_characters_are_tags(import_file: ImportFile) -> None:
    import_file("email;tags\nada@x.example;日本, 会員\n")
    assert sorted(tag.title for tag in Subscriber.objects.get().tags.all()) == ["会員", "日本"]


def test_11_an_email_with_two_dots_is_one(import_file: ImportFile) -> None:
    assert [each.kind for each in import_file("email\ntaro..ya@docomo.ne.jp\n")] == ["created"]


def test_12_invisible_characters_around_an_email_are_ignored(import_file: ImportFile) -> None:
    import_file("email\n\xa0ada@x.example\u200b\n\ufeffADA@x.example\n")
    assert [contact.email for contact in Subscriber.objects.all()] == ["ADA@x.example"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_23_a_csv_is_enough(import_file: ImportFile, encoding: str) -> None:
    text = "E-Mail;Vorname;Ort\r\njörg@x.example;Jörg;Köln\r\n"
    assert [each.kind for each in import_file(text.encode(encoding))] == ["created"]
    assert Subscriber.objects.get().city == "Köln"


def test_25_a_contact_that_was_erased_is_not_back(import_file: ImportFile) -> None:
    erase_contact(create({"email": "ada@x.example"}).pk, by="eve")
    [outcome] = import_file("email,status\nADA@X.example,subscribed\n")
    assert (outcome.kind, statuses()) == ("held_back", {})


def test_26_custom_values_are_columns(import_file: ImportFile) -> None:
    CustomField.objects.create(slug="shoe", label="Schuhgröße", type="number")
    import_file("email;Schuhgröße\nada@x.example;42,5\n", decimal_mark=",")
    assert Subscriber.objects.get().custom_values == {"shoe": "42.5"}


def test_45_phones_and_postal_codes_return_from_an_own_export(import_file: ImportFile) -> None:
    fields = {"phone": "+49 351 1234", "postal_code": "01067", "first_name": "=Ada"}
    contact = create({"email": "ada@x.example", **fields})
    file = io.StringIO(newline="")
    with without_snapshots():
        write_csv([contact.pk], file.write)
    assert "'+49 351 1234" in file.getvalue()
    delete_contacts([contact.pk])
    import_file(file.getvalue())
    assert fields == {name: getattr(Subscriber.objects.get(), name) for name in fields}


def test_an_own_export_as_ndjson_makes_an_equal_store(import_file: ImportFile) -> None:
    tag = create_label("tags", {"title": "Buyer, VIP"})
    for number, status in enumerate(Status, start=1):
        custom = {"size": ["L", number], "note": "'=x\u2028"}
        name = f"c{number}@x.example"
        contact = create({"email": name, "status": status, "custom_values": custom, "city": "Ö"})
        contact.tags.add(tag.pk)
        set_user_id(contact, f"u{number}")
    track({"event_key": "k", "title": "t", "email": "c1@x.example"})

    def export() -> str:
        file = io.StringIO(newline="")
        ids = Subscriber.objects.order_by("email").values_list("pk", flat=True)
        with without_snapshots():
            write_ndjson([*ids], file.write)
        return file.getvalue()

    def exported() -> list[Any]:
        columns = ("email", "status", "city", "created_at", "custom_values", "identities__value")
        return [*Subscriber.objects.order_by("email").values_list(*columns, "tags__title")]

    text, before = export(), exported()
    delete_contacts(Subscriber.objects.values_list("pk", flat=True))
    assert {each.kind for each in import_file(text)} == {"created"}
    assert exported() == before
    assert {each.kind for each in import_file(text)} == {"unchanged"}


def test_46_an_excel_file_of_keila_is_read_whole(import_file: ImportFile) -> None:
    rows = "".join(f"foo-{number}@example.com;Foo;Bar\r\n" for number in range(3, 202))
    accents = "foo-1@example.com;Joël;Müller-Schultheiß\r\nfoo-2@example.com;Eliška;Þorláksson\r\n"
    outcomes = import_file(f"\ufeffEmail;First name;Last name\r\n{accents}{rows}")
    assert [each.kind for each in outcomes] == ["created"] * 201
    assert Subscriber.objects.get(email="foo-2@example.com").last_name == "Þorláksson"


def test_46_a_data_file_of_keila_has_custom_values(import_file: ImportFile) -> None:
    import_file('Email,Data\nfoo@example.com,"{""foo"":[1,2,3]}"\n')
    assert Subscriber.objects.get().custom_values == {"foo": [1, 2, 3]}


def test_46_events_of_june_are_tracked_with_their_times(tmp_path: Path) -> None:
    create({"email": "ada@x.example", "user_id": "auth|5f7c"})
    header = (
        "type,name,timestamp,user_id,anonymous_id,properties,channel,context,integrations,"
        "message_id,sent_at,received_at,original_timestamp,version\n"
    )
    unused = '"null","","1970-01-01 00:00:00.000000","1970-01-01 00:00:00.000000",'
    rows = "".join(
        f'{0 if number % 3 else 2},"{"" if number % 3 else "Open"}",'
        f'"2025-07-18 07:32:{number:02}.369000","auth|5f7c","d9e9","{{""name"":""Home""}}","",'
        f'"{{""locale"":""en""}}",{unused}"1970-01-01 00:00:00.000000",0\n'
        for number in range(30)
    )
    path = tmp_path / "events.csv"
    path.write_text(header + rows)
    with open_table(path, inspect(path)) as table:
        mapping = EventMapping(guess(table.columns, [], "events"), Options())
        for row in table.rows():
            track(mapping.event_of(row.values, []))
    counters = {
        event.event_key: (event.title, event.counter) for event in TrackedEvent.objects.all()
    }
    assert counters == {"Open": ("Open", 10), "page": ("Home", 20)}
    first = EventOccurrence.objects.earliest("occurred_at")
    assert first.occurred_at.isoformat() == "2025-07-18T07:32:00.369000+00:00"
    assert (first.properties, first.context) == ({"name": "Home"}, {"locale": "en"})
