"""Convert rows of files to what crm and events validate: contacts of a batch, and events."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import tzinfo
from functools import lru_cache, partial
from typing import Any

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import INVISIBLE, InvalidValue, Validator, to_bigint
from config.api.warnings import FieldWarning, Warnings
from crm.custom_fields import Fields
from crm.models import LIST_TYPES, OPT_OUTS, FieldType, Status
from events.tracking.fields import VALIDATORS, EventFields, to_object_text
from transfers.columns import (
    CUSTOM,
    IGNORE,
    NAMES_OF_CONTACT,
    OBJECTS,
    TARGETS_BY_NAME,
    ColumnTargets,
    json_object,
    squash,
)
from transfers.options import ContactOptions, Options
from transfers.tables import RowError
from transfers.values import (
    EMPTY_STATUS,
    EXCEL_ERRORS,
    DateOrder,
    is_opt_out,
    is_rounded,
    to_moment,
    to_number_text,
    to_status_word,
    to_titles,
    to_utc,
)

NUMBERS = ("latitude", "longitude", "total_points", "life_time_value")
MOMENTS = ("created_at", "last_activity")
# Texts that may look like numbers.
DIGITS = ("phone", "postal_code", "user_id")
LABELS = ("tags", "lists")
NOT_JSON = "The {field} must be a JSON object."
# Fields of an event whose texts repeat in a file, so that each is validated once.
REPEATED = ("email", "user_id", "event_key", "title", "provider", "repeatable")
MAX_REMEMBERED = 65_536
# Segment's calls. June.so exports numbers for them.
TYPES = {"0": "page", "2": "track"}
VIEWS = ("page", "screen")
EVENT_TYPES = ("track", *VIEWS)
# The properties that name what was viewed.
VIEW_NAMES = ("name", "title", "path", "url")


class NotPlain(Exception):
    """A value of a row is rare, so that the row needs a closer look."""


def errors_of_row(error: RowError) -> FieldErrors:
    """Return the errors of a row that could not be read."""
    return {"row": {error.rule: error.message}}


def contact_of(
    values: Mapping[str, Any],
    mapping: ColumnTargets,
    options: ContactOptions,
    declared: Fields,
    warnings: Warnings,
) -> dict[str, Any]:
    """Convert a row to an item of bulk-add-update, which crm validates.

    `identities` of Tallybook's own exports is a key besides.

    Args:
        values: the row, by column.
        mapping: the target of each column.
        options: how values are read.
        declared: the definitions of custom fields.
        warnings: collects what is left out.

    Raises:
        InvalidFields: a date or a number has another form than the options say.
    """
    item: dict[str, Any] = {name: [] for name in LABELS}
    custom: dict[str, Any] = {}
    others: dict[str, Any] = {}
    errors: FieldErrors = {}
    opted_out = False
    for target, value in _pairs(values, mapping, warnings):
        try:
            if target in LABELS:
                item[target] += to_titles(value, options.separator)
            elif target == "opt_out":
                opted_out = opted_out or is_opt_out(value)
            elif target == "status":
                item["status"] = to_status_word(value)
            elif target.startswith(CUSTOM):
                slug = target.removeprefix(CUSTOM)
                custom.setdefault(slug, _custom_value(value, slug, declared, options))
            elif target == "custom_values":
                others = _object(value)
            elif target in DIGITS and is_rounded(value):
                warnings.append(_left_out(target, value, "that a spreadsheet has rounded"))
            else:
                item.setdefault(target, _value(value, target, options))
        except InvalidValue as error:
            errors[target] = error.for_field(target)
    if errors:
        raise InvalidFields(errors)
    if custom or others:
        item["custom_values"] = others | custom
    if "status" not in item:
        is_mapped = "status" in mapping.values()
        item["status"] = EMPTY_STATUS if is_mapped else options.status
    if opted_out and item["status"] not in OPT_OUTS:
        item["status"] = Status.UNSUBSCRIBED
    for name, titles in (("tags", options.tags), ("lists", options.lists)):
        item[name] += [{"title": title} for title in titles]
    return item


class EventMapping:
    """The targets of the columns of a file of events, prepared once because rows are many."""

    def __init__(self, mapping: ColumnTargets, options: Options) -> None:
        """Prepare to convert rows.

        Args:
            mapping: the target of each column.
            options: how values are read.
        """
        self._targets = mapping
        # Other targets keep the value.
        self._converters: dict[str, Callable[[Any], Any]] = {
            "counter": to_bigint,
            "occurred_at": partial(_occurred_at, order=options.date_order, zone=options.tzinfo()),
        }
        if options.decimal_mark == ",":
            self._converters["value"] = _value_with_comma
        # Target -> an object, and a key in it, "" for the whole object.
        self._parts: dict[str, tuple[str, str]] = {}
        for target in mapping.values():
            name, _, key = target.partition(".")
            if name in OBJECTS:
                self._parts[target] = (name, key)
        # The columns, their fields, and what reads their cells. None if a column has a part of a
        # field, or decides about others.
        self._plain: list[tuple[str, str, Validator]] | None = None
        used = {column: target for column, target in mapping.items() if target != IGNORE}
        if {*EventFields._fields} >= {*used.values()}:
            self._plain = [
                (column, target, _plain_reader(target, self._converters.get(target)))
                for column, target in used.items()
            ]

    def plain_event(self, values: Mapping[str, Any]) -> EventFields | None:
        """Convert a row without errors, warnings and rare values, in half of the time.

        Args:
            values: the row, by column.

        Returns:
            What `parse_event` returns for `event_of`. None is any other row.
        """
        if self._plain is None:
            return None
        fields: dict[str, Any] = {}
        try:
            for column, target, read in self._plain:
                cell = values.get(column)
                if cell is not None and cell != "":
                    fields[target] = read(cell)
        except (InvalidValue, NotPlain):
            return None
        if not fields.get("event_key") or not (fields.get("email") or fields.get("user_id")):
            return None
        if fields.get("email"):
            fields.pop("user_id", None)
        fields.setdefault("title", fields["event_key"])
        return EventFields(**fields)

    def event_of(self, values: Mapping[str, Any], warnings: Warnings) -> dict[str, Any]:
        """Convert a row to the `data` of events.tracking.track, and `counter` as a whole number.

        Views of Segment's calls page and screen have these as event_key, and the page's name as
        title. Without a title, it is the event_key.

        Args:
            values: the row, by column.
            warnings: collects what is left out.

        Raises:
            InvalidFields: a value has another form than the options say, or the row is no event.
        """
        item: dict[str, Any] = {}
        objects: dict[str, dict[str, Any]] = {}
        errors: FieldErrors = {}
        for target, value in _pairs(values, self._targets, warnings):
            try:
                if target in self._converters:
                    item[target] = self._converters[target](value)
                elif target in self._parts:
                    name, key = self._parts[target]
                    known = objects.setdefault(name, {})
                    # A key with a column of its own has the value of that column.
                    known |= {key: value} if key else {**_object(value), **known}
                elif target in DIGITS and is_rounded(value):
                    warnings.append(_left_out(target, value, "that a spreadsheet has rounded"))
                else:
                    item[target] = value
            except InvalidValue as error:
                errors[target] = error.for_field(target)
        item |= {name: value for name, value in objects.items() if value}
        if "type" in item:
            kind = str(item.pop("type")).lower()
            _read_call(item, TYPES.get(kind, kind), errors)
        if errors:
            raise InvalidFields(errors)
        if name := item.pop("name", ""):
            item.setdefault("event_key", name)
        if "event_key" in item:
            item.setdefault("title", item["event_key"])
        return item


def _plain_reader(target: str, convert: Callable[[Any], Any] | None) -> Validator:
    """Return what converts and validates the cells of a column whose target is a field.

    Args:
        target: the field.
        convert: converts a cell before it is validated.

    Raises:
        InvalidValue: by what is returned, for a cell with an error or a warning.
        NotPlain: by what is returned, for a rare value.
    """
    validator = VALIDATORS[target]
    if target in OBJECTS:
        # Not `json_text_or`, because files have other words for an empty object.
        convert, validator = _object, to_object_text
    is_digits = target in DIGITS

    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            cell = cell.strip(INVISIBLE)
            if not cell or cell[0] == "#":
                raise NotPlain
        elif not cell:
            raise NotPlain
        if is_digits and is_rounded(cell):
            raise NotPlain
        return validator(convert(cell) if convert else cell)

    if target not in REPEATED:
        return read
    remembered = lru_cache(MAX_REMEMBERED)(read)
    # Of texts alone, because 1 and True are equal, and lists have no hash.
    return lambda cell: remembered(cell) if isinstance(cell, str) else read(cell)


def _read_call(item: dict[str, Any], kind: str, errors: FieldErrors) -> None:
    """Complete an item of one of Segment's calls."""
    if kind not in EVENT_TYPES:
        errors["type"] = {"in": f'A row of the type "{kind}" is no event.'}
        return
    if item.keys().isdisjoint(NAMES_OF_CONTACT):
        # Segment's calls of a person who has not logged in may know the e-mail.
        traits = item.get("context", {}).get("traits")
        email = traits.get("email") if isinstance(traits, dict) else None
        item |= {"email": email} if email else {}
    if kind in VIEWS:
        item["event_key"] = kind
        properties = item.get("properties", {})
        names = (item.pop("name", ""), *(properties.get(each) for each in VIEW_NAMES))
        item["title"] = next((each for each in names if isinstance(each, str) and each), kind)


