"""Receipts of erased contacts: stored, listed, found, shown, and kept by migrations."""

import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils.timezone import now
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from config import __version__
from crm.contacts import create
from crm.models import Erasure, Segment, Subscriber
from crm.segments import create_segment
from events.personal_data import erase_contact
from events.tracking import track
from tests.api.pages import CONTACTS, browser_of, open_page, staff_user, text_of
from tests.api.savepoints import rolled_back

ERASURES = "/admin/crm/erasure/"
ADA_SHA256 = sha256(b"ada@example.com").hexdigest()


def erase(email: str) -> Erasure:
    """Create a contact and erase it."""
    return erase_contact(create({"email": email}).pk, by="eve")


def erase_by_admin(browser: Client, contact: Subscriber) -> None:
    """Erase a contact on its page."""
    response = browser.post(f"{CONTACTS}{contact.pk}/erase/")
    receipt_url = f"{CONTACTS}{contact.pk}/erased/"
    assert (response.status_code, response.headers["Location"]) == (302, receipt_url)


def erase_by_command(contact: Subscriber) -> Any:
    """Erase a contact with manage.py, and return the receipt that it prints."""
    out = io.StringIO()
    call_command("erase_contact", str(contact.pk), "--yes", stdout=out)
    return json.loads(out.getvalue())


def add_log_entry(user: User, contact_id: int, name: str, flag: int, message: str = "") -> LogEntry:
    """Add an entry about a contact to the admin's history."""
    return LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Subscriber),
        object_id=str(contact_id),
        object_repr=name,
        action_flag=flag,
        change_message=message,
    )


@pytest.fixture
def active(db: None) -> Subscriber:
    """Ada@Example.com with a tag and two occurrences of an event, one with an idempotency key."""
    contact = create({"email": "Ada@Example.com"})
    contact.tags.create(title="VIP", slug="vip")
    for key in ("once", None):
        track({"event_key": "k", "title": "t", "subscriber_id": contact.pk}, idempotency_key=key)
    return contact


DELETED = {
    "contacts": 1,
    "tags": 1,
    "lists": 0,
    "events": 1,
    "occurrences": 2,
    "notes": 0,
    "idempotency_keys": 1,
    "automation_runs": 0,
    "webhook_deliveries": 0,
}


def test_an_erasure_in_the_admin_stores_a_receipt(admin_client: Client, active: Subscriber) -> None:
    erase_by_admin(admin_client, active)
    erasure = Erasure.objects.get()
    assert (erasure.contact_id, erasure.email_sha256) == (active.pk, ADA_SHA256)
    assert (erasure.erased_by, erasure.version) == ("admin", __version__)
    assert erasure.counts == {
        "deleted": DELETED,
        "made_nameless": {"admin_history": 0, "segments": 0, "automations": 0},
    }
    assert abs(now() - erasure.erased_at) < timedelta(minutes=1)


def test_an_erasure_by_the_command_stores_the_receipt_that_it_prints(active: Subscriber) -> None:
    printed = erase_by_command(active)
    assert printed == Erasure.objects.get().receipt()
    assert (printed["contact_id"], printed["email_sha256"]) == (active.pk, ADA_SHA256)
    assert printed["erased_by"].startswith("manage.py, ")
    assert printed["deleted"] == DELETED


def test_an_erasure_counts_the_entries_of_the_history_that_it_changed(
    admin_client: Client, admin_user: User, ada: Subscriber
) -> None:
    for contact_id, name in ((ada.pk, "old@example.com"), (4321, "ADA@example.com"), (1, "other")):
        add_log_entry(admin_user, contact_id, name, CHANGE)
    erase_by_admin(admin_client, ada)
    assert Erasure.objects.get().counts["made_nameless"] == {
        "admin_history": 2,
        "segments": 0,
        "automations": 0,
    }


def test_the_history_of_an_erased_contact_says_that_it_was_erased(
    admin_client: Client, ada: Subscriber
) -> None:
    erase_by_admin(admin_client, ada)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (str(ada.pk), "(erased)")
    assert (entry.action_flag, entry.change_message) == (DELETION, "")


