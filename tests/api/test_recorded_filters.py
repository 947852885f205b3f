"""Which contacts a real FluentCRM found for 200 filters: Tallybook finds them in the same order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from crm.models import List, Subscriber, Tag
from events.models import TrackedEvent
from tests.api.filters import ask
from tests.api.savepoints import rolled_back

FILE = Path(__file__).parents[1] / "conformance" / "filters.json"
RECORDED = json.loads(FILE.read_text())
COLUMNS = ("email", "first_name", "last_name", "status", "contact_type", "country")


def load() -> None:
    """Store the contacts and events of the recording; its tags and lists keep their ids."""
    Tag.objects.bulk_create(Tag(**tag) for tag in RECORDED["tags"])
    List.objects.bulk_create(List(**one) for one in RECORDED["lists"])
    rows = RECORDED["contacts"]
    contacts = Subscriber.objects.bulk_create(
        Subscriber(**{name: row[name] for name in COLUMNS}) for row in rows
    )
    Subscriber.tags.through.objects.bulk_create(
        Subscriber.tags.through(subscriber_id=contact.pk, tag_id=tag_id)
        for contact, row in zip(contacts, rows, strict=True)
        for tag_id in row["tags"]
    )
    Subscriber.lists.through.objects.bulk_create(
        Subscriber.lists.through(subscriber_id=contact.pk, list_id=list_id)
        for contact, row in zip(contacts, rows, strict=True)
        for list_id in row["lists"]
    )
    ids = {contact.email: contact.pk for contact in contacts}
    now = timezone.now()
    TrackedEvent.objects.bulk_create(
        TrackedEvent(
            subscriber_id=ids[event["email"]],
            event_key=event["event_key"],
            title=event["title"],
            value=event["value"],
            provider=event["provider"],
            counter=event["counter"],
            unlogged=event["counter"],
            repeatable=True,
            created_at=now,
            updated_at=now,
        )
        for event in RECORDED["events"]
    )


@pytest.fixture(scope="module")
def recorded(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The contacts and events of the recording, for all tests of this file.

    It opens the transaction around the transactions of the tests, because loading takes longer
    than a test.
    """
    with django_db_blocker.unblock(), rolled_back():
        load()
        yield


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("number", range(200))
def test_a_filter_finds_the_contacts_that_fluentcrm_found(api: APIClient, number: int) -> None:
    case = RECORDED["cases"][number]
    response = ask(api, case["advanced_filters"], per_page="1000", sort_by="id", sort_type="ASC")
    assert response.status_code == 200, response.content
    page: dict[str, Any] = response.json()["subscribers"]
    assert [contact["email"] for contact in page["data"]] == case["emails"]
    assert page["total"] == len(case["emails"])


def test_every_recorded_filter_is_played() -> None:
    assert len(RECORDED["cases"]) == 200


def test_more_than_a_hundred_recorded_filters_find_contacts() -> None:
    assert sum(bool(case["emails"]) for case in RECORDED["cases"]) > 100
