"""Contacts and their events in files for programs (NDJSON) and for spreadsheets (CSV).

PostgreSQL writes the JSON of each row: whole numbers of 300 digits and times stay as they are, and
a column that is added is in the files by itself. What is read lies in one snapshot.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from io import StringIO
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import DateTimeField, Model
from django.utils import timezone

from config.database import chunked, fetch_rows
from crm.models import Subscriber
from events.models import TrackedEvent

Write = Callable[[str], object]

CONTACTS_AT_ONCE = 500
EVENTS_AT_ONCE = 1000
# Ends of lines for some readers of text, and plain characters in JSON.
LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})

CONTACTS = """
SELECT s.id, row_to_json(s)::text, s.custom_values::text,
       ARRAY(SELECT row_to_json(g)::text
             FROM crm_tag g JOIN crm_subscriber_tags t ON t.tag_id = g.id
             WHERE t.subscriber_id = s.id ORDER BY lower(g.title), g.id),
       ARRAY(SELECT row_to_json(g)::text
             FROM crm_list g JOIN crm_subscriber_lists l ON l.list_id = g.id
             WHERE l.subscriber_id = s.id ORDER BY lower(g.title), g.id)
FROM crm_subscriber s WHERE s.id = ANY(%(contacts)s::bigint[]) ORDER BY s.id
"""
EVENTS = """
SELECT e.subscriber_id, e.id, row_to_json(e)::text
-- Inside, so that JSON is made of a page's rows alone.
FROM (SELECT * FROM events_trackedevent
      WHERE subscriber_id = ANY(%(contacts)s::bigint[])
          AND (subscriber_id, id) > (%(after_contact)s, %(after_event)s)
      ORDER BY subscriber_id, id LIMIT %(limit)s) e
ORDER BY e.subscriber_id, e.id
"""


class Contact(NamedTuple):
    """A contact with its tags and lists: JSON texts."""

    id: int
    fields: str
    custom_values: str
    tags: list[str]
    lists: list[str]


@contextmanager
def snapshot() -> Iterator[None]:
    """All that is read inside is of one moment. Not for inside a transaction."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def contacts_of(contact_ids: Sequence[int]) -> list[Contact]:
    """Those of the contacts that are there, by id."""
    return [Contact(*row) for row in fetch_rows(CONTACTS, {"contacts": list(contact_ids)})]


