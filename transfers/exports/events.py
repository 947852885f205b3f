"""Read all events for an export: counted rows, and the log of occurrences.

Pages are read by the primary key, so that no export sorts the log. PostgreSQL makes the lines of
JSON, because Python would take ten times as long.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from config.database import fetch_one, fetch_rows
from config.downloads import LINE_ENDS
from transfers.exports.cells import Kind

ROWS_PER_PAGE = 10_000
# An occurrence may have 64 KB of properties, 64 KB of context, and a value of 256 KB.
MAX_PAGE_BYTES = 16 * 1024 * 1024


class EventChoice(NamedTuple):
    """Which events are exported: those of some keys, None for all, that happened since then."""

    event_keys: list[str] | None
    since: datetime | None


ALL = EventChoice(None, None)

CHOSEN = """
(%(event_keys)s::text[] IS NULL OR {row}.event_key = ANY(%(event_keys)s))
    AND (%(since)s::timestamptz IS NULL OR {row}.{time} >= %(since)s)
"""
CHOSEN_EVENTS = CHOSEN.format(row="e", time="updated_at")
CHOSEN_OCCURRENCES = CHOSEN.format(row="o", time="occurred_at")
COUNT_EVENTS = f"SELECT count(*) FROM events_trackedevent e WHERE {CHOSEN_EVENTS}"
COUNT_OCCURRENCES = f"SELECT count(*) FROM events_eventoccurrence o WHERE {CHOSEN_OCCURRENCES}"
# The columns of lines and tables, as transfers/events.py reads them.
# The page inside, so that only its rows are joined.
EVENTS = f"""
SELECT e.id, row_to_json(line)::text
FROM (SELECT * FROM events_trackedevent e WHERE e.id > %(after)s AND {CHOSEN_EVENTS}
      ORDER BY e.id LIMIT %(limit)s) e
    JOIN crm_subscriber s ON s.id = e.subscriber_id
    CROSS JOIN LATERAL (SELECT 'event' AS type, e.id, s.email, e.event_key, e.title, e.value,
        e.provider, e.repeatable, e.counter, e.unlogged, e.created_at, e.updated_at) line
ORDER BY e.id
"""
OCCURRENCES = f"""
SELECT o.id, row_to_json(line)::text
FROM (SELECT * FROM events_eventoccurrence o WHERE o.id > %(after)s AND {CHOSEN_OCCURRENCES}
      ORDER BY o.id LIMIT %(limit)s) o
    JOIN events_trackedevent e ON e.id = o.event_id AND e.subscriber_id = o.subscriber_id
    JOIN crm_subscriber s ON s.id = o.subscriber_id
    CROSS JOIN LATERAL (SELECT 'occurrence' AS type, o.id, o.event_id, s.email, o.event_key,
        e.title, e.repeatable, o.provider, o.value, o.counter, o.properties, o.context,
        o.occurred_at, o.received_at) line
ORDER BY o.id
"""
EVENT_COLUMNS: dict[str, Kind] = {
    **{"id": "number", "email": "text", "event_key": "text", "title": "text", "value": "text"},
    **{"provider": "text", "repeatable": "text", "counter": "number", "unlogged": "number"},
    **{"created_at": "datetime", "updated_at": "datetime"},
}
OCCURRENCE_COLUMNS: dict[str, Kind] = {
    **{"id": "number", "event_id": "number", "email": "text", "event_key": "text"},
    **{"title": "text", "provider": "text", "value": "text", "counter": "number"},
    **{"properties": "json", "context": "json"},
    **{"occurred_at": "datetime", "received_at": "datetime"},
}


def count_events(choice: EventChoice) -> int:
    """Return the number of counted rows."""
    return int(fetch_one(COUNT_EVENTS, choice._asdict())[0])


def count_occurrences(choice: EventChoice) -> int:
    """Return the number of occurrences."""
    return int(fetch_one(COUNT_OCCURRENCES, choice._asdict())[0])


def event_lines(choice: EventChoice) -> Iterator[str]:
    """Yield a line of JSON for each counted row, by id."""
    return _lines(EVENTS, choice)


def occurrence_lines(choice: EventChoice) -> Iterator[str]:
    """Yield a line of JSON for each occurrence, by id."""
    return _lines(OCCURRENCES, choice)


def event_rows(choice: EventChoice) -> Iterator[list[Any]]:
    """Yield the cells of EVENT_COLUMNS of each counted row, by id."""
    return (_cells(line, EVENT_COLUMNS) for line in event_lines(choice))


def occurrence_rows(choice: EventChoice) -> Iterator[list[Any]]:
    """Yield the cells of OCCURRENCE_COLUMNS of each occurrence, by id."""
    return (_cells(line, OCCURRENCE_COLUMNS) for line in occurrence_lines(choice))


def _lines(statement: str, choice: EventChoice) -> Iterator[str]:
    after, limit = 0, ROWS_PER_PAGE
    while True:
        parameters = {**choice._asdict(), "after": after, "limit": limit}
        rows = fetch_rows(statement, parameters, prepare=False)
        for _, line in rows:
            yield f"{line.translate(LINE_ENDS)}\n"
        if len(rows) < limit:
            return
        after = rows[-1][0]
        # So that a page stays below MAX_PAGE_BYTES, if the next rows are as long as these.
        size = sum(len(line) for _, line in rows) // len(rows)
        limit = max(20, min(ROWS_PER_PAGE, MAX_PAGE_BYTES // (size + 1)))


def _cells(line: str, columns: Iterable[str]) -> list[Any]:
    values: dict[str, Any] = json.loads(line)
    return [values[name] for name in columns]
