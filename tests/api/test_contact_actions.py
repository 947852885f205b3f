"""What is done to the selected contacts: tags, lists, deletion with true counts."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crm.admin import deletion
from crm.admin import label_actions as actions
from crm.contacts import create, delete_contacts
from crm.labels import attach, create_label
from crm.models import List, Subscriber, Tag
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/admin/crm/subscriber/"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def ids() -> list[int]:
    return [create({"email": f"c{number}@example.com"}).pk for number in range(3)]


def segments(kind: Any, *titles: str) -> list[int]:
    return [
        create_label(kind, {"title": title, "slug": f"s{number}"}).pk
        for number, title in enumerate(titles)
    ]


def hidden(page: str) -> dict[str, list[str]]:
    """The form of a page between, as a browser would send it back."""
    sent: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page):
        sent.setdefault(name, []).append(value)
    return sent


def act(people: Client, action: str, ids: Sequence[int], query: str = "", **more: Any) -> str:
    """Select contacts and an action: the page that asks."""
    chosen = {"action": action, "_selected_action": ids, "index": 0, **more}
    answer = people.post(PATH + query, chosen)
    assert answer.status_code == 200
    return answer.content.decode()


def confirm(people: Client, page: str, query: str = "", **more: Any) -> str:
    """Send the form of the page: what the next page says."""
    address = re.search(r'<form method="post" action="([^"]*)"', page)
    assert address
    assert address[1].replace("&amp;", "&") == PATH + query
    answer = people.post(PATH + query, hidden(page) | more, follow=True)
    said = re.findall(r'<li class="(?:success|error)">(.*?)</li>', answer.content.decode(), re.S)
    return said[0] if said else answer.content.decode()


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_tags_and_lists_are_added_and_removed(people: Client, ids: list[int], kind: Any) -> None:
    first, second, third = segments(kind, HOSTILE, "Two", "Three")
    attach(kind, ids[:1], [first])
    through = getattr(Subscriber, kind).through.objects
    column = "tag_id" if kind == "tags" else "list_id"

    page = act(people, f"add_{kind}", ids[:2])
    assert "2 contacts" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert through.count() == 1
    said = confirm(people, page, segments=[first, second])
    assert f"2 contacts{'' if kind == 'tags' else ' to lists'}: 3 added, 1 already there." in said
    assert sorted(through.values_list("subscriber_id", column)) == [
        (contact, one) for contact in ids[:2] for one in (first, second)
    ]

    said = confirm(people, act(people, f"remove_{kind}", ids), segments=[first, third])
    assert "2 removed, 4 not there." in said
    assert sorted(through.values_list("subscriber_id", column)) == [
        (contact, second) for contact in ids[:2]
    ]


def test_nothing_chosen_or_nonsense_is_asked_again(people: Client, ids: list[int]) -> None:
    segments("tags", "One")
    page = act(people, "add_tags", ids)
    for chosen in ([], ["987654"], ["x"]):
        again = confirm(people, page, segments=chosen)
        assert "errorlist" in again
        assert hidden(again)["_selected_action"] == [str(one) for one in ids]


def test_all_pages_are_meant_under_the_filters_and_in_batches(
    people: Client, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    Subscriber.objects.filter(pk__in=ids[:2]).update(status="pending")
    [tag] = segments("tags", "One")
    attach("tags", ids, [tag])
    monkeypatch.setattr(actions, "CONTACTS_AT_ONCE", 1)
    query = f"?status=pending&tag={tag}"
    page = act(people, "remove_tags", ids[:1], query, select_across="1")
    assert "2 contacts" in page
    assert hidden(page)["_selected_action"] == [str(ids[0])]
    # The filter finds fewer with each batch, and all that were meant lose the tag.
    assert "2 removed, 0 not there." in confirm(people, page, query, segments=[tag])
    assert [one.pk for one in Subscriber.objects.filter(tags=tag)] == ids[2:]


def test_who_may_only_see_contacts_changes_none(people: Client, ids: list[int]) -> None:
    [tag] = segments("tags", "One")
    segments("lists", "One")
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_subscriber"))
    people.force_login(clerk)
    for action in ("add_tags", "remove_tags", "add_lists", "remove_lists", "delete_selected"):
        form = {"action": action, "_selected_action": ids, "chosen": "yes", "segments": [tag]}
        people.post(PATH, {**form, "post": "yes"})
    assert Subscriber.objects.count() == 3
    assert Tag.subscribers.through.objects.count() == List.subscribers.through.objects.count() == 0


def history(contact: int, times: int = 3) -> None:
    for _ in range(times):
        track({"event_key": "k", "title": HOSTILE, "subscriber_id": contact})
    # Two of the three were pruned, or imported.
    EventOccurrence.objects.filter(subscriber_id=contact, counter__lt=times).delete()
    TrackedEvent.objects.filter(subscriber_id=contact).update(unlogged=times - 1)


@pytest.mark.parametrize("one", [True, False])
def test_deletion_names_the_true_counts_before(people: Client, ids: list[int], one: bool) -> None:
    create({"email": "b@example.com", "first_name": HOSTILE})
    attach("tags", ids, segments("tags", "One", "Two"))
    for contact in ids:
        history(contact)
    chosen = ids[:1] if one else ids[:2]
    number = len(chosen)
    with CaptureQueriesContext(connection) as queries:
        if one:
            page = people.get(f"{PATH}{ids[0]}/delete/").content.decode()
        else:
            page = act(people, "delete_selected", chosen)
    assert len(queries) <= 12
    for said in (
        f"Contacts: {number}",
        f"Tags on them: {2 * number}",
        "Lists they are on: 0",
        f"Events: {number}",
        f"Occurrences: {number}",
        "c0@example.com</a>",
    ):
        assert said in page
    assert Subscriber.objects.count() == 4
    if one:
        people.post(f"{PATH}{ids[0]}/delete/", {"post": "yes"})
    else:
        said = confirm(people, page)
        assert "Deleted: 2 contacts, 2 events, 2 occurrences." in said
    left = set(ids) - set(chosen)
    assert set(TrackedEvent.objects.values_list("subscriber_id", flat=True)) == left
    # The admin's history may name whom it is about; erasing is another page.
    assert set(LogEntry.objects.values_list("object_repr", flat=True)) == {
        f"c{number}@example.com" for number in range(len(chosen))
    }


def test_what_is_counted_before_is_what_is_deleted(ids: list[int]) -> None:
    from crm.contacts import count_contacts

    attach("tags", ids, segments("tags", "One", "Two"))
    attach("lists", ids[:1], segments("lists", "One"))
    for contact in ids[:2]:
        history(contact)
    before = count_contacts([*ids, 987654])
    assert before == {"contacts": 3, "tags": 6, "lists": 1, "events": 2, "occurrences": 2}
    assert delete_contacts([*ids, 987654]) == before
    assert set(delete_contacts(ids).values()) == {0}


def many(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO crm_subscriber (email, status, contact_type, total_points, "
            "life_time_value, custom_values, created_at, updated_at) "
            "SELECT 'm' || n || '@example.com', 'spammed', 'lead', 0, 0, '{}', now(), now() "
            "FROM generate_series(1, %s) n",
            [number],
        )


def test_thousands_are_deleted_in_batches_and_twenty_are_named(
    people: Client, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    many(2500)
    batches = []

    def counted(some: Sequence[int]) -> dict[str, int]:
        batches.append(len(some))
        return delete_contacts(some)

    monkeypatch.setattr(deletion, "delete_contacts", counted)
    query = "?status=spammed"
    page = act(people, "delete_selected", ids[:1], query, select_across="1")
    assert "Contacts: 2,500" in page
    assert len(re.findall("m[0-9]+@example.com", page)) == 20
    assert "and 2,480 more" in page
    assert "Deleted: 2,500 contacts." in confirm(people, page, query)
    assert batches == [1000, 1000, 500]
    assert Subscriber.objects.count() == 3


def test_others_than_were_named_are_not_deleted_unasked_though_as_many(people: Client) -> None:
    many(2)
    query = "?status=spammed"
    page = act(people, "delete_selected", [1], query, select_across="1")
    Subscriber.objects.filter(email="m1@example.com").update(status="pending")
    create({"email": "new@example.com", "status": "spammed"})
    assert "Contacts came or went" in confirm(people, page, query)
    assert Subscriber.objects.count() == 3
    assert "Deleted: 2 contacts." in confirm(people, confirm(people, page, query), query)
    assert list(Subscriber.objects.values_list("email", flat=True)) == ["m1@example.com"]


def test_more_than_were_named_are_not_deleted_unasked(people: Client) -> None:
    many(2)
    page = act(people, "delete_selected", [1], select_across="1")
    create({"email": "new@example.com"})
    again = confirm(people, page)
    assert "Contacts came or went" in again
    assert "Contacts: 3" in again
    assert Subscriber.objects.count() == 3
    assert "Deleted: 3 contacts." in confirm(people, again)


def test_a_deletion_that_stops_says_how_far_it_came(
    people: Client, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(some: Sequence[int]) -> dict[str, int]:
        if ids[2] in some:
            raise OperationalError("canceling statement due to statement timeout")
        return delete_contacts(some)

    monkeypatch.setattr(deletion, "CONTACTS_AT_ONCE", 2)
    monkeypatch.setattr(deletion, "delete_contacts", failing)
    said = confirm(people, act(people, "delete_selected", ids))
    assert "Stopped by the database. Deleted: 2 contacts." in said
    assert [one.pk for one in Subscriber.objects.all()] == ids[2:]
    assert LogEntry.objects.count() == 2
