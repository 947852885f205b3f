"""Actions on the selected contacts: tags, lists, deletion with true counts."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crm.attachments import attach
from crm.contacts import count_contacts, create, delete_contacts
from crm.labels import create_label
from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track
from tests.api.pages import (
    CONTACTS,
    ESCAPED,
    HOSTILE,
    browser_of,
    hidden_fields_of,
    open_page,
    staff_user,
)

pytestmark = pytest.mark.django_db
Kind = Literal["tags", "lists"]


@pytest.fixture
def ids() -> list[int]:
    """The ids of three contacts."""
    return [create({"email": f"c{number}@example.com"}).pk for number in range(3)]


@pytest.fixture
def two_spammed() -> list[Subscriber]:
    """Two contacts with the status spammed."""
    return create_spammed(2)


def create_spammed(number: int) -> list[Subscriber]:
    """Create m1@example.com and so on, all with the status spammed."""
    return Subscriber.objects.bulk_create(
        Subscriber(email=f"m{place}@example.com", status="spammed")
        for place in range(1, number + 1)
    )


def create_labels(kind: Kind, *titles: str) -> list[int]:
    """Create tags or lists, and return their ids."""
    return [
        create_label(kind, {"title": title, "slug": f"s{number}"}).pk
        for number, title in enumerate(titles)
    ]


def labelled(kind: Kind) -> list[tuple[int, int]]:
    """Return which contact has which tag or list."""
    rows = getattr(Subscriber, kind).through.objects
    return sorted(rows.values_list("subscriber_id", f"{kind[:-1]}_id"))


def act(browser: Client, action: str, ids: Sequence[int], query: str = "", **more: Any) -> str:
    """Select contacts and an action, and return the page that asks."""
    form = {"action": action, "_selected_action": ids, "index": 0, **more}
    response = browser.post(CONTACTS + query, form)
    assert response.status_code == 200
    return response.content.decode()


def confirm(browser: Client, page: str, query: str = "", **more: Any) -> str:
    """Send the form of a page that asks, and return the message of the next, or all of it."""
    address = re.search(r'<form method="post" action="([^"]*)"', page)
    assert address
    assert address[1].replace("&amp;", "&") == CONTACTS + query
    response = browser.post(CONTACTS + query, hidden_fields_of(page) | more, follow=True)
    next_page = response.content.decode()
    message = re.search(r'<li class="(?:success|error)">(.*?)</li>', next_page, re.DOTALL)
    return message[1] if message else next_page


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_the_page_that_asks_for_labels_offers_them_and_changes_nothing(
    admin_client: Client, ids: list[int], kind: Kind
) -> None:
    create_labels(kind, HOSTILE)
    page = act(admin_client, f"add_{kind}", ids[:2])
    assert "2 contacts" in page
    assert HOSTILE not in page
    assert ESCAPED in page
    assert labelled(kind) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("tags", "2 contacts: 3 added, 1 already there."),
        ("lists", "2 contacts to lists: 3 added, 1 already there."),
    ],
)
def test_labels_are_added(admin_client: Client, ids: list[int], kind: Kind, message: str) -> None:
    first, second, _ = create_labels(kind, "One", "Two", "Three")
    attach(kind, ids[:1], [first])
    page = act(admin_client, f"add_{kind}", ids[:2])
    assert message in confirm(admin_client, page, labels=[first, second])
    assert labelled(kind) == [(contact, one) for contact in ids[:2] for one in (first, second)]


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_labels_are_removed(admin_client: Client, ids: list[int], kind: Kind) -> None:
    first, second, third = create_labels(kind, "One", "Two", "Three")
    attach(kind, ids[:2], [first, second])
    page = act(admin_client, f"remove_{kind}", ids)
    message = confirm(admin_client, page, labels=[first, third])
    assert "2 removed, 4 not there." in message
    assert labelled(kind) == [(contact, second) for contact in ids[:2]]


@pytest.mark.parametrize("chosen", [[], ["987654"], ["x"]])
def test_without_a_valid_label_the_page_asks_again(
    admin_client: Client, ids: list[int], chosen: list[str]
) -> None:
    create_labels("tags", "One")
    page = act(admin_client, "add_tags", ids)
    again = confirm(admin_client, page, labels=chosen)
    assert "errorlist" in again
    assert hidden_fields_of(again)["_selected_action"] == [str(one) for one in ids]


def test_an_action_on_all_pages_keeps_to_the_filters_and_works_in_batches(
    admin_client: Client, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    Subscriber.objects.filter(pk__in=ids[:2]).update(status="pending")
    [tag] = create_labels("tags", "One")
    attach("tags", ids, [tag])
    monkeypatch.setattr("crm.admin.label_actions.CONTACTS_PER_TRANSACTION", 1)
    query = f"?status=pending&tag={tag}"
    page = act(admin_client, "remove_tags", ids[:1], query, select_across="1")
    assert "2 contacts" in page
    assert hidden_fields_of(page)["_selected_action"] == [str(ids[0])]
    # The filter finds fewer with each batch, and all that were meant lose the tag.
    assert "2 removed, 0 not there." in confirm(admin_client, page, query, labels=[tag])
    assert labelled("tags") == [(ids[2], tag)]


@pytest.mark.parametrize(
    "action", ["add_tags", "remove_tags", "add_lists", "remove_lists", "delete_selected"]
)
def test_users_who_may_only_see_contacts_change_none(ids: list[int], action: str) -> None:
    [tag] = create_labels("tags", "One")
    [other_list] = create_labels("lists", "One")
    attach("tags", ids[:1], [tag])
    attach("lists", ids[:1], [other_list])
    kind = action.partition("_")[2]
    chosen = {"tags": tag, "lists": other_list}.get(kind, "")
    form = {"action": action, "_selected_action": ids, "chosen": "yes", "labels": [chosen]}
    browser_of(staff_user("view_subscriber")).post(CONTACTS, {**form, "post": "yes"})
    assert Subscriber.objects.count() == 3
    assert labelled("tags") == [(ids[0], tag)]
    assert labelled("lists") == [(ids[0], other_list)]


def create_history(contact_id: int) -> None:
    """Track three times, of which two have no occurrence any more: they were pruned."""
    for _ in range(3):
        track({"event_key": "k", "title": HOSTILE, "subscriber_id": contact_id})
    EventOccurrence.objects.filter(subscriber_id=contact_id, counter__lt=3).delete()
    TrackedEvent.objects.filter(subscriber_id=contact_id).update(unlogged=2)


@pytest.fixture
def with_history(ids: list[int]) -> list[int]:
    """The three contacts, each with two tags and a history, and a fourth contact."""
    create({"email": "b@example.com", "first_name": HOSTILE})
    attach("tags", ids, create_labels("tags", "One", "Two"))
    for contact_id in ids:
        create_history(contact_id)
    return ids


def assert_page_counts(page: str, contacts: int) -> None:
    """The page that asks names these contacts with all that goes with them."""
    for text in (
        f"Contacts: {contacts}",
        f"Tags on them: {2 * contacts}",
        "Lists they are on: 0",
        f"Events: {contacts}",
        f"Occurrences: {contacts}",
        "c0@example.com</a>",
    ):
        assert text in page
    assert Subscriber.objects.count() == 4


def assert_deleted(deleted: list[int], rest: list[int]) -> None:
    """These contacts are deleted with their events, and named in the admin's history."""
    assert not Subscriber.objects.filter(pk__in=deleted).exists()
    assert set(TrackedEvent.objects.values_list("subscriber_id", flat=True)) == set(rest)
    # The admin's history may name whom it is about; erasing is another page.
    named = LogEntry.objects.filter(object_id__isnull=False)
    assert set(named.values_list("object_repr", flat=True)) == {
        f"c{number}@example.com" for number in range(len(deleted))
    }


