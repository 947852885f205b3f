"""Convert rows of files to events of the past: occurrences, or counters without them."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import InvalidValue, is_valid_id, to_strict_datetime
from config.api.warnings import Warnings
from events.tracking.fields import parse_event
from events.tracking.imported_counts import ImportedCount
from events.tracking.imports import PastEvent
from events.tracking.row_keys import RowKeys
from transfers.conversion import EventMapping, errors_of_row
from transfers.tables import Row

# The fields of a line of Tallybook's own exports that are those of a tracked event.
OWN_FIELDS = ("email", "event_key", "title", "value", "provider", "repeatable")
OWN_OBJECTS = ("properties", "context")
COUNTER_OF_EVENT = {
    "counter": {
        "in": "A row with properties or a context is one event, so its counter has to be 1."
    }
}


class EventRow(NamedTuple):
    """A row of a file.

    Attributes:
        row: as it was read.
        event: what is imported, None if it is rejected.
        errors: why it is rejected, by field.
        warnings: what is left out.
    """

    row: Row
    event: PastEvent | ImportedCount | None
    errors: FieldErrors
    warnings: Warnings


def read_event(row: Row, mapping: EventMapping, keys: RowKeys) -> EventRow:
    """Convert a row of a table.

    Args:
        row: the row.
        mapping: the targets of the columns.
        keys: the keys of the file's rows until now.
    """
    if row.error:
        return EventRow(row, None, errors_of_row(row.error), [])
    number = row.ordinal - 1
    if plain := mapping.plain_event(row.values):
        return EventRow(row, PastEvent(plain, *keys.keyed(plain, number)), {}, [])
    warnings: Warnings = []
    try:
        data = mapping.event_of(row.values, warnings)
        counter = data.pop("counter", None)
        # What is counted has no properties, because it is no single event.
        is_counted = counter is not None and data.keys().isdisjoint(OWN_OBJECTS)
        if not is_counted and counter not in (None, 1):
            raise InvalidFields(COUNTER_OF_EVENT)
        fields = parse_event(data, warnings=warnings)
    except InvalidFields as error:
        return EventRow(row, None, error.detail, warnings)
    if is_counted:
        counted = ImportedCount(keys.counted(fields, number), fields, counter)
        return EventRow(row, counted, {}, warnings)
    return EventRow(row, PastEvent(fields, *keys.keyed(fields, number)), {}, warnings)


def read_own_line(row: Row) -> EventRow:
    """Convert a line of an export of Tallybook: docs/reference/exports.md.

    The line of an event says how often it happened. Lines of occurrences tell of some of that.
    """
    if row.error:
        return EventRow(row, None, errors_of_row(row.error), [])
    try:
        return EventRow(row, _own_event(row.values), {}, [])
    except InvalidFields as error:
        return EventRow(row, None, error.detail, [])
    except InvalidValue as error:
        return EventRow(row, None, {"time": error.for_field("time")}, [])


def _own_event(line: Mapping[str, Any]) -> PastEvent | ImportedCount:
    kind, line_id = line.get("type"), line.get("id")
    if kind not in ("event", "occurrence") or not is_valid_id(str(line_id)):
        raise InvalidFields({"type": {"in": "The line is no event and no occurrence."}})
    data = {name: line.get(name) for name in OWN_FIELDS}
    if kind == "event":
        times = [to_strict_datetime(line.get(name)) for name in ("created_at", "updated_at")]
        return ImportedCount(
            _event_of(line, "id"), parse_event(data), _number(line, "counter"), *times
        )
    data |= {name: line.get(name) for name in (*OWN_OBJECTS, "occurred_at")}
    fields = parse_event(data)
    key = f"occurrence-{line_id}"
    content = sha256(key.encode()).digest()
    received_at = to_strict_datetime(line.get("received_at"))
    counter, event = _number(line, "counter"), _event_of(line, "event_id")
    return PastEvent(fields, key, content, counter, received_at, event)


def _event_of(line: Mapping[str, Any], name: str) -> str:
    """Return what names an event of the source."""
    return f"event-{_number(line, name)}"


def _number(line: Mapping[str, Any], name: str) -> int:
    value = line.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise InvalidFields({name: {"numeric": f"The {name} must be a whole number."}})
    return value
