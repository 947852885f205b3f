"""Write counters of another store that come without occurrences, and remember what was imported.

They become `unlogged`. A row of the source that is imported again adds what it has counted since.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.utils import timezone

from config.api.validation import MAX_ID
from config.database import fetch_rows
from crm.emails import email_key
from events.tracking.errors import SubscriberNotFound
from events.tracking.fields import EventFields
from events.tracking.imports import USER_ID, Imported, Outcome
from events.tracking.item_statements import ALIASED, NAMED
from events.tracking.statements import COUNT_UP

SHRUNK = "The source has counted {}, and {} were imported before. Nothing was changed."

# In the order of the locks: contacts by id, what was imported by source and id, events by contact,
# key and title, names by name.
LOCK_CONTACTS = f"""
WITH item AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS sent(n int, subscriber_id bigint, email text, user_id text)
), {NAMED.format(user_id=USER_ID, aliased=ALIASED, named="aliased", locked="")}
SELECT n, contact.id FROM aliased JOIN contact ON contact.id = aliased.contact_id
"""  # noqa: S608
# The contacts of rows that were imported before, which may be others than the source names now.
HOLDERS = """
SELECT DISTINCT subscriber_id FROM events_importedevent
WHERE source = %(source)s AND source_id = ANY(%(ids)s::text[])
"""
LOCK_IMPORTED = """
SELECT source_id, subscriber_id, event_id, counter FROM events_importedevent
WHERE source = %(source)s AND source_id = ANY(%(ids)s::text[]) ORDER BY source_id FOR UPDATE
"""
NEXT_EVENTS = """
SELECT nextval('events_trackedevent_id_seq') FROM generate_series(1, %(number)s)
"""
LOCK_EVENTS = """
SELECT e.id FROM events_trackedevent e
    JOIN json_to_recordset(%(rows)s::json) AS sent(id bigint, subscriber_id bigint)
        USING (id, subscriber_id)
ORDER BY e.subscriber_id, e.event_key, e.title FOR NO KEY UPDATE OF e
"""
ROW = """
sent(id bigint, subscriber_id bigint, event_key text, title text, value text, provider text,
     repeatable bool, counter bigint, created_at timestamptz, updated_at timestamptz)
"""
INSERT = f"""
INSERT INTO events_trackedevent AS t
    (id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
     created_at, updated_at)
SELECT id, subscriber_id, event_key, title, value, provider, counter, counter, repeatable,
       created_at, updated_at
FROM json_to_recordset(%(rows)s::json) AS {ROW}
ORDER BY subscriber_id, event_key, title
{COUNT_UP}, unlogged = t.unlogged + excluded.unlogged
RETURNING t.id, t.subscriber_id, t.event_key, t.title, t.repeatable
"""  # noqa: S608
UPDATE = f"""
UPDATE events_trackedevent t SET
    counter = t.counter + excluded.counter,
    unlogged = t.unlogged + excluded.counter,
    value = CASE WHEN excluded.updated_at >= t.updated_at THEN excluded.value ELSE t.value END,
    updated_at = GREATEST(t.updated_at, excluded.updated_at),
    created_at = LEAST(t.created_at, excluded.created_at)
FROM (SELECT * FROM json_to_recordset(%(rows)s::json) AS {ROW}) excluded
WHERE t.id = excluded.id AND t.subscriber_id = excluded.subscriber_id
RETURNING t.id
"""  # noqa: S608
REMEMBER = """
INSERT INTO events_importedevent (source, source_id, subscriber_id, event_id, counter)
SELECT %(source)s, source_id, subscriber_id, event_id, counter
FROM json_to_recordset(%(rows)s::json)
    AS sent(source_id text, subscriber_id bigint, event_id bigint, counter bigint)
ORDER BY source_id
ON CONFLICT (source, source_id) DO UPDATE SET
    subscriber_id = excluded.subscriber_id, event_id = excluded.event_id,
    counter = excluded.counter
