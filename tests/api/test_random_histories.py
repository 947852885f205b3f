"""Random histories in chunks that are killed and repeated, beside the same events one by one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from config.database import fetch_rows
from crm.contacts import create
from events.tracking import track
from events.tracking.errors import TrackingError
from events.tracking.fields import EventFields, parse_event
from events.tracking.imports import EventChunk, PastEvent, import_events
from events.tracking.row_keys import RowKeys
from events.verification import find_differences
from tests.api.history import FILE, SOURCE, past_events
from tests.api.savepoints import rolled_back

EXAMPLES = {"short": 15, "long": 1_000}
START = datetime(2024, 1, 1, tzinfo=UTC)
EMAILS = ("ada@example.com", "bob@example.com")
EVENTS = """
SELECT s.email, event_key, title, value, provider, repeatable, e.created_at, e.updated_at, counter,
       unlogged
FROM events_trackedevent e JOIN crm_subscriber s ON s.id = subscriber_id ORDER BY 1, 2, 3, 6, e.id
"""
LOG = """
SELECT s.email, o.event_key, e.title, o.value, o.provider, o.counter, o.occurred_at, o.properties
FROM events_eventoccurrence o JOIN events_trackedevent e ON e.id = event_id
    JOIN crm_subscriber s ON s.id = o.subscriber_id ORDER BY o.id
"""
NAMES = "SELECT name FROM events_eventname ORDER BY name"

# Few values of each field, so that rows often share an event, and are often equal.
ROWS = st.fixed_dictionaries(
    {
        "email": st.sampled_from((*EMAILS, "unknown@example.com")),
        "event_key": st.sampled_from("kl"),
        "title": st.just("t"),
        "value": st.sampled_from("12"),
        "provider": st.sampled_from(("custom", "shop")),
        "occurred_at": st.integers(0, 3).map(lambda hours: START + timedelta(hours=hours)),
        "repeatable": st.sampled_from((True, True, True, False)),
        "properties": st.sampled_from(({}, {"a": 1})),
    },
    optional={"idempotency_key": st.sampled_from("abc")},
)


# A chunk of a file: its length, how often it is killed before its commit, and how many rows before
# it come again, because the file of the next import overlaps.
CHUNKS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 2), st.integers(0, 6)), min_size=1)


def empty_store() -> None:
    """Delete all events, and make the contacts of EMAILS."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM events_trackedevent; DELETE FROM events_eventoccurrence; "
            "DELETE FROM events_idempotencykey; DELETE FROM events_eventname; "
            "DELETE FROM crm_subscriber"
        )
    for email in EMAILS:
        create({"email": email})


def store() -> list[list[tuple[Any, ...]]]:
    """Return what the store holds, but for ids."""
    assert find_differences() == []
    return [fetch_rows(statement, {}) for statement in (EVENTS, LOG, NAMES)]


def track_one_by_one(rows: Sequence[dict[str, Any]]) -> None:
    """Track rows with the keys that an import gives them."""
    keys = RowKeys(FILE)
    for number, row in enumerate(rows):
        fields: EventFields = parse_event(row)
        key, _ = keys.keyed(fields, number)
        try:
            track({**row, "idempotency_key": key})
        except TrackingError:
            continue


def import_in_chunks(
    rows: Sequence[dict[str, Any]], chunks: Sequence[tuple[int, int, int]]
) -> None:
    """Import rows in chunks of these lengths, which are taken in turns."""
    events: list[PastEvent] = past_events(rows)
    done = turn = 0
    while done < len(events):
        length, kills, overlap = chunks[turn % len(chunks)]
        chunk = events[max(done - overlap, 0) : done + length]
        for _ in range(kills):
            with rolled_back():
                import_events(EventChunk(chunk, SOURCE))
        import_events(EventChunk(chunk, SOURCE))
        done, turn = done + length, turn + 1


@pytest.mark.django_db
@settings(max_examples=EXAMPLES[settings.get_current_profile_name()])
@given(st.lists(ROWS, min_size=8, max_size=20), CHUNKS)
def test_a_history_in_chunks_equals_the_same_events_one_by_one(
    rows: list[dict[str, Any]], chunks: list[tuple[int, int, int]]
) -> None:
    empty_store()
    track_one_by_one(rows)
    expected = store()
    empty_store()
    import_in_chunks(rows, chunks)
    assert store() == expected
    # The whole file again.
    import_in_chunks(rows, chunks)
    assert store() == expected