def events_of(contact_ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """The events of contacts, by contact and id: whose, and its JSON."""
    after = (0, 0)
    while True:
        rows = fetch_rows(
            EVENTS,
            {
                "contacts": list(contact_ids),
                "after_contact": after[0],
                "after_event": after[1],
                "limit": EVENTS_AT_ONCE,
            },
        )
        for contact_id, _, event in rows:
            yield contact_id, event
        if len(rows) < EVENTS_AT_ONCE:
            return
        after = rows[-1][:2]


def write_ndjson(contact_ids: Sequence[int], write: Write) -> None:
    """A line for each contact: its columns, `tags`, `lists` and `events`."""
    with snapshot():
        for contact, events in _with_events(contact_ids):
            write(contact.fields[:-1].translate(LINE_ENDS))
            lists = {"tags": contact.tags, "lists": contact.lists, "events": events}
            for name, items in lists.items():
                write(f',"{name}":[')
                for number, item in enumerate(items):
                    write(f"{',' if number else ''}{item.translate(LINE_ENDS)}")
                write("]")
            write("}\n")


def write_csv(contact_ids: Sequence[int], write: Write) -> None:
    """A row for each contact and event; a contact without events has one.

    Nothing in it is a formula to a spreadsheet, times are TIME_ZONE's as spreadsheets read them,
    and the byte order mark tells Excel that it is UTF-8.
    """
    zone = timezone.get_current_timezone()
    row = StringIO()
    rows = csv.writer(row)

    def written(cells: list[str]) -> str:
        rows.writerow(cells)
        text = row.getvalue().removesuffix("\r\n")
        row.seek(0)
        row.truncate()
        return text

    names = [name if name.startswith("event_") else f"event_{name}" for name in EVENT_COLUMNS]
    write(f"\ufeff{written([*CONTACT_COLUMNS, 'tags', 'lists', *names])}\r\n")
    no_event = written([""] * len(EVENT_COLUMNS))
    with snapshot():
        for contact, events in _with_events(contact_ids):
            own = {"custom_values": contact.custom_values}
            fields = _cells(contact.fields, CONTACT_COLUMNS, zone, **own)
            for segments in (contact.tags, contact.lists):
                titles = ", ".join(json.loads(segment)["title"] for segment in segments)
                fields.append(escape_formula(titles))
            contact_cells, event = written(fields), None
            for event in events:
                write(f"{contact_cells},{written(_cells(event, EVENT_COLUMNS, zone))}\r\n")
            if event is None:
                write(f"{contact_cells},{no_event}\r\n")


def _with_events(contact_ids: Sequence[int]) -> Iterator[tuple[Contact, Iterator[str]]]:
    """Each contact with its events, which are to be read before the next contact."""
    for some in chunked(contact_ids, CONTACTS_AT_ONCE):
        groups = groupby(events_of(some), key=lambda event: event[0])
        owner, events = next(groups, (0, iter(())))
        for contact in contacts_of(some):
            if contact.id == owner:
                yield contact, (event for _, event in events)
                owner, events = next(groups, (0, iter(())))
            else:
                yield contact, iter(())


def _columns(model: type[Model], without: str = "") -> dict[str, bool]:
    """A table's columns, and which are times."""
    return {
        str(field.column): isinstance(field, DateTimeField)
        for field in model._meta.concrete_fields
        if field.column != without
    }


CONTACT_COLUMNS = _columns(Subscriber)
EVENT_COLUMNS = _columns(TrackedEvent, without="subscriber_id")


def _cells(row: str, columns: dict[str, bool], zone: tzinfo, **texts: str) -> list[str]:
    # Numbers as PostgreSQL writes them.
    values = json.loads(row, parse_int=str, parse_float=str) | texts
    return [escape_formula(_cell(values[name], is_time, zone)) for name, is_time in columns.items()]


def _cell(value: Any, is_time: bool, zone: tzinfo) -> str:
    if value is None:
        return ""
    if is_time:
        # moment_text would ask for the zone each time, a third of the time that an export takes.
        return datetime.fromisoformat(value).astimezone(zone).isoformat(" ")[:19]
    return str(value).lower() if isinstance(value, bool) else str(value)


PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Full-width forms are made plain by NFKC.
FORMULA_PREFIXES = ("=", "+", "-", "@")
CELL_PREFIXES = ("\t", "\r", "\n")
# White space, control characters and what is not seen, such as a mark of direction.
INVISIBLE_CATEGORIES = ("Z", "C")
# Where another program, or the same one in another country, begins a new cell inside of one.
CELL_SEPARATORS = re.compile(r"([;\t\r\n])")


def escape_formula(text: str) -> str:
    """A cell that a spreadsheet takes for text: where a formula could begin stands a '.

    Also behind a semicolon or the end of a line, where it begins a cell with semicolons as
    separators.
    """
    if PLAIN_NUMBER.fullmatch(text):
        return text
    parts = CELL_SEPARATORS.split(text)
    guarded = "".join(f"'{part}" if _is_formula(part) else part for part in parts)
    return f"'{guarded}" if guarded.startswith(CELL_PREFIXES) else guarded


def _is_formula(text: str) -> bool:
    if not text or text[0].isalnum():
        return False
    seen = (
        char for char in text if not unicodedata.category(char).startswith(INVISIBLE_CATEGORIES)
    )
    return unicodedata.normalize("NFKC", next(seen, "")).startswith(FORMULA_PREFIXES)
