"""Move the events of a contact that is merged into another one.

crm/merging.py holds both contacts locked FOR UPDATE, so that no event of them is written, taken
back or pruned meanwhile. The statements after the locks see what was committed before.
"""

from django.db import connection

from config.database import fetch_one
from crm.contacts import Counts

# The events of the other contact that the survivor has as well. Those that do not repeat are never
# the same.
PAIRS = """
SELECT gone.id AS gone_id, kept.id AS kept_id
FROM events_trackedevent gone JOIN events_trackedevent kept
    ON kept.event_key = gone.event_key AND kept.title = gone.title
WHERE gone.subscriber_id = %(other)s AND gone.repeatable
    AND kept.subscriber_id = %(survivor)s AND kept.repeatable
"""
KEYS = """
k.subscriber_id = %(other)s AND k.occurrence_id IN (
    SELECT id FROM events_eventoccurrence WHERE subscriber_id = %(other)s
    UNION ALL
    -- Those of occurrences that were taken back.
    SELECT occurrence_id FROM events_idempotencykey
    WHERE subscriber_id = %(other)s AND event_id IS NOT NULL)
"""
COUNT = f"""
SELECT (SELECT count(*) FROM ({PAIRS}) pair), count(*),
       -- The log is not counted, because counter = unlogged + occurrences.
       COALESCE(sum(counter - unlogged), 0)::bigint,
       (SELECT count(*) FROM events_idempotencykey k WHERE {KEYS})
FROM events_trackedevent WHERE subscriber_id = %(other)s
"""  # noqa: S608

# A repair of a counter locks the event alone, not its contact.
LOCK_EVENTS = """
SELECT id FROM events_trackedevent WHERE subscriber_id = %(other)s ORDER BY event_key, title
FOR UPDATE
"""
# What was taken back keeps the response of its request, with the event as it is called now.
MOVE_KEYS = f"""
WITH pair AS MATERIALIZED ({PAIRS})
UPDATE events_idempotencykey k
SET subscriber_id = %(survivor)s,
    event_id = CASE WHEN k.event_id IS NOT NULL THEN
        COALESCE((SELECT kept_id FROM pair WHERE gone_id = k.event_id), k.event_id) END
WHERE {KEYS}
"""  # noqa: S608
MOVE_OCCURRENCES = f"""
UPDATE events_eventoccurrence o
SET subscriber_id = %(survivor)s, event_id = COALESCE(pair.kept_id, e.id)
FROM events_trackedevent e LEFT JOIN ({PAIRS}) pair ON pair.gone_id = e.id
WHERE e.subscriber_id = %(other)s AND o.subscriber_id = %(other)s AND o.event_id = e.id
"""  # noqa: S608
# What was imported stays remembered, so that the next import adds to the event as it is now.
MOVE_IMPORTED = f"""
WITH pair AS MATERIALIZED ({PAIRS})
UPDATE events_importedevent i
SET subscriber_id = %(survivor)s,
    event_id = COALESCE((SELECT kept_id FROM pair WHERE gone_id = i.event_id), i.event_id)
WHERE i.subscriber_id = %(other)s
"""  # noqa: S608
# The value of the later event stays, as in COUNT_UP of events/tracking/statements.py.
MOVE_EVENTS = f"""
WITH pair AS MATERIALIZED ({PAIRS}), joined AS (
    UPDATE events_trackedevent t SET
        counter = t.counter + gone.counter,
        unlogged = t.unlogged + gone.unlogged,
        value = CASE WHEN gone.updated_at > t.updated_at THEN gone.value ELSE t.value END,
        updated_at = GREATEST(t.updated_at, gone.updated_at),
        created_at = LEAST(t.created_at, gone.created_at)
    FROM pair JOIN events_trackedevent gone ON gone.id = pair.gone_id
    WHERE t.id = pair.kept_id AND t.subscriber_id = %(survivor)s
        AND gone.subscriber_id = %(other)s
), deleted AS (
    DELETE FROM events_trackedevent
    WHERE subscriber_id = %(other)s AND id IN (SELECT gone_id FROM pair)
)
UPDATE events_trackedevent SET subscriber_id = %(survivor)s
WHERE subscriber_id = %(other)s AND id NOT IN (SELECT gone_id FROM pair)
"""  # noqa: S608


def move_events(survivor_id: int, other_id: int) -> None:
    """Move the events of the other contact to the survivor, with their log and their keys.

    Events of the same key and title are added up. The counters of occurrences stay, because
    requests were answered with them.

    Args:
        survivor_id: id of the contact that stays.
        other_id: id of the contact that is merged into it. Both are locked.
    """
    ids = {"survivor": survivor_id, "other": other_id}
    with connection.cursor() as cursor:
        # In the order of the locks. The events come last, because the others need the pairs.
        for statement in (
            MOVE_KEYS,
            MOVE_IMPORTED,
            LOCK_EVENTS,
            MOVE_OCCURRENCES,
            MOVE_EVENTS,
        ):
            cursor.execute(statement, ids)


def count_moved(survivor_id: int, other_id: int) -> Counts:
    """Return the numbers of rows that move_events would move."""
    row = fetch_one(COUNT, {"survivor": survivor_id, "other": other_id})
    joined, events, occurrences, keys = row
    return {
        "events_joined": joined,
        "events_moved": events - joined,
        "occurrences": occurrences,
        "idempotency_keys": keys,
    }