def test_an_erasure_in_the_admin_that_finds_no_contact_stores_no_receipt(
    admin_client: Client,
) -> None:
    response = admin_client.post(f"{CONTACTS}987654/erase/")
    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")
    assert not Erasure.objects.exists()


def test_an_erasure_by_the_command_that_finds_no_contact_stores_no_receipt(db: None) -> None:
    with pytest.raises(CommandError, match="nothing was erased"):
        call_command("erase_contact", "987654", "--yes")
    assert not Erasure.objects.exists()


@pytest.fixture
def receipts(db: None) -> dict[str, Erasure]:
    """The receipts of three erased contacts by the name in their e-mail, the oldest first."""
    return {name: erase(f"{name}@example.com") for name in ("ada", "bob", "cyd")}


def listed(browser: Client, query: str = "") -> list[int]:
    """Return the ids of the contacts whose receipts the list links to."""
    page = open_page(browser, f"{ERASURES}{query}")
    return [int(contact_id) for contact_id in re.findall(f'"{CONTACTS}(\\d+)/erased/"', page)]


def ids_of(receipts: dict[str, Erasure], *names: str) -> list[int]:
    """Return the contact ids of receipts."""
    return [receipts[name].contact_id for name in names]


def test_receipts_are_listed_the_newest_first(
    admin_client: Client, receipts: dict[str, Erasure]
) -> None:
    assert listed(admin_client) == ids_of(receipts, "cyd", "bob", "ada")


def test_the_list_shows_who_erased_and_the_hash_of_the_email(
    admin_client: Client, receipts: dict[str, Erasure]
) -> None:
    text = text_of(open_page(admin_client, f"{ERASURES}?q=ada@example.com"))
    assert re.search(rf" {receipts['ada'].contact_id} [^@]* eve {ADA_SHA256} ", text)


def test_the_list_names_no_email(admin_client: Client, receipts: dict[str, Erasure]) -> None:
    assert "@" not in open_page(admin_client, ERASURES)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("ada@example.com", ["ada"]),
        (" ADA@Example.com ", ["ada"]),
        ("eve@example.com", []),
        ("@", []),
        ("{bob}", ["bob"]),
        (" {bob} ", ["bob"]),
        ("987654", []),
        ("9" * 40, []),
        (ADA_SHA256, ["ada"]),
        (ADA_SHA256[:20], ["ada"]),
        ("nothing", []),
        ("", ["cyd", "bob", "ada"]),
    ],
)
def test_receipts_are_found_by_email_contact_id_and_hash(
    admin_client: Client, receipts: dict[str, Erasure], query: str, names: list[str]
) -> None:
    text = query.format(bob=receipts["bob"].contact_id)
    assert listed(admin_client, f"?{urlencode({'q': text})}") == ids_of(receipts, *names)


def test_a_receipt_of_an_earlier_version_is_found_by_every_spelling(
    admin_client: Client, receipts: dict[str, Erasure]
) -> None:
    hashed = sha256("jörg@bücher.example".encode()).hexdigest()
    Erasure.objects.filter(pk=receipts["ada"].pk).update(email_sha256=hashed)
    query = urlencode({"q": "jörg@xn--bcher-kva.example"})
    assert listed(admin_client, f"?{query}") == ids_of(receipts, "ada")


def test_receipts_are_not_sorted_by_the_url(
    admin_client: Client, receipts: dict[str, Erasure]
) -> None:
    assert listed(admin_client, "?o=1") == ids_of(receipts, "cyd", "bob", "ada")


def test_a_receipt_can_be_read_and_not_changed(
    admin_client: Client, receipts: dict[str, Erasure]
) -> None:
    path = f"{ERASURES}{receipts['ada'].pk}/change/"
    assert ADA_SHA256 in open_page(admin_client, path)
    assert admin_client.post(path, {"erased_by": "mallory"}).status_code == 403
    assert not Erasure.objects.filter(erased_by="mallory").exists()


@pytest.fixture
def erased(admin_client: Client, active: Subscriber) -> str:
    """The URL of the page of a contact that was erased in the admin."""
    erase_by_admin(admin_client, active)
    return f"{CONTACTS}{active.pk}/"


