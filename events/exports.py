"""Export contacts and their events: NDJSON for programs, CSV for spreadsheets.

PostgreSQL writes the JSON of each row, so that numbers of 300 digits and datetimes stay exact, and
a new column is exported by itself. All is read in one snapshot.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from io import StringIO
from itertools import groupby
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import DateTimeField, Model
from django.utils import timezone

from config.database import Row, chunked, fetch_page
from config.downloads import LINE_ENDS, Write
from crm.models import Subscriber
from events.models import TrackedEvent

# The contacts whose events are read by one statement.
CONTACTS_PER_TURN = 500
ROWS_PER_STATEMENT = 20
MAX_EVENTS_PER_STATEMENT = 1000

CONTACTS = """
SELECT s.id, row_to_json(s)::text AS fields, s.custom_values::text AS custom_values,
       ARRAY(SELECT row_to_json(g)::text
             FROM crm_tag g JOIN crm_subscriber_tags t ON t.tag_id = g.id
             WHERE t.subscriber_id = s.id ORDER BY lower(g.title), g.id) AS tags,
       ARRAY(SELECT row_to_json(g)::text
             FROM crm_list g JOIN crm_subscriber_lists l ON l.list_id = g.id
             WHERE l.subscriber_id = s.id ORDER BY lower(g.title), g.id) AS lists,
       ARRAY(SELECT row_to_json(i)::text
             FROM (SELECT kind, source, value FROM crm_identity WHERE subscriber_id = s.id
                   ORDER BY kind, source, value) i) AS identities
-- Inside, so that JSON is made of a page's rows alone.
FROM (SELECT * FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[]) AND id > %(after)s
      ORDER BY id LIMIT %(limit)s) s
"""
CONTACT_SIZE = """
octet_length(fields) + octet_length(custom_values) + octet_length(tags::text)
+ octet_length(lists::text)
"""
EVENTS = """
SELECT e.subscriber_id, e.id, row_to_json(e)::text AS fields
FROM (SELECT * FROM events_trackedevent
      WHERE subscriber_id = ANY(%(contacts)s::bigint[])
          AND (subscriber_id, id) > (%(after)s, %(after_event)s)
      ORDER BY subscriber_id, id LIMIT %(limit)s) e
"""


class Contact(NamedTuple):
    """A contact, its custom values, tags, lists and identities as JSON text."""

    id: int
    fields: str
    custom_values: str
    tags: list[str]
    lists: list[str]
    identities: list[str]


@contextmanager
def snapshot() -> Iterator[None]:
    """Read everything inside in one snapshot, in a transaction of its own."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def contacts_of(contact_ids: Sequence[int]) -> Iterator[Contact]:
    """Yield the contacts that exist, by id."""
    rows = _read(CONTACTS, contact_ids, ROWS_PER_STATEMENT, size=CONTACT_SIZE, order="id")
    return (Contact(*row[:-2]) for row in rows)


