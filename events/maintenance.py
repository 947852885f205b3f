"""Looking after the store: proving the counters, and removing what is no longer needed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from config.database import fetch_one, fetch_row, fetch_rows, in_transaction

# Retries are recognised for as long at least.
IDEMPOTENCY_KEY_LIFETIME = timedelta(hours=24)
BATCH_SIZE = 10_000


class Difference(NamedTuple):
    """An event whose counter is not unlogged + occurrences."""

    event_id: int
    subscriber_id: int
    event_key: str
    title: str
    counter: int
    unlogged: int
    occurrences: int


# One statement sees one moment: a count and its occurrence are committed together.
DIFFERENCES = """
SELECT e.id, e.subscriber_id, e.event_key, e.title, e.counter, e.unlogged,
       COALESCE(o.occurrences, 0)
FROM events_trackedevent e
    LEFT JOIN (SELECT event_id, count(*) AS occurrences
               FROM events_eventoccurrence GROUP BY event_id) o ON o.event_id = e.id
WHERE e.counter <> e.unlogged + COALESCE(o.occurrences, 0)
ORDER BY e.id
"""
HOLD = "SELECT id FROM events_trackedevent WHERE id = %(event)s FOR NO KEY UPDATE"
RECOUNT = """
UPDATE events_trackedevent e SET counter = unlogged + (
    SELECT count(*) FROM events_eventoccurrence o
    WHERE o.event_key = e.event_key AND o.subscriber_id = e.subscriber_id AND o.event_id = e.id)
WHERE id = %(event)s
RETURNING counter
"""

# The locks in the order of events/tracking/statements.py; `gone` is what this call removed and no other.
PRUNE = """
WITH old AS MATERIALIZED (
    SELECT id, event_id, subscriber_id FROM events_eventoccurrence o
    WHERE id >= %(first)s AND id < %(end)s AND occurred_at < %(before)s
        AND (%(event_key)s::text IS NULL OR event_key = %(event_key)s)
        -- A retry with its key still asks for it.
        AND NOT EXISTS (SELECT FROM events_idempotencykey k WHERE k.occurrence_id = o.id)
), contact AS MATERIALIZED (
    SELECT id FROM crm_subscriber
    WHERE id = ANY (ARRAY(SELECT subscriber_id FROM old))
    ORDER BY id
    FOR KEY SHARE
), event AS MATERIALIZED (
    SELECT id FROM events_trackedevent
    WHERE id = ANY (ARRAY(SELECT event_id FROM old))
        AND subscriber_id = ANY (ARRAY(SELECT id FROM contact))
    ORDER BY subscriber_id, event_key, title
    FOR NO KEY UPDATE
), gone AS (
    DELETE FROM events_eventoccurrence o USING old, event
    WHERE o.id = old.id AND event.id = old.event_id
    RETURNING o.event_id
), moved AS (
    UPDATE events_trackedevent e SET unlogged = unlogged + n.removed
    FROM (SELECT event_id, count(*) AS removed FROM gone GROUP BY event_id) n
    WHERE e.id = n.event_id
)
SELECT count(*) FROM gone
"""
RANGE = "SELECT COALESCE(min(id), 0), COALESCE(max(id), -1) FROM events_eventoccurrence"

PRUNE_KEYS = """
WITH expired AS (
    SELECT occurrence_id FROM events_idempotencykey
    WHERE created_at < %(before)s
    ORDER BY occurrence_id LIMIT %(batch)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM events_idempotencykey WHERE occurrence_id IN (SELECT occurrence_id FROM expired)
    RETURNING 1
)
SELECT count(*) FROM gone
"""


def find_differences() -> list[Difference]:
    """Every event whose counter does not add up; none, unless somebody wrote past tracking."""
    return [Difference(*row) for row in fetch_rows(DIFFERENCES, {})]


@in_transaction
def repair_counter(event_id: int) -> int | None:
    """Set an event's counter to what its log says; the new counter, or None if it is gone."""
    # First the row, so that nobody counts between the count and the write.
    fetch_row(HOLD, {"event": event_id})
    row = fetch_row(RECOUNT, {"event": event_id})
    return row[0] if row else None


def prune_occurrences(
    before: datetime, event_key: str | None, progress: Callable[[int, int], None]
) -> int:
    """Remove occurrences that happened before a moment, of one key or of all.

    Their number moves into `unlogged` in the same transaction, so that counters stay. Each
    transaction looks at 10,000 ids and `progress(done, total)` is called after it. Occurrences with
    an idempotency key that is still kept stay. Returns how many were removed.
    """
    first, last = fetch_one(RANGE, {})
    removed = 0
    for start in range(first, last + 1, BATCH_SIZE):
        end = min(start + BATCH_SIZE, last + 1)
        removed += _prune(start, end, before, event_key)
        progress(end - first, last + 1 - first)
    return removed


@in_transaction
def _prune(first: int, end: int, before: datetime, event_key: str | None) -> int:
    parameters = {"first": first, "end": end, "before": before, "event_key": event_key}
    removed: int = fetch_one(PRUNE, parameters)[0]
    return removed


def prune_idempotency_keys() -> int:
    """Forget the keys that are older than 24 hours. Returns how many there were."""
    before = timezone.now() - IDEMPOTENCY_KEY_LIFETIME
    removed = 0
    batch = BATCH_SIZE
    while batch == BATCH_SIZE:
        batch = _prune_keys(before)
        removed += batch
    return removed


@in_transaction
def _prune_keys(before: datetime) -> int:
    removed: int = fetch_one(PRUNE_KEYS, {"before": before, "batch": BATCH_SIZE})[0]
    return removed