@pytest.mark.parametrize(
    "text",
    [
        "was erased on",
        "by admin.",
        "Contacts: 1 deleted",
        "Tags: 1 deleted",
        "Lists: 0 deleted",
        "Events: 1 deleted",
        "Occurrences: 2 deleted",
        "Entries of the admin\u2019s history without the name now: 0",
        f"SHA-256 of the lower-cased e-mail, its domain in punycode: {ADA_SHA256}",
    ],
)
def test_the_page_of_a_receipt_shows_it(admin_client: Client, erased: str, text: str) -> None:
    assert text in text_of(open_page(admin_client, f"{erased}erased/"))


def test_the_page_of_a_receipt_names_no_email(admin_client: Client, erased: str) -> None:
    assert "@" not in open_page(admin_client, f"{erased}erased/")


def test_a_receipt_is_downloaded_from_its_page(
    admin_client: Client, active: Subscriber, erased: str
) -> None:
    link = re.search('href="([^"]+/receipt.json)"', open_page(admin_client, f"{erased}erased/"))
    assert link
    response = admin_client.get(link[1])
    assert response.headers["Content-Type"] == "application/json"
    name = f"erased-contact-{active.pk}.json"
    assert response.headers["Content-Disposition"] == f"attachment; filename={name}"
    erasure = Erasure.objects.get()
    assert response.json() == {
        "contact_id": active.pk,
        "email_sha256": ADA_SHA256,
        "erased_at": erasure.erased_at.isoformat(),
        "erased_by": "admin",
        "tallybook": __version__,
        "deleted": DELETED,
        "made_nameless": {"admin_history": 0, "segments": 0, "automations": 0},
    }


def test_the_page_of_an_erased_contact_redirects_to_its_receipt(
    admin_client: Client, erased: str
) -> None:
    response = admin_client.get(erased)
    assert (response.status_code, response.headers["Location"]) == (302, f"{erased}erased/")


def test_the_page_of_an_erased_contact_is_not_found_by_users_who_may_not_erase(
    erased: str,
) -> None:
    browser = browser_of(staff_user("view_subscriber"))
    assert browser.get(erased).status_code == 404


@pytest.mark.parametrize("path", ["erased/", "erased/receipt.json"])
def test_a_contact_that_was_not_erased_has_no_receipt(
    admin_client: Client, ada: Subscriber, path: str
) -> None:
    response = admin_client.get(f"{CONTACTS}{ada.pk}/{path}", follow=True)
    assert response.redirect_chain == [("/admin/", 302)]
    assert f"There is no contact {ada.pk}" in response.content.decode()


def test_of_two_receipts_of_one_id_the_newer_is_shown(admin_client: Client, erased: str) -> None:
    old = Erasure.objects.get()
    Erasure.objects.create(
        contact_id=old.contact_id,
        email_sha256=old.email_sha256,
        erased_at=now(),
        erased_by="someone else",
        version=__version__,
        counts=old.counts,
    )
    receipt = admin_client.get(f"{erased}erased/receipt.json").json()
    assert receipt["erased_by"] == "someone else"


# What the earlier version kept as a message in Django's log.
RECEIPT = {
    "contact_id": 7,
    "email_sha256": ADA_SHA256,
    "erased_at": "2026-11-22T08:05:00+00:00",
    "erased_by": "ada",
    "tallybook": "0.1.0",
    "deleted": {"contacts": 1, "events": 2},
    "made_nameless": {"admin_history": 1},
}


def receipt_of(contact_id: int) -> str:
    """Return the receipt of a contact as the log kept it."""
    return json.dumps({**RECEIPT, "contact_id": contact_id}, separators=(",", ":"))


class Carried(NamedTuple):
    """What migrations leave of receipts in the log, by the entries' ids."""

    receipt: int
    others: list[int]
    message_before: str