def test_deleting_a_contact_names_the_true_counts(
    admin_client: Client, with_history: list[int]
) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = open_page(admin_client, f"{CONTACTS}{with_history[0]}/delete/")
    assert len(queries) <= 12
    assert_page_counts(page, 1)


def test_deleting_a_contact_deletes_its_events(
    admin_client: Client, with_history: list[int]
) -> None:
    admin_client.post(f"{CONTACTS}{with_history[0]}/delete/", {"post": "yes"})
    assert_deleted(with_history[:1], with_history[1:])


def test_deleting_the_selected_contacts_names_the_true_counts(
    admin_client: Client, with_history: list[int]
) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = act(admin_client, "delete_selected", with_history[:2])
    assert len(queries) <= 12
    assert_page_counts(page, 2)


def test_deleting_the_selected_contacts_deletes_their_events(
    admin_client: Client, with_history: list[int]
) -> None:
    page = act(admin_client, "delete_selected", with_history[:2])
    message = confirm(admin_client, page)
    assert "Deleted: 2 contacts, 2 events, 2 occurrences." in message
    assert_deleted(with_history[:2], with_history[2:])


def test_what_is_counted_before_is_what_is_deleted(ids: list[int]) -> None:
    attach("tags", ids, create_labels("tags", "One", "Two"))
    attach("lists", ids[:1], create_labels("lists", "One"))
    for contact_id in ids[:2]:
        create_history(contact_id)
    before = count_contacts([*ids, 987654])
    rows = {"contacts": 3, "tags": 6, "lists": 1, "notes": 0, "events": 2, "occurrences": 2}
    assert before == rows | {"webhook_deliveries": 0, "automation_runs": 0}
    assert delete_contacts([*ids, 987654]) == before
    assert set(delete_contacts(ids).values()) == {0}


