"""Lists end by bytes as well as by rows: 8 MB of rows, or 422 where FluentCRM has no cursor."""

from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from crm.models import Segment, Subscriber

# The largest value: 65,535 characters of four bytes. Forty of them have 10 MB.
EVENTS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT %(contact)s, 'large', 'title ' || n, repeat('😀', 65535), 'custom', 40, 0, true, now(), now()
FROM generate_series(1, 40) n
"""
OCCURRENCES = """
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
                                    properties, context, occurred_at, received_at)
SELECT %(event)s, %(contact)s, 'large', 'custom', repeat('😀', 65535), n, '{}', '{}',
       now() - n * interval '1 min', now()
FROM generate_series(1, 40) n
"""
TOO_LARGE = {
    "per_page": {"max": "The rows of this page have more than 8 MB. Send a smaller per_page."}
}


@pytest.fixture
def event_id(ada: Subscriber) -> int:
    """An event of forty large ones, which has forty large occurrences."""
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, {"contact": ada.pk})
        cursor.execute("SELECT min(id) FROM events_trackedevent")
        found: int = cursor.fetchone()[0]
        cursor.execute(OCCURRENCES, {"contact": ada.pk, "event": found})
    return found


@pytest.mark.usefixtures("event_id")
def test_a_timeline_ends_its_pages_at_8_mb_and_goes_on_from_there(
    api: APIClient, ada: Subscriber
) -> None:
    path = f"/subscribers/{ada.pk}/timeline?per_page=1000"
    first = api.get(path).json()["timeline"]
    second = api.get(f"{path}&cursor={first['next_cursor']}").json()["timeline"]
    assert (len(first["data"]), len(second["data"])) == (32, 8)
    assert second["next_cursor"] is None
    assert [row["counter"] for row in first["data"] + second["data"]] == [
        str(number) for number in range(1, 41)
    ]


@pytest.mark.usefixtures("event_id")
def test_a_page_of_events_over_8_mb_is_422(api: APIClient, ada: Subscriber) -> None:
    response = api.get(f"/subscribers/{ada.pk}/tracking-events?per_page=40")
    assert (response.status_code, response.json()) == (422, TOO_LARGE)


def test_a_page_of_occurrences_over_8_mb_is_422(
    api: APIClient, ada: Subscriber, event_id: int
) -> None:
    path = f"/subscribers/{ada.pk}/tracking-events/{event_id}/occurrences"
    response = api.get(f"{path}?per_page=40")
    assert (response.status_code, response.json()) == (422, TOO_LARGE)


@pytest.mark.parametrize("part", ["", "/{event}/occurrences"])
def test_15_of_the_largest_rows_are_one_page(
    api: APIClient, ada: Subscriber, event_id: int, part: str
) -> None:
    path = f"/subscribers/{ada.pk}/tracking-events{part.format(event=event_id)}"
    [page] = api.get(path).json().values()
    assert (len(page["data"]), page["total"]) == (15, 40)


def test_segments_of_a_contact_over_8_mb_are_422(api: APIClient, ada: Subscriber) -> None:
    filters: Any = [[{"source": ["subscriber", "email"], "operator": "!=", "value": "x" * 65_000}]]
    Segment.objects.bulk_create(
        Segment(title=f"{number}", slug=f"{number}", filters=filters) for number in range(140)
    )
    response = api.get(f"/subscribers/{ada.pk}/segments")
    assert (response.status_code, list(response.json())) == (422, ["segments"])
