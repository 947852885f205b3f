"""Take occurrences back that were sent by mistake: the only deletion that changes counters."""

from collections.abc import Sequence
from typing import NamedTuple

from config.api.errors import ObjectNotFound
from config.database import fetch_row, fetch_rows, in_transaction

# Each lock is a statement of its own, in the order of events/tracking/statements.py, because the
# statements after it have to see what the transactions that it waited for have committed.
LOCK_CONTACT = "SELECT id FROM crm_subscriber WHERE id = %(contact)s FOR KEY SHARE"
LOCK_CLAIMS = """
SELECT occurrence_id FROM events_idempotencykey
WHERE occurrence_id = ANY(%(occurrences)s::bigint[]) AND subscriber_id = %(contact)s
ORDER BY credential, key
FOR UPDATE
"""
LOCK_EVENTS = """
SELECT id FROM events_trackedevent
WHERE subscriber_id = %(contact)s
    AND id IN (SELECT event_id FROM events_eventoccurrence
               WHERE id = ANY(%(occurrences)s::bigint[]) AND subscriber_id = %(contact)s)
ORDER BY event_key, title
FOR UPDATE
"""

# The claims keep the response of the request, so that a retry counts nothing and receives it.
DELETE_OCCURRENCES = """
WITH gone AS (
    DELETE FROM events_eventoccurrence
    WHERE id = ANY(%(occurrences)s::bigint[]) AND subscriber_id = %(contact)s
    RETURNING id, event_id, counter, occurred_at
), claim AS (
    UPDATE events_idempotencykey k SET event_id = gone.event_id, counter = gone.counter
    FROM gone WHERE k.occurrence_id = gone.id AND k.subscriber_id = %(contact)s
), entry AS (
    DELETE FROM crm_outboxentry
    WHERE subscriber_id = %(contact)s AND occurrence_id IN (SELECT id FROM gone)
)
SELECT event_id, count(*), max(occurred_at) FROM gone GROUP BY event_id
"""

# The rest of the log of an event, by the index on key, contact and datetime.
REST = """
SELECT o.value, o.occurred_at FROM events_eventoccurrence o
WHERE o.event_key = e.event_key AND o.subscriber_id = e.subscriber_id AND o.event_id = e.id
"""
# What pruned or imported occurrences had is unknown, so that the first time stays if there are any,
# and value and last time stay without another occurrence.
COUNT_DOWN = f"""
UPDATE events_trackedevent t SET
    counter = t.counter - %(number)s,
    value = CASE WHEN %(last)s >= t.updated_at THEN COALESCE(newest.value, t.value)
                 ELSE t.value END,
    updated_at = CASE WHEN %(last)s >= t.updated_at THEN COALESCE(newest.occurred_at, t.updated_at)
                      ELSE t.updated_at END,
    created_at = CASE WHEN t.unlogged = 0 THEN COALESCE(oldest.occurred_at, t.created_at)
                      ELSE t.created_at END
FROM events_trackedevent e
    LEFT JOIN LATERAL ({REST} ORDER BY o.occurred_at DESC, o.id DESC LIMIT 1) newest ON true
    LEFT JOIN LATERAL ({REST} ORDER BY o.occurred_at, o.id LIMIT 1) oldest ON true
WHERE t.id = %(event)s AND t.subscriber_id = %(contact)s
    AND e.id = t.id AND e.subscriber_id = t.subscriber_id
RETURNING t.counter
"""  # noqa: S608
# An event that never happened has no row, because filters would find its contact.
DELETE_EMPTY = """
DELETE FROM events_trackedevent e
WHERE id = %(event)s AND subscriber_id = %(contact)s AND unlogged = 0
    AND NOT EXISTS (SELECT FROM events_eventoccurrence o
                    WHERE o.event_key = e.event_key AND o.subscriber_id = e.subscriber_id
                        AND o.event_id = e.id)
RETURNING id
"""
BY_KEY = """
SELECT subscriber_id, occurrence_id FROM events_idempotencykey
WHERE credential = %(credential)s AND key = %(key)s
"""


class Corrected(NamedTuple):
    """An event of which occurrences were taken back.

    Attributes:
        event_id: id of the event.
        counter: its counter now, 0 if its row is deleted.
        number: how many occurrences were taken back.
    """

    event_id: int
    counter: int
    number: int


@in_transaction
def take_back(contact_id: int, occurrence_ids: Sequence[int]) -> list[Corrected]:
    """Delete occurrences of a contact as if they had never been sent.

    The counter, the value, the first and the last time of each event become those of the remaining
    occurrences. An event without any is deleted. A retry with the idempotency key of an occurrence
    receives the first response, and counts nothing.

    Args:
        contact_id: id of the contact.
        occurrence_ids: ids of occurrences. Those of other contacts, and those that do not exist,
            are ignored.

    Returns:
        The events, by id: none if no occurrence was there.
    """
    parameters = {"contact": contact_id, "occurrences": list(occurrence_ids)}
    for lock in (LOCK_CONTACT, LOCK_CLAIMS, LOCK_EVENTS):
        fetch_rows(lock, parameters)
    gone = fetch_rows(DELETE_OCCURRENCES, parameters)
    return [_count_down(contact_id, *row) for row in sorted(gone)]


def _count_down(contact_id: int, event_id: int, number: int, last: object) -> Corrected:
    """Count the event of `number` deleted occurrences down, the newest of them at `last`."""
    parameters = {"contact": contact_id, "event": event_id, "number": number, "last": last}
    row = fetch_row(COUNT_DOWN, parameters)
    is_deleted = fetch_row(DELETE_EMPTY, parameters) is not None
    # No row: only programs that write into the tables by themselves delete an event alone.
    return Corrected(event_id, row[0] if row and not is_deleted else 0, number)


def take_back_by_key(credential: str, key: str) -> tuple[int, Corrected]:
    """Take back the occurrence that was sent with an idempotency key.

    Args:
        credential: the owner of the key.
        key: the idempotency key.

    Returns:
        The id of the occurrence, and its event.

    Raises:
        ObjectNotFound: the key is unknown or pruned, or its occurrence was taken back before.
    """
    claim = fetch_row(BY_KEY, {"credential": credential, "key": key})
    corrected = take_back(claim[0], [claim[1]]) if claim else []
    if not claim or not corrected:
        raise ObjectNotFound("Occurrence")
    return claim[1], corrected[0]