RETURNING source_id
"""
NAMES = """
INSERT INTO events_eventname (name, first_seen_at)
SELECT name, %(now)s FROM unnest(%(names)s::text[]) name ORDER BY name
ON CONFLICT (name) DO NOTHING RETURNING name
"""


class ImportedCount(NamedTuple):
    """A row of another store's events.

    Attributes:
        source_id: its id there, up to 192 characters.
        fields: the event. Without `created_at` its `occurred_at` is the first and the last time.
        counter: how often it happened there, without occurrences that are imported besides.
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

    Args:
        rows: the rows, each source_id once.
        source: the name of the source, up to 192 characters.
        user_source: the source of the user_ids of contacts, "" for that of calls.

    Returns:
        An outcome for each row: how much it added to a counter, or SubscriberNotFound.
    """
    if not rows:
        return []
    now = timezone.now()
    ids = {"source": source, "ids": [row.source_id for row in rows]}
    holders = [contact_id for (contact_id,) in fetch_rows(HOLDERS, ids)]
    contacts = _lock_contacts(rows, holders, user_source)
    known = {row[0]: row[1:] for row in fetch_rows(LOCK_IMPORTED, ids)}
    outcomes: dict[int, Outcome] = {}
    new: dict[int, dict[str, Any]] = {}
    grown: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        if number not in contacts and row.source_id not in known:
            outcomes[number] = SubscriberNotFound()
            continue
        contact_id, event_id, counter = known.get(row.source_id, (contacts.get(number), 0, 0))
        added = min(row.counter, MAX_ID) - counter
        if row.source_id not in known and added > 0:
            new[number] = _columns(row, contact_id, added, now)
        elif added > 0:
            grown[number] = _columns(row, contact_id, added, now) | {"id": event_id}
        warning = SHRUNK.format(row.counter, counter) if added < 0 else ""
        outcomes[number] = Imported(max(added, 0), warning)
    event_ids = {number: columns["id"] for number, columns in grown.items()}
    fetch_rows(LOCK_EVENTS, _json([*grown.values()]))
    event_ids |= _insert(new)
    fetch_rows(UPDATE, _json([*grown.values()]))
    remembered = [
        {
            "source_id": rows[number].source_id,
            "subscriber_id": columns["subscriber_id"],
            "event_id": event_ids[number],
            "counter": min(rows[number].counter, MAX_ID),
        }
        for number, columns in (new | grown).items()
    ]
    fetch_rows(REMEMBER, {"source": source, **_json(remembered)})
    names = {columns["event_key"] for columns in new.values()}
    fetch_rows(NAMES, {"names": [*names], "now": now})
    return [outcomes[number] for number in range(len(rows))]


def _lock_contacts(
    rows: Sequence[ImportedCount], holders: Sequence[int], user_source: str
) -> dict[int, int]:
    """Return the contact that each row names, locked as tracking locks it, and so are `holders`."""
    items = [
        {
            "n": number,
            "subscriber_id": row.fields.subscriber_id,
            "email": email_key(row.fields.email),
            "user_id": row.fields.user_id,
        }
        for number, row in enumerate(rows)
    ]
    items += [{"n": -1, "subscriber_id": each, "email": "", "user_id": ""} for each in holders]
    parameters = {"items": orjson.dumps(items).decode(), "user_source": user_source}
    return dict(fetch_rows(LOCK_CONTACTS, parameters))


def _columns(row: ImportedCount, contact_id: int, added: int, now: datetime) -> dict[str, Any]:
    fields = row.fields
    times = [each for each in (row.created_at, row.updated_at, fields.occurred_at) if each]
    return {
        "subscriber_id": contact_id,
        "event_key": fields.event_key,
        "title": fields.title,
        "value": fields.value,
        "provider": fields.provider,
        "repeatable": fields.repeatable,
        "counter": added,
        "created_at": min(times, default=now),
        "updated_at": row.updated_at or max(times, default=now),
    }


def _insert(new: Mapping[int, dict[str, Any]]) -> dict[int, int]:
    """Insert events, or count up those that are there. Returns the event of each row.

    Rows of one contact, key and title are added up, because a statement counts up a row once.
    """
    drawn = fetch_rows(NEXT_EVENTS, {"number": len(new)})
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    names: dict[int, tuple[Any, ...]] = {}
    name: tuple[Any, ...]
    for (number, columns), (event_id,) in zip(new.items(), drawn, strict=True):
        row_key = 0 if columns["repeatable"] else event_id
        name = (columns["subscriber_id"], columns["event_key"], columns["title"], row_key)
        names[number] = name
        merged[name] = _added(merged.get(name), columns | {"id": event_id})
    ids = {}
    for event_id, *columns_of_name, is_repeatable in fetch_rows(INSERT, _json([*merged.values()])):
        ids[(*columns_of_name, 0 if is_repeatable else event_id)] = event_id
    return {number: ids[name] for number, name in names.items()}


def _added(before: dict[str, Any] | None, columns: dict[str, Any]) -> dict[str, Any]:
    """Return two rows of one event as one: the value of the later one, both counters."""
    if before is None:
        return columns
    later = columns if columns["updated_at"] >= before["updated_at"] else before
    return before | {
        "value": later["value"],
        "counter": before["counter"] + columns["counter"],
        "created_at": min(before["created_at"], columns["created_at"]),
        "updated_at": later["updated_at"],
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {"rows": orjson.dumps(rows).decode()}
