"""Maintain the store: repair counters, prune occurrences and idempotency keys."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from config.database import fetch_one, fetch_row, in_transaction

# Ids that one transaction looks at, or keys that it deletes.
BATCH_SIZE = 10_000


LOCK_EVENT = "SELECT id FROM events_trackedevent WHERE id = %(event)s FOR NO KEY UPDATE"
RECOUNT = """
UPDATE events_trackedevent e SET counter = unlogged + (
    SELECT count(*) FROM events_eventoccurrence o
    WHERE o.event_key = e.event_key AND o.subscriber_id = e.subscriber_id AND o.event_id = e.id)
WHERE id = %(event)s
RETURNING counter
"""

# Locks in the order of events/tracking/statements.py. `gone` is what this statement deleted, and
# no concurrent one.
PRUNE = """
WITH old AS MATERIALIZED (
    SELECT id, event_id, subscriber_id FROM events_eventoccurrence o
    WHERE id >= %(first)s AND id < %(end)s AND occurred_at < %(before)s
        AND (%(event_key)s::text IS NULL OR event_key = %(event_key)s)
        -- A retry with its key still needs it.
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
    -- An array, because a join with old statistics could read the table once for each row.
    DELETE FROM events_eventoccurrence o
    WHERE o.id = ANY (ARRAY(SELECT old.id FROM old JOIN event ON event.id = old.event_id))
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
    ORDER BY occurrence_id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM events_idempotencykey WHERE occurrence_id IN (SELECT occurrence_id FROM expired)
    RETURNING 1
)
SELECT count(*) FROM gone
"""


@in_transaction
def repair_counter(event_id: int) -> int | None:
    """Set an event's counter to unlogged + occurrences. Returns it, or None without the event."""
    # Locked first, so that no event is counted between the count and the update.
    fetch_row(LOCK_EVENT, {"event": event_id})
    row = fetch_row(RECOUNT, {"event": event_id})
    return row[0] if row else None


def prune_occurrences(
    before: datetime, event_key: str | None, progress: Callable[[int, int], None]
) -> int:
    """Delete occurrences that happened before a datetime; counters stay.

    Their number moves into `unlogged` in the same transaction. Occurrences whose idempotency key
    is still kept stay.

    Args:
        before: an aware datetime.
        event_key: the key whose occurrences are deleted, None for all keys.
        progress: is called after each transaction with the numbers of ids done and in total.

    Returns:
        The number of deleted occurrences.
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
    """Delete the keys that are older than TALLYBOOK_KEEP_KEYS_DAYS. Returns their number."""
    before = timezone.now() - timedelta(days=settings.KEEP_KEYS_DAYS)
    removed = 0
    in_batch = BATCH_SIZE
    while in_batch == BATCH_SIZE:
        in_batch = _prune_keys(before)
        removed += in_batch
    return removed


@in_transaction
def _prune_keys(before: datetime) -> int:
    removed: int = fetch_one(PRUNE_KEYS, {"before": before, "limit": BATCH_SIZE})[0]
    return removed
