"""The command seed_demo: believable demo data, as track() would have stored it."""

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.models import Avg, Count, F, Max, Min, Q
from django.utils import timezone
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from crm.contacts import delete_contacts
from crm.models import List, Subscriber, Tag
from events.models import EventName, EventOccurrence, TrackedEvent

CONTACTS, EVENTS_PER_CONTACT = 50, 10
DEMO_EMAIL = re.compile(r"(?:^|\.)demo(\d+)@example\.(com|net|org)$")


def seed() -> str:
    """Run the command, and return what it prints."""
    out = io.StringIO()
    call_command("seed_demo", contacts=CONTACTS, events_per_contact=EVENTS_PER_CONTACT, stdout=out)
    return out.getvalue()


def empty_store() -> None:
    """Delete all contacts with their events and labels, and the names of events."""
    delete_contacts(list(Subscriber.objects.values_list("id", flat=True)))
    for model in (EventName, Tag, List):
        model.objects.all().delete()


@pytest.fixture(scope="module")
def printed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Commit the demo data for this module, because VACUUM runs in no transaction."""
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            # Rows would fill the space that earlier tests left, out of order.
            cursor.execute("TRUNCATE events_eventoccurrence")
        yield seed()
        empty_store()


@pytest.fixture
def seeded(printed: str, db: None) -> None:
    """A store that the command filled once for this module."""


def in_order_of_events() -> list[list[EventOccurrence]]:
    """Return the occurrences of each event in the order of time, by the event's id."""
    occurrences = EventOccurrence.objects.order_by("event_id", "occurred_at", "id")
    return [list(group) for _, group in groupby(occurrences, key=lambda row: row.event_id)]


