"""How PostgreSQL reads a page of a long timeline: from an index, without a sort."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from events.history import Cursor, Timeline
from events.models import EventOccurrence
from tests.api.plans import explain, walk
from tests.api.savepoints import rolled_back

CONTACT = 1_000_001
CONTACTS = """
INSERT INTO crm_subscriber (id, email, email_key, status, contact_type, total_points,
    life_time_value, custom_values, created_at, updated_at)
SELECT n, n || '@example.com', n || '@example.com', 'subscribed', 'lead', 0, 0, '{}', now(), now()
FROM generate_series(1000001, 1000050) n
"""
OCCURRENCES = """
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
    properties, context, occurred_at, received_at)
SELECT 1, CASE WHEN n % 2 = 0 THEN 1000001 ELSE 1000002 + n % 49 END,
    CASE WHEN n % 20 = 0 THEN 'k1' ELSE 'k0' END,
    'custom', '', n, '{}', '{}', now() - n * interval '1 minute', now()
FROM generate_series(1, 30000) n
"""


@pytest.fixture(scope="module")
def cursor(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cursor]:
    """The position after 10,000 of 15,000 occurrences of a contact among many."""
    with django_db_blocker.unblock(), rolled_back():
        with connection.cursor() as sql:
            sql.execute(CONTACTS)
            sql.execute(OCCURRENCES)
            sql.execute("ANALYZE events_eventoccurrence")
        newest_first = EventOccurrence.objects.filter(subscriber_id=CONTACT).order_by(
            "-occurred_at", "-id"
        )
        row = newest_first[10_000]
        yield Cursor(row.occurred_at, row.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("event_key", ["", "k1"])
@pytest.mark.parametrize("is_first", [True, False], ids=["first page", "thousandth page"])
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_page_is_read_from_an_index_without_a_sort(
    cursor: Cursor, event_key: str, is_first: bool, mode: str
) -> None:
    with connection.cursor() as sql:
        sql.execute(f"SET LOCAL plan_cache_mode = {mode}")
    timeline = Timeline(CONTACT, event_key=event_key, cursor=None if is_first else cursor)
    nodes = list(walk(explain(*timeline.query(16))))
    assert not [node for node in nodes if "Sort" in node["Node Type"]], nodes
    scan = next(node for node in nodes if node.get("Relation Name") == "events_eventoccurrence")
    assert scan["Node Type"] == "Index Scan"
    assert scan["Actual Rows"] == 16
    assert scan.get("Rows Removed by Filter", 0) == 0
