"""Maintain the store: repair counters, prune occurrences and idempotency keys."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from config.database import fetch_one, fetch_row, fetch_rows, in_transaction
from events.tracking.imports import OWNER_PREFIX

# Occurrences or keys that one transaction deletes.
BATCH_SIZE = 10_000
# Contacts whose occurrences one transaction looks at.
CONTACTS_PER_TURN = 5_000
KEEP_IMPORT_KEYS = timedelta(days=90)

LOCK_EVENT = """
SELECT id FROM events_trackedevent
WHERE id = %(event)s AND subscriber_id = %(contact)s
FOR NO KEY UPDATE
"""
RECOUNT = """
UPDATE events_trackedevent e SET counter = unlogged + (
    SELECT count(*) FROM events_eventoccurrence o
    WHERE o.event_key = e.event_key AND o.subscriber_id = e.subscriber_id AND o.event_id = e.id)
WHERE id = %(event)s AND subscriber_id = %(contact)s
RETURNING counter
"""

# Locks in the order of events/tracking/statements.py. `gone` is what this statement deleted, and
# no concurrent one. It returns the numbers of occurrences that it found and deleted.
PRUNE = """
WITH old AS MATERIALIZED (
    SELECT o.id, o.event_id, o.subscriber_id FROM events_eventoccurrence o
    WHERE o.subscriber_id > %(after)s AND o.subscriber_id <= %(last)s
        AND o.occurred_at < %(before)s
        AND (%(event_key)s::text IS NULL OR o.event_key = %(event_key)s)
        -- A retry with its key still needs it.
        AND NOT EXISTS (SELECT FROM events_idempotencykey k
                        WHERE k.occurrence_id = o.id AND k.subscriber_id = o.subscriber_id)
    LIMIT %(limit)s
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
    -- An array, because a join with old statistics could read the table once for each row. The
    -- events are counted, so that all are locked before.
    DELETE FROM events_eventoccurrence o
    WHERE o.id = ANY (ARRAY(SELECT id FROM old WHERE (SELECT count(*) FROM event) >= 0))
        AND o.subscriber_id > %(after)s AND o.subscriber_id <= %(last)s
    RETURNING o.event_id, o.subscriber_id
), moved AS (
    UPDATE events_trackedevent e SET unlogged = unlogged + n.removed
    FROM (SELECT event_id, subscriber_id, count(*) AS removed
          FROM gone GROUP BY event_id, subscriber_id) n
    WHERE e.id = n.event_id AND e.subscriber_id = n.subscriber_id
)
SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone)
"""
COUNT_CONTACTS = "SELECT count(*) FROM crm_subscriber"
NEXT_CONTACTS = """
SELECT max(id), count(*)
FROM (SELECT id FROM crm_subscriber WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) contact
"""

PRUNE_KEYS = """
WITH expired AS (
    SELECT occurrence_id FROM events_idempotencykey
    WHERE created_at < %(before)s
        AND (created_at < %(before_imports)s OR NOT starts_with(credential, %(prefix)s))
    ORDER BY occurrence_id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM events_idempotencykey WHERE occurrence_id IN (SELECT occurrence_id FROM expired)
    RETURNING 1
)
SELECT count(*) FROM gone
"""


@in_transaction
def repair_counter(event_id: int, contact_id: int) -> int | None:
    """Set an event's counter to unlogged + occurrences. Returns it, or None without the event."""
    parameters = {"event": event_id, "contact": contact_id}
    # Locked first, so that no event is counted between the count and the update.
    fetch_row(LOCK_EVENT, parameters)
    row = fetch_row(RECOUNT, parameters)
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
        progress: is called after some contacts with the numbers of contacts done and in total.

    Returns:
        The number of deleted occurrences.
    """
    [total] = fetch_one(COUNT_CONTACTS, {})
    after = done = removed = 0
    while True:
        last, number = fetch_one(NEXT_CONTACTS, {"after": after, "limit": CONTACTS_PER_TURN})
        if not number:
            return removed
        parameters = {"after": after, "last": last, "before": before, "event_key": event_key}
        found = BATCH_SIZE
        while found == BATCH_SIZE:
            found, deleted = _prune(parameters)
            removed += deleted
        after = last
        done += number
        progress(done, max(done, total))


@in_transaction
def _prune(parameters: Mapping[str, Any]) -> tuple[int, int]:
    """Prune a batch. Returns the numbers of occurrences that were found and deleted."""
    # Planned for its contacts and datetime, because a plan for any may take much longer.
    [[found, deleted]] = fetch_rows(PRUNE, {**parameters, "limit": BATCH_SIZE}, prepare=False)
    return found, deleted


def prune_idempotency_keys() -> int:
    """Delete the keys that are older than TALLYBOOK_KEEP_KEYS_DAYS. Returns their number.

    Those of imports are kept for KEEP_IMPORT_KEYS at least, because a file is imported again later
    than a request is.
    """
    kept = timedelta(days=settings.KEEP_KEYS_DAYS)
    now = timezone.now()
    before, before_imports = now - kept, now - max(kept, KEEP_IMPORT_KEYS)
    removed = 0
    in_batch = BATCH_SIZE
    while in_batch == BATCH_SIZE:
        in_batch = _prune_keys(before, before_imports)
        removed += in_batch
    return removed


@in_transaction
def _prune_keys(before: datetime, before_imports: datetime) -> int:
    limits = {"before": before, "before_imports": before_imports, "prefix": OWNER_PREFIX}
    removed: int = fetch_one(PRUNE_KEYS, {**limits, "limit": BATCH_SIZE})[0]
    return removed