@pytest.fixture(scope="class")
def carried(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Carried]:
    """A store that went back to the version that kept receipts in the log, and forward again.

    It did so once for all tests of a class, because that takes seconds.
    """
    with django_db_blocker.unblock(), rolled_back():
        user = User.objects.create_user("eve")
        Group.objects.create(name="clerks")
        now_erased = add_log_entry(user, 7, "(erased)", DELETION)
        Erasure.objects.create(
            contact_id=7,
            email_sha256=ADA_SHA256,
            erased_at=datetime(2026, 11, 22, 8, 5, tzinfo=UTC),
            erased_by="ada",
            version="0.1.0",
            counts={name: RECEIPT[name] for name in ("deleted", "made_nameless")},
        )
        connection.check_constraints()
        call_command("migrate", "crm", "0003", verbosity=0)
        now_erased.refresh_from_db()
        erased = add_log_entry(user, 8, "(erased)", DELETION, receipt_of(8))
        others = [
            add_log_entry(user, 7, "ada@example.com", CHANGE, receipt_of(7)),
            add_log_entry(user, 8, "bob@example.com", DELETION, "Deleted."),
            add_log_entry(user, 9, "cyd@example.com", DELETION),
        ]
        # As in a store of the earlier version.
        Permission.objects.filter(codename="view_erasure").delete()
        connection.check_constraints()
        call_command("migrate", verbosity=0)
        yield Carried(erased.pk, [entry.pk for entry in others], now_erased.change_message)


class TestMigrations:
    def test_a_receipt_is_carried_over_from_the_log(self, carried: Carried, db: None) -> None:
        erasure = Erasure.objects.get(contact_id=8)
        assert erasure.receipt() == {**RECEIPT, "contact_id": 8}
        assert erasure.erased_at == datetime(2026, 11, 22, 8, 5, tzinfo=UTC)
        entry = LogEntry.objects.get(pk=carried.receipt)
        assert (entry.object_repr, entry.change_message) == ("(erased)", "")

    def test_other_entries_of_the_log_are_left(self, carried: Carried, db: None) -> None:
        entries = LogEntry.objects.filter(pk__in=carried.others).order_by("id")
        messages = [receipt_of(7), "Deleted.", ""]
        assert list(entries.values_list("change_message", flat=True)) == messages
        assert {*Erasure.objects.values_list("contact_id", flat=True)} == {7, 8}

    def test_backwards_a_receipt_is_carried_into_the_log(self, carried: Carried, db: None) -> None:
        assert json.loads(carried.message_before) == RECEIPT
        assert Erasure.objects.get(contact_id=7).receipt() == RECEIPT

    @pytest.mark.parametrize(("name", "may_see"), [("manager", True), ("clerks", False)])
    def test_managers_may_see_receipts(
        self, carried: Carried, db: None, name: str, may_see: bool
    ) -> None:
        permissions = Group.objects.get(name=name).permissions
        assert permissions.filter(codename="view_erasure").exists() is may_see


def by_email(operator: str, value: Any) -> Any:
    return {"source": ["subscriber", "email"], "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("operator", "value", "left"),
    [
        ("=", "ADA@example.com ", "(erased)"),
        ("!=", "ada@example.com", "(erased)"),
        ("in", ["bob@example.com", "ada@example.com"], ["bob@example.com", "(erased)"]),
    ],
)
def test_an_erasure_replaces_the_e_mail_in_segments_which_match_the_others_as_before(
    api: APIClient, ada: Subscriber, operator: str, value: Any, left: Any
) -> None:
    create({"email": "bob@example.com"})
    segment = create_segment({"title": "S", "slug": "s", "filters": [[by_email(operator, value)]]})
    path = f"/segments/{segment.pk}/subscribers"
    before = {row["email"] for row in api.get(path).json()["subscribers"]["data"]}
    erasure = erase_contact(ada.pk, by="admin")
    segment.refresh_from_db()
    assert segment.filters == [[by_email(operator, left)]]
    assert erasure.counts["made_nameless"]["segments"] == 1
    after = {row["email"] for row in api.get(path).json()["subscribers"]["data"]}
    assert after == before - {ada.email}


def test_an_erasure_leaves_segments_without_the_e_mail_alone(ada: Subscriber) -> None:
    filters = [[by_email("=", "bob@example.com")], [by_email("contains", "ada")]]
    segment = create_segment({"title": "S", "slug": "s", "filters": filters})
    assert erase_contact(ada.pk, by="admin").counts["made_nameless"]["segments"] == 0
    left = Segment.objects.get()
    assert (left.filters, left.updated_at) == (filters, segment.updated_at)
