"""Many events of one contact, written by one statement as track() would have left them."""

from django.db import connection

from crm.models import Subscriber

EVENTS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT %(contact)s, 'many', 'title ' || n, '', 'custom', 1, 1, true, now(), now()
FROM generate_series(1, %(number)s) n
"""
OCCURRENCES = """
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
                                    properties, context, occurred_at, received_at)
SELECT id, subscriber_id, event_key, provider, '', n, '{}', '{}',
       now() - n * interval '1 min', now()
FROM events_trackedevent, generate_series(1, %(number)s) n
WHERE id = (SELECT min(id) FROM events_trackedevent WHERE subscriber_id = %(contact)s)
"""


def add_events(contact: Subscriber, number: int) -> None:
    """Add events with the key "many" and titles of their own."""
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, {"contact": contact.pk, "number": number})


def add_occurrences(contact: Subscriber, number: int) -> None:
    """Add occurrences of the contact's first event, one each minute before now, the last first."""
    with connection.cursor() as cursor:
        cursor.execute(OCCURRENCES, {"contact": contact.pk, "number": number})