@pytest.mark.usefixtures("seeded")
class TestSeededStore:
    """The store after one run of the command."""

    def test_the_command_prints_the_numbers(self, printed: str) -> None:
        occurrences = EventOccurrence.objects.count()
        assert printed == (f"50 contacts added, with 500 events and {occurrences} occurrences.\n")

    def test_the_contacts_are_numbered(self) -> None:
        emails = Subscriber.objects.order_by("id").values_list("email", flat=True)
        matches = [DEMO_EMAIL.search(email) for email in emails]
        assert [int(match[1]) for match in matches if match] == list(range(1, CONTACTS + 1))

    def test_each_contact_has_as_many_events_as_requested(self) -> None:
        contacts = Subscriber.objects.annotate(events=Count("tracked_events"))
        assert set(contacts.values_list("events", flat=True)) == {EVENTS_PER_CONTACT}
        assert contacts.count() == CONTACTS

    def test_some_events_occurred_often(self) -> None:
        counters = TrackedEvent.objects.aggregate(mean=Avg("counter"), most=Max("counter"))
        assert 1.5 < counters["mean"] < 2.5
        assert counters["most"] > 8

    @pytest.mark.parametrize("labels", ["tags", "lists"])
    def test_many_contacts_have_labels(self, labels: str) -> None:
        assert Subscriber.objects.filter(**{f"{labels}__isnull": False}).count() > CONTACTS / 2

    def test_the_occurrences_agree_with_their_events(self) -> None:
        events = TrackedEvent.objects.order_by("id").values_list(
            *("id", "counter", "subscriber_id", "event_key", "provider", "value"),
            *("created_at", "updated_at"),
        )
        assert list(events) == [
            (
                *(rows[0].event_id, len(rows), rows[0].subscriber_id, rows[0].event_key),
                *(rows[0].provider, rows[-1].value, rows[0].occurred_at, rows[-1].occurred_at),
            )
            for rows in in_order_of_events()
        ]

    def test_every_event_is_repeatable_and_has_no_user(self) -> None:
        others = Q(repeatable=False) | Q(created_by_id__isnull=False) | ~Q(unlogged=0)
        assert not TrackedEvent.objects.filter(others).exists()

    def test_the_occurrences_of_an_event_count_from_1(self) -> None:
        for occurrences in in_order_of_events():
            counters = [occurrence.counter for occurrence in occurrences]
            assert counters == list(range(1, len(counters) + 1))

    def test_times_are_neither_in_the_future_nor_before_the_contact(self) -> None:
        now = timezone.now()
        wrong = (
            ~Q(received_at=F("occurred_at"))
            | Q(occurred_at__gt=now)
            | Q(occurred_at__lt=F("subscriber__created_at"))
            | Q(occurred_at__lt=now - timedelta(days=401))
            | Q(occurred_at__gt=F("subscriber__last_activity"))
        )
        assert not EventOccurrence.objects.filter(wrong).exists()

    def test_recent_occurrences_are_more_frequent(self) -> None:
        since = timezone.now() - timedelta(days=100)
        recent = EventOccurrence.objects.filter(occurred_at__gt=since).count()
        assert recent / EventOccurrence.objects.count() > 0.4

    @pytest.mark.parametrize(
        ("model", "column"), [(EventOccurrence, "received_at"), (TrackedEvent, "created_at")]
    )
    def test_ids_ascend_in_the_order_of_time(self, model: type[models.Model], column: str) -> None:
        by_id = model._default_manager.order_by("id").values_list(column, flat=True)
        assert list(by_id) == sorted(by_id)

    def test_the_log_lies_on_disk_in_the_order_of_time(self) -> None:
        """The BRIN index needs it. The number is there because the command runs ANALYZE."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT correlation FROM pg_stats "
                "WHERE tablename = 'events_eventoccurrence' AND attname = 'received_at'"
            )
            [[correlation]] = cursor.fetchall()
        assert correlation > 0.95

    def test_all_40_keys_are_used_and_in_the_catalogue(self) -> None:
        names = list(EventName.objects.order_by("name").values_list("name", "first_seen_at"))
        keys = TrackedEvent.objects.values("event_key").annotate(first=Min("created_at"))
        assert names == sorted(keys.values_list("event_key", "first"))
        assert len(names) == 40
        assert {"purchase", "login", "lesson_completed"} < {name for name, _ in names}

    @pytest.mark.parametrize("key", ["purchase", "cart_total"])
    def test_the_values_of_amounts_are_numbers_and_in_the_properties(self, key: str) -> None:
        occurrences = EventOccurrence.objects.filter(event_key=key)
        amounts = [(float(row.value), float(row.properties["total"])) for row in occurrences]
        assert amounts
        assert all(0 <= value <= 1000 and value == total for value, total in amounts)

    def test_a_contact_is_found_by_the_api(self, api: APIClient) -> None:
        page = api.get("/subscribers", {"search": "demo7@"}).json()["subscribers"]
        assert page["total"] == 1
        contact_id = page["data"][0]["id"]
        response = api.get(f"/subscribers/{contact_id}/tracking-events")
        assert response.json()["events"]["total"] == EVENTS_PER_CONTACT


def demo_events() -> list[tuple[Any, ...]]:
    """Return the demo events with their contacts, in the order of their ids."""
    columns = ("email", "first_name", "status")
    events = TrackedEvent.objects.order_by("id").values_list(
        *(f"subscriber__{column}" for column in columns), "event_key", "title", "value", "counter"
    )
    return list(events)


@pytest.mark.django_db(transaction=True)
def test_every_empty_store_gets_the_same_data() -> None:
    # Of the data of TestSeededStore.
    empty_store()
    seed()
    first = demo_events()
    empty_store()
    seed()
    assert len(first) == CONTACTS * EVENTS_PER_CONTACT
    assert demo_events() == first


@pytest.mark.parametrize(
    ("contacts", "events", "message"),
    [
        (0, 10, "--contacts must be 1 or more"),
        (-1, 10, "--contacts must be 1 or more"),
        (10, 0, "--events-per-contact must be 1 to 200"),
        (10, 201, "--events-per-contact must be 1 to 200"),
        (1_000_000, 11, "At most 10,000,000 events at once"),
    ],
)
def test_invalid_numbers_are_rejected_before_the_database_is_read(
    contacts: int, events: int, message: str
) -> None:
    # This test has no access to the database.
    with pytest.raises(CommandError, match=message):
        call_command("seed_demo", contacts=contacts, events_per_contact=events)