def _pairs(
    values: Mapping[str, Any], mapping: ColumnTargets, warnings: Warnings
) -> Iterator[tuple[str, Any]]:
    """Yield the target and the value of each cell that has one, without invisible characters."""
    for column, target in mapping.items():
        if target == IGNORE:
            continue
        value = values.get(column)
        if isinstance(value, str):
            value = value.strip(INVISIBLE)
            if value.startswith("#") and value in EXCEL_ERRORS:
                warnings.append(_left_out(target, value, "of a formula without a value"))
                continue
        if value is None or value == "":
            continue
        if target == "traits":
            yield from _traits(json_object(value) or {})
        else:
            yield target, value


def _traits(traits: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a contact in Segment's traits. Others are custom values.

    See https://segment.com/docs/connections/spec/identify/#traits.
    """
    for name, value in traits.items():
        if name == "address" and isinstance(value, dict):
            yield from _traits(value)
            continue
        target, _ = TARGETS_BY_NAME["contacts"].get(squash(name), ("", 0))
        # A status among them may be that of anything.
        is_field = target not in ("", "status") and not isinstance(value, dict)
        if value is not None and value != "":
            yield (target if is_field else f"{CUSTOM}{name}"), value


def _value(value: Any, target: str, options: Options) -> Any:
    """Convert a value whose form the options say."""
    if target in NUMBERS:
        return to_number_text(value, options.decimal_mark)
    if target in MOMENTS and not _is_zero(value):
        return to_utc(to_moment(value, options.date_order, options.tzinfo())).isoformat()
    if target == "date_of_birth" and not _is_zero(value):
        return to_moment(value, options.date_order, options.tzinfo()).date().isoformat()
    return value


def _is_zero(value: Any) -> bool:
    """Return whether a value is a date of MySQL that is none, which crm reads."""
    return isinstance(value, str) and value.startswith("0000-00-00")


def _custom_value(value: Any, slug: str, declared: Fields, options: Options) -> Any:
    field = declared.get(slug)
    if field is None:
        return value
    if field.type in LIST_TYPES and isinstance(value, str) and "||" in value:
        # ActiveCampaign's separator of several choices.
        return [choice for choice in value.split("||") if choice]
    if (convert := CUSTOM_TYPES.get(FieldType(field.type))) and not _is_zero(value):
        return convert(value, options)
    return value


def _occurred_at(value: Any, order: DateOrder, zone: tzinfo) -> Any:
    return value if _is_zero(value) else to_utc(to_moment(value, order, zone))


def _value_with_comma(value: Any) -> Any:
    """Return a value with a decimal point if it is a number with a decimal comma."""
    if isinstance(value, str):
        with suppress(InvalidValue):
            return to_number_text(value, ",")
    return value


def _object(value: Any) -> dict[str, Any]:
    if value in ("null", "[]", []):
        return {}
    found = json_object(value)
    if found is None:
        raise InvalidValue("json", NOT_JSON)
    return found


def _left_out(target: str, value: Any, why: str) -> FieldWarning:
    message = f'The {target} "{value}" is a value {why}. It was left out.'
    return {"field": target, "rule": "spreadsheet", "message": message}


CUSTOM_TYPES: Mapping[FieldType, Callable[[Any, Options], str]] = {
    FieldType.NUMBER: lambda value, options: to_number_text(value, options.decimal_mark),
    FieldType.DATE: lambda value, options: (
        to_moment(value, options.date_order, options.tzinfo()).date().isoformat()
    ),
    FieldType.DATE_TIME: lambda value, options: to_utc(
        to_moment(value, options.date_order, options.tzinfo())
    ).isoformat(),
}