def test_of_thousands_to_be_deleted_twenty_are_named(admin_client: Client, ids: list[int]) -> None:
    create_spammed(2500)
    page = act(admin_client, "delete_selected", ids[:1], "?status=spammed", select_across="1")
    assert "Contacts: 2,500" in page
    assert len(re.findall("m[0-9]+@example.com", page)) == 20
    assert "and 2,480 more" in page


def test_thousands_are_deleted_in_batches(
    admin_client: Client, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    create_spammed(2500)
    batches = []

    def counted(some: Sequence[int]) -> dict[str, int]:
        batches.append(len(some))
        return delete_contacts(some)

    monkeypatch.setattr("crm.admin.deletion.delete_contacts", counted)
    query = "?status=spammed"
    page = act(admin_client, "delete_selected", ids[:1], query, select_across="1")
    assert "Deleted: 2,500 contacts." in confirm(admin_client, page, query)
    assert batches == [1000, 1000, 500]
    assert sorted(Subscriber.objects.values_list("pk", flat=True)) == ids


def test_contacts_that_changed_places_are_not_deleted_unasked(
    admin_client: Client, two_spammed: list[Subscriber]
) -> None:
    query = "?status=spammed"
    page = act(admin_client, "delete_selected", [1], query, select_across="1")
    Subscriber.objects.filter(email="m1@example.com").update(status="pending")
    create({"email": "new@example.com", "status": "spammed"})
    again = confirm(admin_client, page, query)
    assert "The selection has changed" in again
    assert Subscriber.objects.count() == 3
    assert "Deleted: 2 contacts." in confirm(admin_client, again, query)
    assert Subscriber.objects.get().email == "m1@example.com"


def test_contacts_that_came_meanwhile_are_not_deleted_unasked(
    admin_client: Client, two_spammed: list[Subscriber]
) -> None:
    page = act(admin_client, "delete_selected", [1], select_across="1")
    create({"email": "new@example.com"})
    again = confirm(admin_client, page)
    assert "The selection has changed" in again
    assert "Contacts: 3" in again
    assert Subscriber.objects.count() == 3
    assert "Deleted: 3 contacts." in confirm(admin_client, again)


def test_a_deletion_that_fails_midway_says_how_many_were_deleted(
    admin_client: Client, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(some: Sequence[int]) -> dict[str, int]:
        if ids[2] in some:
            raise OperationalError("canceling statement due to statement timeout")
        return delete_contacts(some)

    monkeypatch.setattr("crm.admin.deletion.CONTACTS_PER_TRANSACTION", 2)
    monkeypatch.setattr("crm.admin.deletion.delete_contacts", failing)
    message = confirm(admin_client, act(admin_client, "delete_selected", ids))
    assert "Stopped by the database. Deleted: 2 contacts." in message
    assert [one.pk for one in Subscriber.objects.all()] == ids[2:]
    assert LogEntry.objects.filter(object_id__isnull=False).count() == 2
    [summary] = LogEntry.objects.filter(object_id__isnull=True)
    assert summary.object_repr == "3 contacts"
    assert summary.change_message == "Stopped by the database. Deleted: 2 contacts."
