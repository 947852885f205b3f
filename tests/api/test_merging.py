"""Two contacts that are merged: what the survivor has, what a person chooses, and errors."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from config.api.errors import InvalidFields
from config.database import fetch_rows
from crm.attachments import attach
from crm.contacts import create, delete_contacts, set_custom_values
from crm.merge_plans import Choice, Merge
from crm.merging import merge_contacts
from crm.models import Identity, Subscriber, Tag
from crm.notes import add_note
from events.maintenance import prune_occurrences
from events.models import EventOccurrence, IdempotencyKey, TrackedEvent
from events.personal_data import erase_contact
from events.tracking import track
from events.tracking.corrections import take_back_by_key
from events.verification import find_differences, find_orphans

TABLES = (
    *("crm_subscriber", "crm_identity", "crm_subscriber_tags", "crm_subscriber_lists"),
    *("crm_subscribernote", "events_trackedevent", "events_eventoccurrence"),
    "events_idempotencykey",
)
EARLY, LATE = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def bob(db: None) -> Subscriber:
    """The contact bob@example.com, who is merged into Ada."""
    return create({"email": "bob@example.com"})


def merge(survivor: Subscriber, other: Subscriber, *take: str, **options: Any) -> Merge:
    """Merge a contact into another one by its id."""
    choice = Choice(take, options.pop("status", None))
    return merge_contacts(survivor.pk, ("contact", str(other.pk)), choice, **options)


def post(api: APIClient, survivor: Subscriber, **body: Any) -> Any:
    return api.post(f"/subscribers/{survivor.pk}/merge", body)


def did(email: str, title: str = "t", hour: int = 0, **options: Any) -> TrackedEvent:
    """Track an event at an hour, which is its value."""
    data = {"event_key": "k", "title": title, "email": email, "value": str(hour)}
    return track({**data, "occurred_at": EARLY + timedelta(hours=hour)}, **options)


def state() -> dict[str, list[Any]]:
    """Return all rows of contacts and of what they have."""
    return {table: fetch_rows(f"SELECT * FROM {table} ORDER BY 1", {}) for table in TABLES}


def faults() -> list[Any]:
    return [*find_differences(), *(fault for fault in find_orphans() if fault.number)]


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ({"phone": "1"}, {"phone": "2"}, {"phone": "1"}),
        ({"phone": None}, {"phone": "2"}, {"phone": "2"}),
        ({"phone": ""}, {"phone": "2"}, {"phone": "2"}),
        ({"total_points": 2}, {"total_points": 3}, {"total_points": 5}),
        ({"life_time_value": 2**63 - 1}, {"life_time_value": 3}, {"life_time_value": 2**63 - 1}),
        ({"created_at": LATE}, {"created_at": EARLY}, {"created_at": EARLY}),
        ({"last_activity": EARLY}, {"last_activity": LATE}, {"last_activity": LATE}),
        ({"last_activity": EARLY}, {}, {"last_activity": EARLY}),
        ({"contact_type": "lead"}, {"contact_type": "customer"}, {"contact_type": "lead"}),
        ({"made_by_track": True}, {}, {"made_by_track": False}),
    ],
)
def test_the_survivor_keeps_its_values_and_gets_those_that_it_lacks(
    ada: Subscriber,
    bob: Subscriber,
    own: dict[str, Any],
    other: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    Subscriber.objects.filter(pk=ada.pk).update(**own)
    Subscriber.objects.filter(pk=bob.pk).update(**other)
    merge(ada, bob)
    contact = Subscriber.objects.get()
    assert contact.pk == ada.pk
    assert {name: getattr(contact, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("own", "other", "expected"),
    [
        ("subscribed", "pending", "subscribed"),
        ("pending", "subscribed", "pending"),
        ("transactional", "subscribed", "transactional"),
        ("subscribed", "unsubscribed", "unsubscribed"),
        ("unsubscribed", "subscribed", "unsubscribed"),
        ("unsubscribed", "bounced", "bounced"),
        ("bounced", "spammed", "spammed"),
        ("complained", "spammed", "complained"),
        ("pending", "complained", "complained"),
    ],
)
def test_an_opt_out_of_either_contact_stays(
    ada: Subscriber, bob: Subscriber, own: str, other: str, expected: str
) -> None:
    Subscriber.objects.filter(pk=ada.pk).update(status=own)
    Subscriber.objects.filter(pk=bob.pk).update(status=other)
    merge(ada, bob)
    assert Subscriber.objects.get().status == expected


@pytest.mark.parametrize(("own", "other"), [("unsubscribed", "subscribed"), ("pending", "bounced")])
def test_the_other_status_is_chosen_by_its_name_alone(
    ada: Subscriber, bob: Subscriber, own: str, other: str
) -> None:
    Subscriber.objects.filter(pk=ada.pk).update(status=own)
    Subscriber.objects.filter(pk=bob.pk).update(status=other)
    with pytest.raises(InvalidFields, match="must be that of one of the contacts"):
        merge(ada, bob, status="transactional")
    with pytest.raises(InvalidFields, match="chosen by its name"):
        merge(ada, bob, "status")
    chosen = own if other == "bounced" else other
    merge(ada, bob, status=chosen)
    assert Subscriber.objects.get().status == chosen


def test_chosen_columns_come_from_the_other_contact(ada: Subscriber, bob: Subscriber) -> None:
    Subscriber.objects.filter(pk=ada.pk).update(phone="1", city="Rome", total_points=5)
    Subscriber.objects.filter(pk=bob.pk).update(phone="2", city=None, total_points=3)
    merged = merge(ada, bob, "phone", "city", "total_points")
    contact = Subscriber.objects.get()
    assert (contact.phone, contact.city, contact.total_points) == ("2", None, 3)
    assert merged.changes == {"phone": ("1", "2"), "city": ("Rome", None), "total_points": (5, 3)}


def test_the_email_of_the_other_contact_may_be_chosen(ada: Subscriber, bob: Subscriber) -> None:
    merge(ada, bob, "email")
    contact = Subscriber.objects.get()
    assert (contact.pk, contact.email, contact.email_key) == (ada.pk, bob.email, bob.email)
    assert did("ada@example.com").subscriber_id == did("bob@example.com").subscriber_id == ada.pk
    assert faults() == []


def test_who_gets_the_email_of_an_erased_contact_is_not_subscribed(ada: Subscriber) -> None:
    erase_contact(create({"email": "bob@example.com"}).pk, by="test")
    bob = create({"email": "bob@example.com"})
    assert (ada.status, bob.status) == ("subscribed", "pending")
    merged = merge(ada, bob, "email")
    assert Subscriber.objects.get().status == "pending"
    assert merged.changes["status"] == ("subscribed", "pending")


def test_custom_values_are_joined_by_key_with_all_their_digits(
    ada: Subscriber, bob: Subscriber
) -> None:
    set_custom_values(ada, {"plan": "gold", "size": 44})
    set_custom_values(bob, {"plan": "free", "city": "Rome", "size": 45})
    with connection.cursor() as cursor:
        price = """UPDATE crm_subscriber SET custom_values = custom_values || '{"price": 1.10}'"""
        cursor.execute(f"{price} WHERE id = %s", [bob.pk])
    merged = merge(ada, bob, "custom_values.size")
    assert merged.changes == {
        "custom_values.city": (None, "Rome"),
        "custom_values.price": (None, 1.1),
        "custom_values.size": (44, 45),
    }
    [[text]] = fetch_rows("SELECT custom_values::text FROM crm_subscriber", {})
    assert text == '{"city": "Rome", "plan": "gold", "size": 45, "price": 1.10}'


def test_tags_lists_and_notes_are_joined(ada: Subscriber, bob: Subscriber, admin: User) -> None:
    tags = [Tag.objects.create(title=title, slug=title).pk for title in "abc"]
    attach("tags", [ada.pk], tags[:2])
    attach("tags", [bob.pk], tags[1:])
    add_note(bob.pk, {"title": "Call", "description": "", "type": "call"}, admin.pk)
    counts = merge(ada, bob).counts
    assert (counts["tags"], counts["lists"], counts["notes"]) == (1, 0, 1)
    assert sorted(ada.tags.values_list("id", flat=True)) == tags
    assert [note.title for note in ada.notes.all()] == ["Call"]
    assert faults() == []


def test_more_than_500_tags_are_rejected_with_their_number(
    api: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    tags = Tag.objects.bulk_create(Tag(title=str(n), slug=str(n)) for n in range(600))
    attach("tags", [ada.pk], [tag.pk for tag in tags[:500]])
    attach("tags", [bob.pk], [tag.pk for tag in tags[400:600]])
    before = state()
    response = post(api, ada, other_id=bob.pk)
    message = f"A contact may have 500 tags at most. The contact {ada.pk} would have 600."
    assert (response.status_code, response.json()) == (422, {"tags": {"max": message}})
    assert state() == before


@pytest.mark.parametrize(
    ("own", "other", "rule"),
    [
        ({"a": "x" * 40_000}, {"b": "x" * 40_000}, "max"),
        ({f"a{n}": 1 for n in range(200)}, {f"b{n}": 1 for n in range(200)}, "keys"),
    ],
)
def test_custom_values_that_become_too_large_are_rejected(
    api: APIClient, ada: Subscriber, bob: Subscriber, own: Any, other: Any, rule: str
) -> None:
    set_custom_values(ada, own)
    set_custom_values(bob, other)
    before = state()
    for dry_run in (True, False):
        response = post(api, ada, other_id=bob.pk, dry_run=dry_run)
        assert (response.status_code, list(response.json())) == (422, ["custom_values"])
        assert list(response.json()["custom_values"]) == [rule]
    assert state() == before


def test_events_of_the_same_key_and_title_are_added_up(ada: Subscriber, bob: Subscriber) -> None:
    kept = [did(ada.email, "both", hour) for hour in (2, 4)][1]
    for hour in (1, 5, 3):
        did(bob.email, "both", hour)
    moved = did(bob.email, "own", 7)
    single = [did(each.email, "both", 8, repeatable=False) for each in (ada, bob)]
    counts = merge(ada, bob).counts
    names = ("events_joined", "events_moved", "occurrences", "idempotency_keys")
    assert {name: counts[name] for name in names} == dict(zip(names, (1, 2, 5, 0), strict=True))
    joined = TrackedEvent.objects.get(pk=kept.pk)
    assert (joined.counter, joined.value) == (5, "5")
    assert (joined.created_at.hour, joined.updated_at.hour) == (1, 5)
    ids = {kept.pk, moved.pk, *(event.pk for event in single)}
    assert {event.pk for event in TrackedEvent.objects.filter(subscriber=ada)} == ids
    assert EventOccurrence.objects.filter(event=kept.pk, subscriber=ada).count() == 5
    assert did("bob@example.com", "both", 9).counter == 6
    assert faults() == []


def test_the_pruned_part_of_counters_is_added_up(ada: Subscriber, bob: Subscriber) -> None:
    for contact, hours in ((ada, (1, 8)), (bob, (1, 2, 9))):
        for hour in hours:
            did(contact.email, hour=hour)
    prune_occurrences(EARLY + timedelta(hours=5), None, lambda *_: None)
    assert merge(ada, bob).counts["occurrences"] == 1
    event = TrackedEvent.objects.get()
    assert (event.counter, event.unlogged, event.created_at.hour) == (5, 3, 1)
    assert faults() == []


def test_idempotency_keys_are_kept_also_of_what_was_taken_back(
    ada: Subscriber, bob: Subscriber
) -> None:
    kept = did(ada.email)
    first = {key: did(bob.email, idempotency_key=key).counter for key in "abc"}
    take_back_by_key("python", "b")
    assert merge(ada, bob).counts["idempotency_keys"] == 3
    for key, counter in first.items():
        again = did(bob.email, idempotency_key=key)
        assert (again.replayed, again.counter) == (True, counter)
        assert (again.pk, again.subscriber_id) == (kept.pk, ada.pk)
    assert TrackedEvent.objects.get().counter == 3
    assert faults() == []
    take_back_by_key("python", "a")
    assert TrackedEvent.objects.get().counter == 2
    delete_contacts([ada.pk])
    assert not IdempotencyKey.objects.exists()


def test_a_dry_run_names_the_same_and_changes_nothing(
    api: APIClient, ada: Subscriber, bob: Subscriber, admin: User
) -> None:
    Subscriber.objects.filter(pk=bob.pk).update(status="bounced", date_of_birth="1815-12-10")
    for title in ("both", "own"):
        did(bob.email, title, idempotency_key=title)
    did(ada.email, "both")
    add_note(bob.pk, {"title": "Call", "description": "", "type": "call"}, admin.pk)
    before = state()
    dry = post(api, ada, other_email=bob.email, dry_run=True)
    assert state() == before
    assert dry.json() == {
        "message": f"Contact {bob.pk} would be merged into contact {ada.pk}.",
        "id": ada.pk,
        "other_id": bob.pk,
        "dry_run": True,
        "counts": {
            **{"tags": 0, "lists": 0, "notes": 1, "identities": 0},
            **{"events_joined": 1, "events_moved": 1, "occurrences": 2, "idempotency_keys": 2},
            "automation_runs": 0,
            "webhook_deliveries": 0,
        },
        "changes": {
            "date_of_birth": {"old": None, "new": "1815-12-10"},
            "status": {"old": "subscribed", "new": "bounced"},
        },
    }
    done = post(api, ada, other_email=bob.email).json()
    assert done["message"] == f"Contact {bob.pk} has been merged into contact {ada.pk}."
    same = ("id", "other_id", "counts", "changes")
    assert {name: done[name] for name in same} == {name: dry.json()[name] for name in same}


@pytest.mark.parametrize("again", ["other_id", "other_email"])
def test_the_same_merge_a_second_time_changes_nothing(
    api: APIClient, ada: Subscriber, bob: Subscriber, again: str
) -> None:
    assert post(api, ada, other_id=bob.pk).status_code == 200
    before = state()
    response = post(api, ada, **{again: bob.pk if again == "other_id" else "BOB@example.com"})
    assert (response.status_code, response.json()["other_id"]) == (200, None)
    message = f"The other contact is part of contact {ada.pk} already."
    assert response.json()["message"] == message
    assert state() == before


def test_a_merged_contact_is_merged_on_with_its_aliases(
    api: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    cyd = create({"email": "cyd@example.com"})
    merge(bob, cyd)
    # Bob is named by an alias, and Ada after that by her id, which is one then.
    merge_contacts(ada.pk, ("email", "cyd@example.com"))
    dan = create({"email": "dan@example.com"})
    assert post(api, bob, other_id=dan.pk).json()["id"] == ada.pk
    aliases = Identity.objects.filter(subscriber=ada).values_list("value", flat=True)
    others = (bob, cyd, dan)
    assert set(aliases) == {*(each.email for each in others), *(str(each.pk) for each in others)}
    assert faults() == []


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({}, "other_id", "required"),
        ({"other_id": 0, "other_email": ""}, "other_id", "required"),
        ({"other_id": 1, "other_email": "bob@example.com"}, "other_id", "required"),
        ({"other_id": "x"}, "other_id", "numeric"),
        ({"other_id": 987654}, "other_id", "exists"),
        ({"other_email": "nobody@example.com"}, "other_email", "exists"),
        ({"other_email": "no e-mail"}, "other_email", "email"),
        ({"other_email": "ADA@example.com"}, "other_email", "different"),
        ({"take": ["fax"]}, "take", "in"),
        ({"take": ["custom_values.plan"]}, "take", "exists"),
        ({"status": "gone"}, "status", "in"),
        ({"dry_run": "maybe"}, "dry_run", "boolean"),
        ({"dry_run": None}, "dry_run", "boolean"),
        ({"dryrun": True}, "dryrun", "in"),
    ],
)
def test_an_invalid_request_is_422_by_field_and_changes_nothing(
    api: APIClient, ada: Subscriber, bob: Subscriber, body: Any, field: str, rule: str
) -> None:
    names = {} if body.keys() & {"other_id", "other_email"} or not body else {"other_id": bob.pk}
    before = state()
    response = post(api, ada, **body, **names)
    assert response.status_code == 422
    assert {name: list(rules) for name, rules in response.json().items()} == {field: [rule]}
    assert state() == before


def test_a_contact_is_not_merged_with_itself(api: APIClient, ada: Subscriber) -> None:
    response = post(api, ada, other_id=ada.pk)
    message = "A contact cannot be merged with itself."
    assert response.json() == {"other_id": {"different": message}}


def test_the_survivor_has_to_exist(api: APIClient, bob: Subscriber) -> None:
    response = api.post("/subscribers/987654/merge", {"other_id": bob.pk})
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


def test_a_request_moves_a_limited_number_of_rows_and_names_the_command(
    api: APIClient, ada: Subscriber, bob: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.api.merging.MAX_ROWS", 3)
    for hour in range(3):
        did(bob.email, hour=hour)
    message = (
        "The merge would move 4 rows, and a request moves 3 at most. "
        f"Run manage.py merge_contacts {ada.pk} {bob.pk}."
    )
    for dry_run in (True, False):
        response = post(api, ada, other_id=bob.pk, dry_run=dry_run)
        assert (response.status_code, response.json()) == (422, {"other_id": {"max": message}})
    call_command("merge_contacts", str(ada.pk), str(bob.pk), stdout=io.StringIO())
    assert TrackedEvent.objects.get().subscriber_id == ada.pk


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_command_prints_what_it_does(ada: Subscriber, bob: Subscriber, dry_run: bool) -> None:
    Subscriber.objects.filter(pk=bob.pk).update(city="Rome")
    did(bob.email)
    before, out = state(), io.StringIO()
    call_command("merge_contacts", "ADA@example.com", bob.email, dry_run=dry_run, stdout=out)
    verb = "would be" if dry_run else "has been"
    assert out.getvalue().splitlines() == [
        f"Contact {bob.pk} {verb} merged into contact {ada.pk}.",
        "Moved: 1 events moved, 1 occurrences.",
        "city: - becomes Rome",
    ]
    assert (state() == before) == dry_run


@pytest.mark.parametrize(
    ("survivor", "other", "error"),
    [
        ("nobody@example.com", "bob@example.com", "No contact has the e-mail or id 'nobody@"),
        ("ada@example.com", "987654", "The other contact does not exist"),
        ("ada@example.com", "Ada@Example.com", "cannot be merged with itself"),
    ],
)
def test_the_command_names_a_contact_that_it_cannot_merge(
    ada: Subscriber, bob: Subscriber, survivor: str, other: str, error: str
) -> None:
    before = state()
    with pytest.raises(CommandError, match=error):
        call_command("merge_contacts", survivor, other)
    assert state() == before
