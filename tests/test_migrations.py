"""A store of an earlier version, brought up to date."""

import pytest
from django.core.management import call_command
from django.db import connection

from crm.contacts import create
from events.models import EventName
from events.tracking import track


@pytest.mark.django_db(transaction=True)
def test_the_catalogue_gets_the_names_of_the_events_that_are_there() -> None:
    ada = create({"email": "ada@example.com"})
    for number, key in enumerate("bab"):
        track({"event_key": key, "title": str(number), "subscriber_id": ada.pk})
    try:
        call_command("migrate", "events", "0001", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)
    assert [name.name for name in EventName.objects.all()] == ["a", "b"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(created_at) FROM events_trackedevent WHERE event_key = 'b'")
        first = cursor.fetchone()
    assert EventName.objects.get(name="b").first_seen_at == first[0]
