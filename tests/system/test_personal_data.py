"""Personal data while events arrive: an export reads one snapshot, an erasure orphans no row."""

import json
import threading
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from crm.contacts import create
from events.models import EventOccurrence
from events.personal_data import export_contact
from events.tracking import track
from events.tracking.batches import track_many
from tests.databases import use
from tests.system.database import assert_nothing_is_orphaned_or_miscounted
from tests.system.fixtures import SERVED
from tests.system.server import Client, Server, wait_until


@pytest.mark.django_db(transaction=True)
def test_an_export_is_of_one_moment_while_events_arrive() -> None:
    contact = create({"email": "ada@example.com"})
    track_many([{"event_key": "many", "title": "t", "subscriber_id": contact.pk}] * 501)
    written: list[str] = []

    def write(text: str) -> None:
        if not written:
            thread = threading.Thread(target=track_another)
            thread.start()
            thread.join()
        written.append(text)

    def track_another() -> None:
        track({"event_key": "new", "title": "t", "subscriber_id": contact.pk})
        connection.close()

    export_contact(contact.pk, write)
    content = json.loads("".join(written))
    assert EventOccurrence.objects.filter(subscriber=contact).count() == 502
    assert content["export"]["counts"]["occurrences"] == len(content["occurrences"]) == 501
    assert {event["event_key"] for event in content["events"]} == {"many"}


def test_erasing_while_events_arrive_orphans_no_row(
    server: Server,
    http: Client,
    store: psycopg.Connection,
    ada_id: int,
    django_db_blocker: DjangoDbBlocker,
) -> None:
    erased = threading.Event()
    statuses: list[int] = []

    def track_until_rejected() -> None:
        client = server.client()
        while not (erased.is_set() and statuses[-1:] == [422]):
            statuses.append(client.track(event_key="k", title="t", email="ada@example.com").status)
        client.close()

    thread = threading.Thread(target=track_until_rejected)
    thread.start()
    wait_until(lambda: 200 in statuses)
    printed = StringIO()
    with django_db_blocker.unblock(), use(SERVED):
        call_command("erase_contact", "ada@example.com", "--yes", stdout=printed)
    erased.set()
    thread.join()
    receipt = json.loads(printed.getvalue())
    assert set(statuses) == {200, 422}
    assert receipt["deleted"]["occurrences"] == statuses.count(200)
    assert_nothing_is_orphaned_or_miscounted(store)
