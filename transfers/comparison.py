"""Compare this store with exports of another one, but for ids, which differ between stores."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from django.db import connection

from config.database import fetch_rows
from events.exports import snapshot
from transfers.exports.contacts import contact_lines
from transfers.exports.events import ALL, event_lines, occurrence_lines

SHOWN = 5
LINES_PER_COPY = 10_000
# The type of a line, what it is about, and the digest of what two stores share.
Line = tuple[str, str, bytes]
# Ids of this store, what is computed, and what a program's next write changes.
LEFT_OUT = {
    *("id", "event_id", "subscriber_id", "created_by_id", "contact_owner", "company_id"),
    *("email_key", "made_by_track", "status_change"),
}
LINES_OF: dict[str, Callable[[], Iterator[str]]] = {
    "contact": contact_lines,
    "event": lambda: event_lines(ALL),
    "occurrence": lambda: occurrence_lines(ALL),
}
CREATE = """
CREATE TEMPORARY TABLE compared (type text, name text, digest bytea, number int)
"""
COPY = "COPY compared (type, name, digest, number) FROM STDIN"
DIFFERENCES = """
SELECT type, number > 0, count(*), (array_agg(name ORDER BY name))[:%(shown)s]
FROM (SELECT type, name, digest, sum(number) AS number
      FROM compared GROUP BY type, name, digest) c
WHERE number <> 0 GROUP BY type, number > 0 ORDER BY type, number > 0 DESC
"""
NUMBERS = "SELECT type, count(*) FROM compared WHERE number > 0 GROUP BY type ORDER BY type"


class Difference(NamedTuple):
    """Lines that one side has and the other does not.

    Attributes:
        type: contact, event or occurrence.
        is_in_files: whether the files have them, and otherwise the store.
        number: how many different ones.
        names: the first of them, by e-mail and event.
    """

    type: str
    is_in_files: bool
    number: int
    names: list[str]


class InvalidExport(Exception):
    """A file is no export as NDJSON."""


def compare(paths: Iterable[Path]) -> tuple[dict[str, int], list[Difference]]:
    """Compare files with this store, which is read in one snapshot.

    Args:
        paths: complete exports as NDJSON, of contacts, events, or both.

    Returns:
        The number of lines of each type in the files, and the differences in these types.

    Raises:
        InvalidExport: a line is none of an export.
        OSError: a file cannot be read.
    """
    with connection.cursor() as cursor:
        # Before the snapshot, in which nothing can be created.
        cursor.execute(CREATE)
        try:
            types = {row[0] for path in paths for row in _copy(_rows_of(path), 1)}
            with snapshot():
                for each in sorted(types):
                    deque(_copy(map(_row, LINES_OF[each]()), -1), maxlen=0)
            numbers: dict[str, int] = dict(fetch_rows(NUMBERS, {}))
            rows = fetch_rows(DIFFERENCES, {"shown": SHOWN})
        finally:
            cursor.execute("DROP TABLE compared")
    return numbers, [Difference(*row) for row in rows]


def _copy(rows: Iterator[Line], number: int) -> Iterator[Line]:
    """Write lines into the temporary table, and yield them.

    In pieces, because the connection accepts no other statement during COPY.
    """
    while piece := list(islice(rows, LINES_PER_COPY)):
        with connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for row in piece:
                copy.write_row((*row, number))
        yield from piece


def _rows_of(path: Path) -> Iterator[Line]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if orjson.loads(line)["type"] != "tallybook":
                    yield _row(line)
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise InvalidExport(f"{path}, line {number}, is no line of an export.") from None


def _row(line: str | bytes) -> Line:
    """Return the type of a line, what it is about, and a digest of what two stores share.

    Raises:
        KeyError: it is no line of an export.
    """
    values = orjson.loads(line)
    parts = (values["email"], values.get("event_key"), values.get("title"))
    if values["type"] not in LINES_OF:
        raise KeyError(values["type"])
    shared = orjson.dumps(_shared(values), option=orjson.OPT_SORT_KEYS)
    name = " ".join(filter(None, parts))
    return values["type"], name, hashlib.sha256(shared).digest()


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    shared = {name: value for name, value in values.items() if name not in LEFT_OUT}
    if values["type"] == "contact":
        del shared["updated_at"]
        for kind in ("tags", "lists"):
            shared[kind] = sorted(label["title"] for label in values[kind])
        identities = (each for each in values["identities"] if each["kind"] != "contact")
        shared["identities"] = sorted(identities, key=orjson.dumps)
        notes = ({k: v for k, v in each.items() if k not in LEFT_OUT} for each in values["notes"])
        shared["notes"] = sorted(notes, key=orjson.dumps)
    return shared
