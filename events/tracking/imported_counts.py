"""Write counters of another store that come without occurrences, and remember what was imported.

They become `unlogged`. An import of the same row again adds what the source has counted since.
Occurrences of the row that are imported besides (events/tracking/imports.py) move from `unlogged`
into the log.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.utils import timezone

from config.api.errors import InvalidFields
from config.database import fetch_rows
from crm.emails import email_key
from events.tracking.errors import SubscriberNotFound
from events.tracking.fields import EventFields
from events.tracking.imports import LOCK_SOURCE, Imported, Outcome, import_owner
from events.tracking.item_statements import ALIASED, NAMED, NEXT_EVENT
from events.tracking.statements import COUNT_UP, INSERT_NAMES, RECORD_IMPORTED, USER_ID

# So that sums of counters stay whole numbers of 64 bits.
MAX_COUNTER = 10**12
TOO_LARGE = {"counter": {"max": f"The counter may not be greater than {MAX_COUNTER:,}."}}
SHRUNK = "The source has counted {}, and {} were imported before. Nothing was changed."

# A row that was imported before belongs to the contact that it belonged to, whatever it names now.
HOLDERS = """
, holder AS MATERIALIZED (
    SELECT n, subscriber_id AS contact_id FROM known
    UNION ALL
    SELECT n, contact_id FROM aliased
    WHERE NOT EXISTS (SELECT FROM known WHERE known.n = aliased.n)
)
"""
# Writes rows in the order of the locks: contacts by id, events by contact, key and title, names by
# name. It returns for each row its number, whether its contact exists, how much it adds, and the
# counter that was imported before.
COUNT = f"""
WITH item AS MATERIALIZED (
    SELECT sent.*, {NEXT_EVENT} AS event_id
    FROM json_to_recordset(%(rows)s::json) AS sent(
        n int, source_id text, subscriber_id bigint, email text, user_id text, event_key text,
        title text, value text, provider text, repeatable bool, counter bigint,
        created_at timestamptz, updated_at timestamptz)
), known AS MATERIALIZED (
    SELECT n, m.subscriber_id, m.event_id, m.counter
    FROM item JOIN events_importedevent m ON m.source = %(owner)s AND m.source_id = item.source_id
), {NAMED.format(user_id=USER_ID, aliased=ALIASED + HOLDERS, named="holder", locked="")},
ready AS MATERIALIZED (
    SELECT item.*, contact.id AS contact_id, e.id AS known_id,
           item.counter - COALESCE(known.counter, 0) AS added, known.counter AS before,
           CASE WHEN item.repeatable THEN 0 ELSE item.event_id END AS row_key
    FROM item JOIN holder USING (n) JOIN contact ON contact.id = holder.contact_id
        LEFT JOIN known USING (n)
        LEFT JOIN events_trackedevent e
            ON e.id = known.event_id AND e.subscriber_id = known.subscriber_id
), event AS (
    INSERT INTO events_trackedevent AS t
        (id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
         created_at, updated_at)
    SELECT min(event_id), contact_id, event_key, title,
           (array_agg(value ORDER BY updated_at DESC, n DESC))[1],
           (array_agg(provider ORDER BY n))[1], sum(added), sum(added), repeatable,
           min(created_at), max(updated_at)
    FROM ready WHERE added > 0 AND (repeatable OR known_id IS NULL)
    GROUP BY contact_id, event_key, title, repeatable, row_key
    ORDER BY contact_id, event_key, title
    {COUNT_UP}, unlogged = t.unlogged + excluded.unlogged
    RETURNING id, subscriber_id, event_key, title,
              CASE WHEN repeatable THEN 0 ELSE id END AS row_key
), grown AS (
    -- No other program counts up a row that does not repeat.
    UPDATE events_trackedevent t SET
        counter = t.counter + r.added, unlogged = t.unlogged + r.added,
        value = CASE WHEN r.updated_at >= t.updated_at THEN r.value ELSE t.value END,
        updated_at = GREATEST(t.updated_at, r.updated_at),
        created_at = LEAST(t.created_at, r.created_at)
    FROM ready r
    WHERE r.added > 0 AND NOT r.repeatable
        AND t.id = r.known_id AND t.subscriber_id = r.contact_id
), remembered AS (
    INSERT INTO events_importedevent AS m
        (source, source_id, subscriber_id, event_id, counter, logged)
    SELECT %(owner)s, source_id, contact_id, COALESCE(event.id, known_id), counter, 0
    FROM ready LEFT JOIN event ON event.subscriber_id = contact_id
        AND event.event_key = ready.event_key AND event.title = ready.title
        AND event.row_key = ready.row_key
    WHERE added > 0
    ON CONFLICT (source, source_id) DO UPDATE
        SET event_id = excluded.event_id, counter = excluded.counter
), {RECORD_IMPORTED.format(contact="contact_id", amount="added", counted="ready", quiet="true")}, {
    INSERT_NAMES
}
SELECT n, ready.n IS NOT NULL, added, before FROM item LEFT JOIN ready USING (n)
"""  # noqa: S608


class ImportedCount(NamedTuple):
    """A row of another store's events.

    Attributes:
        source_id: its id there, up to 255 characters.
        fields: the event. Without `created_at` its `occurred_at` is the first and the last time.
        counter: how often it happened there, with the occurrences that are imported besides.
        created_at: the first time, or None.
        updated_at: the last time, or None.
    """

    source_id: str
    fields: EventFields
    counter: int
    created_at: datetime | None = None
    updated_at: datetime | None = None


def import_counts(
    rows: Sequence[ImportedCount], source: str, user_source: str = ""
) -> list[Outcome]:
    """Write counters of a source in the caller's transaction, up to some thousand.

    Another import of the same source waits until the caller commits.

    Args:
        rows: the rows.
        source: the name of the source.
        user_source: the source of the user_ids of contacts, "" for that of calls.

    Returns:
        An outcome for each row: how much it added to a counter, or the error. That is
        SubscriberNotFound without the contact, and InvalidFields if the counter is too large.
    """
    outcomes: list[Outcome] = [InvalidFields(TOO_LARGE)] * len(rows)
    numbers: dict[str, int] = {}
    later: list[int] = []
    for number, row in enumerate(rows):
        if row.counter > MAX_COUNTER:
            continue
        if numbers.setdefault(row.source_id, number) != number:
            later.append(number)
    if not numbers:
        return outcomes
    now = timezone.now()
    parameters = {"owner": import_owner(source), "user_source": user_source, "now": now}
    items = [_item(number, rows[number], now) for number in numbers.values()]
    fetch_rows(LOCK_SOURCE, parameters)
    written = fetch_rows(COUNT, {**parameters, "rows": orjson.dumps(items).decode()})
    for number, has_contact, added, before in written:
        if not has_contact:
            outcomes[number] = SubscriberNotFound()
        elif added < 0:
            outcomes[number] = Imported(0, SHRUNK.format(rows[number].counter, before))
        else:
            outcomes[number] = Imported(added)
    # The same row of the source a second time.
    again = import_counts([rows[number] for number in later], source, user_source)
    for number, outcome in zip(later, again, strict=True):
        outcomes[number] = outcome
    return outcomes


def _item(number: int, row: ImportedCount, now: datetime) -> dict[str, Any]:
    fields = row.fields
    times = [each for each in (row.created_at, row.updated_at, fields.occurred_at) if each]
    return {
        "n": number,
        "source_id": row.source_id,
        "subscriber_id": fields.subscriber_id,
        "email": email_key(fields.email),
        "user_id": fields.user_id,
        "event_key": fields.event_key,
        "title": fields.title,
        "value": fields.value,
        "provider": fields.provider,
        "repeatable": fields.repeatable,
        "counter": row.counter,
        "created_at": min(times, default=now),
        "updated_at": row.updated_at or max(times, default=now),
    }