def events_of(contact_ids: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the events of contacts by contact and id: the contact's id, and the event's JSON."""
    size, order = "octet_length(fields)", "subscriber_id, id"
    rows = _read(EVENTS, contact_ids, MAX_EVENTS_PER_STATEMENT, size=size, order=order)
    return ((row[0], row[2]) for row in rows)


def _read(
    statement: str, contact_ids: Sequence[int], max_rows: int, *, size: str, order: str
) -> Iterator[Row]:
    """Yield the rows of a statement, and read about 8 MB of them at a time.

    PostgreSQL makes the JSON of a whole page before it ends the page at 8 MB. So pages start short,
    become longer up to `max_rows`, and become as short as the last page that was ended.
    """
    parameters = {"contacts": list(contact_ids), "after": 0, "after_event": 0}
    limit = ROWS_PER_STATEMENT
    while True:
        rows, is_cut = fetch_page(statement, {**parameters, "limit": limit}, size=size, order=order)
        yield from rows
        if len(rows) < limit and not is_cut:
            return
        parameters |= {"after": rows[-1][0], "after_event": rows[-1][1]}
        limit = len(rows) if is_cut else min(2 * limit, max_rows)


def write_ndjson(contact_ids: Sequence[int], write: Write) -> None:
    """Write a line of JSON for each contact: its columns, labels, identities and events."""
    with snapshot():
        for contact, events in _with_events(contact_ids):
            write(contact.fields[:-1].translate(LINE_ENDS))
            arrays = {
                "tags": contact.tags,
                "lists": contact.lists,
                "identities": contact.identities,
                "events": events,
            }
            for name, items in arrays.items():
                write(f',"{name}":[')
                for number, item in enumerate(items):
                    write(f"{',' if number else ''}{item.translate(LINE_ENDS)}")
                write("]")
            write("}\n")


def write_csv(contact_ids: Sequence[int], write: Write) -> None:
    """Write a row for each contact and event; a contact without events has one row.

    No cell is a formula to a spreadsheet. Datetimes are in TIME_ZONE as spreadsheets read them. The
    byte order mark tells Excel that the file is UTF-8.
    """
    zone = timezone.get_current_timezone()
    buffer = StringIO()
    writer = csv.writer(buffer)

    def format_row(cells: list[str]) -> str:
        writer.writerow(cells)
        text = buffer.getvalue().removesuffix("\r\n")
        buffer.seek(0)
        buffer.truncate()
        return text

    names = [name if name.startswith("event_") else f"event_{name}" for name in EVENT_COLUMNS]
    write(f"\ufeff{format_row([*CONTACT_COLUMNS, 'tags', 'lists', *names])}\r\n")
    no_event = format_row([""] * len(EVENT_COLUMNS))
    with snapshot():
        for contact, events in _with_events(contact_ids):
            cells = _cells(
                contact.fields, CONTACT_COLUMNS, zone, custom_values=contact.custom_values
            )
            for labels in (contact.tags, contact.lists):
                titles = ", ".join(json.loads(label)["title"] for label in labels)
                cells.append(escape_formula(titles))
            contact_row, event = format_row(cells), None
            for event in events:
                write(f"{contact_row},{format_row(_cells(event, EVENT_COLUMNS, zone))}\r\n")
            if event is None:
                write(f"{contact_row},{no_event}\r\n")


def _with_events(contact_ids: Sequence[int]) -> Iterator[tuple[Contact, Iterator[str]]]:
    """Yield each contact with its events, which have to be read before the next contact."""
    for ids in chunked(contact_ids, CONTACTS_PER_TURN):
        groups = groupby(events_of(ids), key=lambda event: event[0])
        owner_id, events = next(groups, (0, iter(())))
        for contact in contacts_of(ids):
            if contact.id == owner_id:
                yield contact, (event for _, event in events)
                owner_id, events = next(groups, (0, iter(())))
            else:
                yield contact, iter(())


def _columns(model: type[Model], without: str = "") -> dict[str, bool]:
    """Return a table's columns, and whether each is a datetime."""
    return {
        str(field.column): isinstance(field, DateTimeField)
        for field in model._meta.concrete_fields
        if field.column != without
    }


CONTACT_COLUMNS = _columns(Subscriber)
EVENT_COLUMNS = _columns(TrackedEvent, without="subscriber_id")


def _cells(row: str, columns: dict[str, bool], zone: tzinfo, **texts: str) -> list[str]:
    # Numbers stay as PostgreSQL writes them.
    values = json.loads(row, parse_int=str, parse_float=str) | texts
    return [
        escape_formula(
            format_datetime(values[name], zone)
            if is_datetime and values[name]
            else format_cell(values[name])
        )
        for name, is_datetime in columns.items()
    ]


def format_cell(value: Any) -> str:
    """Return a value of JSON as a cell of a table: null is empty, true and false are words."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def format_datetime(value: str, zone: tzinfo) -> str:
    """Return a datetime of JSON as spreadsheets read it, in a time zone."""
    # Not Django's, because looking up the zone each time takes a third of an export.
    return datetime.fromisoformat(value).astimezone(zone).isoformat(" ")[:19]


PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Full-width forms of them are normalized by NFKC.
FORMULA_PREFIXES = ("=", "+", "-", "@")
CELL_PREFIXES = ("\t", "\r", "\n")
# Unicode categories of whitespace, control characters, and invisible ones such as direction marks.
INVISIBLE_CATEGORIES = ("Z", "C")
# Where another program, or the same one in another country, begins a new cell.
CELL_SEPARATORS = re.compile(r"([;\t\r\n])")


def escape_formula(text: str) -> str:
    """Return a cell that a spreadsheet reads as text, with a ' wherever a formula could begin.

    "=1+1" becomes "'=1+1". A formula can also begin after a semicolon or a line end, because
    spreadsheets of some countries separate cells by semicolons. Plain numbers stay.
    """
    if PLAIN_NUMBER.fullmatch(text):
        return text
    parts = CELL_SEPARATORS.split(text)
    escaped = "".join(f"'{part}" if is_formula(part) else part for part in parts)
    return f"'{escaped}" if escaped.startswith(CELL_PREFIXES) else escaped


def unescape_formula(text: str) -> str:
    """Return a cell as it was before `escape_formula`, or before another program's ' like that."""
    if text.startswith("'") and text[1:].startswith(CELL_PREFIXES):
        text = text[1:]
    parts = CELL_SEPARATORS.split(text)
    return "".join(
        part[1:] if part.startswith("'") and is_formula(part[1:]) else part for part in parts
    )


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet may read a cell as a formula."""
    if not text or text[0].isalnum():
        return False
    visible = (
        char for char in text if not unicodedata.category(char).startswith(INVISIBLE_CATEGORIES)
    )
    return unicodedata.normalize("NFKC", next(visible, "")).startswith(FORMULA_PREFIXES)
