"""Read a FluentCRM from the tables of its MySQL or MariaDB.

The tables are those of FluentCRM's database/migrations. Values that PHP has serialized are read
by transfers/sources/php.py.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from crm.jobs import JobError
from crm.labels import LABEL_MODELS, LabelKind
from transfers.sources import Attached, Batch, EventRow, SourceContact, SourceLabel
from transfers.sources import fluentcrm as convert
from transfers.sources.client import split_url
from transfers.sources.php import maybe_unserialize

PER_PAGE = 200
EVENTS_PER_PAGE = 5_000
PREFIX = re.compile(r"[A-Za-z0-9_$]{1,60}")
# Longer texts are cut, because no custom value and no note here is longer.
MAX_TEXT = 65_535
# The class that a row of fc_subscriber_pivot names.
CLASSES: Mapping[LabelKind, str] = {
    "tags": "FluentCrm\\App\\Models\\Tag",
    "lists": "FluentCrm\\App\\Models\\Lists",
}
NEEDED = ("fc_subscribers", "fc_tags", "fc_lists", "fc_subscriber_pivot", "fc_meta")
# Tables that older versions lack, and what is not there then.
OPTIONAL = {
    "fc_subscriber_meta": "custom values",
    "fc_subscriber_notes": "notes",
    "fc_event_tracking": "events",
}
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
OPTIONS = """
SELECT option_name, option_value FROM {prefix}options
WHERE option_name IN ('home', 'timezone_string', 'gmt_offset')
"""
FIELDS = """
SELECT `value` FROM {prefix}fc_meta
WHERE object_type = 'option' AND `key` = 'contact_custom_fields' ORDER BY id LIMIT 1
"""
LABELS = "SELECT * FROM {prefix}fc_{kind} ORDER BY id"
COUNT = "SELECT count(*) FROM {prefix}fc_subscribers"
CONTACTS = "SELECT * FROM {prefix}fc_subscribers WHERE id > %s ORDER BY id LIMIT %s"
PIVOTS = """
SELECT subscriber_id, object_id, object_type, created_at FROM {prefix}fc_subscriber_pivot
WHERE subscriber_id IN %s AND object_type IN %s ORDER BY id
"""
VALUES = """
SELECT subscriber_id, `key`, LEFT(`value`, %s) AS `value`, updated_at
FROM {prefix}fc_subscriber_meta
WHERE subscriber_id IN %s AND object_type = 'custom_field' ORDER BY id
"""
# Without the notes of companies and of the system, which the model hides:
# app/Models/SubscriberNote.php, boot.
NOTES = """
SELECT subscriber_id, type, title, LEFT(description, %s) AS description, created_at, updated_at
FROM {prefix}fc_subscriber_notes
WHERE subscriber_id IN %s AND COALESCE(status, '') NOT IN ('_company_note_', '_system_log_')
ORDER BY id
"""
EVENTS = """
SELECT id, subscriber_id, counter, provider, event_key, title, `value`, created_at, updated_at
FROM {prefix}fc_event_tracking WHERE subscriber_id = %s AND id > %s ORDER BY id LIMIT %s
"""
WITH_EVENTS = """
SELECT DISTINCT subscriber_id FROM {prefix}fc_event_tracking
WHERE subscriber_id IN %s ORDER BY subscriber_id
"""
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


class MysqlSource:
    """A FluentCRM in a database, read in one snapshot."""

    def __init__(self, connection: Any, prefix: str, host: str) -> None:
        """Begin the snapshot, and look whether the tables are there.

        Args:
            connection: of PyMySQL, with dictionaries as rows and dates as text.
            prefix: of WordPress's tables.
            host: names the source, if the site's URL is unknown.

        Raises:
            JobError: the tables are missing.
        """
        self._connection = connection
        self._prefix = prefix
        self.remarks: list[str] = []
        self._rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._rows(SNAPSHOT)
        tables = {name for row in self._rows(TABLES) for name in row.values()}
        missing = [name for name in NEEDED if prefix + name not in tables]
        if missing:
            others = {name.removesuffix(NEEDED[0]) for name in tables if name.endswith(NEEDED[0])}
            hint = f" There are tables with the prefix {', '.join(sorted(others))}."
            raise JobError(
                f"The database has no table {prefix}{missing[0]}.{hint if others else ''}"
            )
        self._absent = {name for name in OPTIONAL if prefix + name not in tables}
        for name in sorted(self._absent):
            self.remarks.append(f"The source has no table {prefix}{name}, so no {OPTIONAL[name]}.")
        rows = self._rows(OPTIONS) if f"{prefix}options" in tables else []
        options = {row["option_name"]: row["option_value"] for row in rows}
        if not rows:
            self.remarks.append("The source has no options, so its times are read as UTC.")
        self._zone: tzinfo = convert.zone_of(
            options.get("timezone_string"), options.get("gmt_offset")
        )
        self.name = urlsplit(options.get("home") or "").netloc or host

    def fields(self) -> list[Any]:
        """Return the definitions of custom fields."""
        rows = self._rows(FIELDS)
        found = maybe_unserialize(rows[0]["value"] or "") if rows else []
        if isinstance(found, dict):
            found = [*found.values()]
        if not isinstance(found, list):
            self.remarks.append("The definitions of custom fields at the source cannot be read.")
            return []
        return found

    def labels(self, kind: LabelKind) -> list[SourceLabel]:
        """Return all tags or lists."""
        return [convert.label(row, self._zone) for row in self._rows(LABELS, kind=kind)]

    def batches(self, after: int, place: int) -> Iterator[Batch]:
        """Yield the contacts behind an id."""
        total = self._rows(COUNT)[0]["count(*)"]
        while rows := self._rows(CONTACTS, [after, PER_PAGE]):
            ids = [row["id"] for row in rows]
            contacts = self._contacts(rows, ids)
            after = ids[-1]
            yield Batch(contacts, partial(self._events, ids), place, total)

    def _contacts(self, rows: Sequence[Mapping[str, Any]], ids: list[int]) -> list[SourceContact]:
        values: dict[int, dict[str, Any]] = {each: {} for each in ids}
        notes: dict[int, list[dict[str, Any]]] = {each: [] for each in ids}
        changed: dict[int, list[Any]] = {each: [] for each in ids}
        labels: dict[int, dict[LabelKind, list[Attached]]] = {
            each: {kind: [] for kind in LABEL_MODELS} for each in ids
        }
        kinds = {name: kind for kind, name in CLASSES.items()}
        for row in self._rows(PIVOTS, [ids, [*kinds]]):
            attached = Attached(
                str(row["object_id"]), convert.moment(row["created_at"], self._zone)
            )
            labels[row["subscriber_id"]][kinds[row["object_type"]]].append(attached)
        for row in self._optional("fc_subscriber_meta", VALUES, [MAX_TEXT, ids]):
            value = maybe_unserialize(row["value"] or "")
            # A damaged value stays a text. PHP's null and false are none.
            is_none = value is None or value is False
            values[row["subscriber_id"]][row["key"]] = "" if is_none else value
            changed[row["subscriber_id"]].append(convert.moment(row["updated_at"], self._zone))
        for row in self._optional("fc_subscriber_notes", NOTES, [MAX_TEXT, ids]):
            notes[row["subscriber_id"]].append(convert.note(row, self._zone))
        return [
            convert.contact(row, self._zone, values[each], labels[each], notes[each], changed[each])
            for each, row in zip(ids, rows, strict=True)
        ]

    def _events(self, ids: list[int]) -> Iterator[EventRow]:
        for found in self._optional("fc_event_tracking", WITH_EVENTS, [ids]):
            contact_id, after = found["subscriber_id"], 0
            while rows := self._rows(EVENTS, [contact_id, after, EVENTS_PER_PAGE]):
                after = rows[-1]["id"]
                for row in rows:
                    yield convert.event(row, contact_id, self._zone)

    def _optional(self, table: str, statement: str, parameters: Sequence[Any]) -> Any:
        return [] if table in self._absent else self._rows(statement, parameters)

    def _rows(
        self, statement: str, parameters: Sequence[Any] = (), kind: str = ""
    ) -> list[dict[str, Any]]:
        from pymysql import MySQLError

        # The prefix was checked to be a name, and is no parameter because it is part of names.
        text = statement.replace("{prefix}", self._prefix).replace("{kind}", kind)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(text, parameters)
                return list(cursor.fetchall())
        except MySQLError as error:
            raise JobError(f"The database of the source has failed: {_message(error)}") from None


def _message(error: Exception) -> str:
    return str(error.args[-1] if error.args else error)[:300]


@contextmanager
def open_mysql(
    parameters: Mapping[str, Any], password: str, _check: Callable[[], object]
) -> Iterator[MysqlSource]:
    """Open a FluentCRM by a URL such as mysql://user@host/database.

    Raises:
        JobError: PyMySQL is not installed, or the database cannot be reached.
    """
    try:
        import pymysql
    except ImportError:
        raise JobError("PyMySQL is missing: pip install '.[mysql]'") from None
    url, prefix = split_url(parameters["url"]), parameters["prefix"]
    if not PREFIX.fullmatch(prefix):
        raise JobError(f'"{prefix}" is no prefix of tables.')
    database = unquote(url.path.strip("/"))
    if not url.hostname or not url.username or not database or url.password:
        raise JobError("The URL has to be mysql://USER@HOST/DATABASE, without a password.")
    try:
        connection = pymysql.connect(
            host=url.hostname,
            port=url.port or 3306,
            user=unquote(url.username),
            password=password,
            database=database,
            charset="utf8mb4",
            connect_timeout=10,
            read_timeout=600,
            cursorclass=pymysql.cursors.DictCursor,
            # Zero dates are no dates in Python.
            conv=_conversions(pymysql),
        )
    except (pymysql.MySQLError, RuntimeError, ValueError, OSError) as error:
        raise JobError(f"The database of the source cannot be opened: {_message(error)}") from None
    try:
        yield MysqlSource(connection, prefix, url.hostname)
    finally:
        connection.close()


def _conversions(pymysql: Any) -> dict[Any, Any]:
    """Return PyMySQL's conversions without those of dates and decimals, which stay texts."""
    names = ("TIMESTAMP", "DATETIME", "DATE", "DECIMAL", "NEWDECIMAL")
    texts = {getattr(pymysql.FIELD_TYPE, name) for name in names}
    found = pymysql.converters.conversions.items()
    return {kind: to_value for kind, to_value in found if kind not in texts}
