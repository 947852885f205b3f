"""Waits of automations: validate them, and describe them in words.

docs/reference/automations.md has every form of a wait, automations/due.py computes when one ends.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Literal

from django.utils import timezone

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import (
    MAX_NAME_LENGTH,
    MESSAGES,
    WHITESPACE,
    InvalidValue,
    Validator,
    php_list,
    to_strict_bool,
    to_strict_datetime,
    to_text,
)

MIN_WAIT = timedelta(minutes=1)
# Ten years.
MAX_DAYS = 3650
MAX_WAIT = timedelta(days=MAX_DAYS)
ZONES = ("store", "contact")
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# As they are sent, in the order of date.weekday().
WEEKDAYS = tuple(name[:3].lower() for name in DAY_NAMES)
# The columns of a contact that have a date.
DATE_COLUMNS = ("date_of_birth", "created_at", "last_activity", "updated_at")
CUSTOM_PREFIX = "custom_values."
# The fields that decide what a wait is, the first that is sent, and the fields that may be beside.
KINDS: Mapping[str, tuple[str, ...]] = {
    "field": ("days", "at", "yearly"),
    "until": (),
    "minutes": ("hours", "weekdays", "between"),
    "hours": ("weekdays", "between"),
    "days": ("at",),
    "weekdays": ("at",),
}
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
WALL_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", re.ASCII)
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A validated wait. A field that was not sent has its default.

    `until` is a wall time. `field` is a column of the contact, or `custom_values.` and a key.
    `weekdays` are numbers as in date.weekday(), and empty means every day.
    """

    span: timedelta = timedelta()
    days: int = 0
    weekdays: frozenset[int] = frozenset()
    at: time | None = None
    between: tuple[time, time] | None = None
    until: datetime | None = None
    field: str = ""
    yearly: bool = False
    zone: Literal["store", "contact"] = "store"


def whole_number(minimum: int, maximum: int) -> Validator:
    """Return a validator of a whole number within bounds, also as text.

    Raises:
        InvalidValue: by the returned validator, for anything else, also 1.0 and true.
    """

    def to_number(value: Any) -> int:
        if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value.strip(WHITESPACE)):
            value = int(value)
        if type(value) is not int or not minimum <= value <= maximum:
            message = f"The {{field}} must be a whole number from {minimum} to {maximum}."
            raise InvalidValue("between", message)
        return value

    return to_number


def one_of(*choices: str) -> Validator:
    """Return a validator of one of some words.

    Raises:
        InvalidValue: by the returned validator, for anything else.
    """

    def to_choice(value: Any) -> str:
        if value not in choices:
            raise InvalidValue("in", f"The {{field}} must be one of: {', '.join(choices)}.")
        return str(value)

    return to_choice


def to_time(value: Any) -> time:
    """Convert a time of day such as 09:00.

    Raises:
        InvalidValue: anything else.
    """
    text = value.strip(WHITESPACE) if isinstance(value, str) else ""
    if not TIME.fullmatch(text):
        raise InvalidValue("time", "The {field} must be a time from 00:00 to 23:59, such as 09:00.")
    return time.fromisoformat(text)


def to_times(value: Any) -> tuple[time, time]:
    """Convert a list of two times of day, the earlier one first.

    Raises:
        InvalidValue: anything else.
    """
    value = php_list(value)
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidValue("array", 'The {field} must be two times, such as ["09:00", "17:00"].')
    first, last = map(to_time, value)
    if first >= last:
        raise InvalidValue("between", "The {field} must have the earlier time first.")
    return first, last


def to_weekdays(value: Any) -> frozenset[int]:
    """Convert a list of weekdays such as `mon`, in any case, to numbers as in date.weekday().

    Raises:
        InvalidValue: anything else, also an empty list, which could mean every day or none.
    """
    value = php_list(value)
    names = {str(name).lower() for name in value} if isinstance(value, list) else set()
    if not names or not names.issubset(WEEKDAYS):
        message = f"The {{field}} must be a list of weekdays: {', '.join(WEEKDAYS)}."
        raise InvalidValue("in", message)
    return frozenset(map(WEEKDAYS.index, names))


def to_wall_time(value: Any) -> datetime:
    """Convert a wall time such as 2026-12-24T09:00, which the wait's time zone has.

    Raises:
        InvalidValue: no datetime, one with an offset, or one over ten years ahead.
    """
    text = value.strip(WHITESPACE) if isinstance(value, str) else ""
    message = f"{MESSAGES['date']} Send a datetime without an offset, such as 2026-12-24T09:00."
    if not WALL_TIME.fullmatch(text):
        raise InvalidValue("date", message)
    parsed = to_strict_datetime(text, message)
    assert parsed
    if parsed > timezone.now() + MAX_WAIT:
        raise InvalidValue("max", "The {field} may not be more than ten years ahead.")
    return parsed.replace(tzinfo=None)


def to_date_field(value: Any) -> str:
    """Convert the name of a date of the contact. A custom field need not exist.

    Raises:
        InvalidValue: another name.
    """
    name = to_text(value).strip(WHITESPACE)
    key = name.removeprefix(CUSTOM_PREFIX)
    if name not in DATE_COLUMNS and (key in ("", name) or len(key) > MAX_NAME_LENGTH):
        names = ", ".join(DATE_COLUMNS)
        message = f"The {{field}} must be one of: {names}, or as custom_values.renewal is."
        raise InvalidValue("in", message)
    return name


VALIDATORS: Mapping[str, Validator] = {
    "minutes": whole_number(0, MAX_DAYS * 24 * 60),
    "hours": whole_number(0, MAX_DAYS * 24),
    "days": whole_number(1, MAX_DAYS),
    "weekdays": to_weekdays,
    "at": to_time,
    "between": to_times,
    "until": to_wall_time,
    "field": to_date_field,
    "yearly": to_strict_bool,
    "zone": one_of(*ZONES),
}
# Days before or after the date of a field.
VALIDATORS_BESIDE_FIELD = {**VALIDATORS, "days": whole_number(-MAX_DAYS, MAX_DAYS)}


def parse_wait(data: object, path: str = "wait") -> Wait:
    """Validate a wait. Fields that are null or "" count as missing.

    Args:
        data: the wait as sent.
        path: what errors call the wait, such as `steps.2.wait`.

    Raises:
        InvalidFields: 422 with every error by its path, such as `steps.2.wait.at`.
    """
    if not isinstance(data, dict):
        raise InvalidFields({path: {"object": MESSAGES["object"].format(field=path)}})
    sent = {name: value for name, value in data.items() if value is not None and value != ""}
    kind = next((name for name in KINDS if name in sent), "")
    errors: FieldErrors = {}
    if not kind:
        message = f"The {path} must have one of: {', '.join(KINDS)}."
        errors[path] = {"required": message}
    if kind == "weekdays" and "at" not in sent:
        errors[f"{path}.at"] = {"required": MESSAGES["required"].format(field=f"{path}.at")}
    validators = VALIDATORS_BESIDE_FIELD if kind == "field" else VALIDATORS
    values: dict[str, Any] = {}
    for name, value in sent.items():
        place = f"{path}.{name}"
        if name not in validators:
            message = f"The {place} is unknown. A wait has: {', '.join(VALIDATORS)}."
            errors[place] = {"unknown": message}
        elif kind and name not in (kind, "zone", *KINDS[kind]):
            errors[place] = {"unknown": f"The {place} has no meaning beside {kind}."}
        else:
            try:
                values[name] = validators[name](value)
            except InvalidValue as error:
                errors[place] = error.for_field(place)
    span = timedelta(minutes=values.pop("minutes", 0), hours=values.pop("hours", 0))
    if kind in ("minutes", "hours") and not errors and not MIN_WAIT <= span <= MAX_WAIT:
        message = f"The {path} must be from a minute to ten years."
        errors[f"{path}.{kind}"] = {"between": message}
    if errors:
        raise InvalidFields(errors)
    return Wait(span=span, **values)


def describe_wait(wait: Wait) -> str:
    """Return a wait as part of a sentence, such as "2 days, until 09:00 in the store's time zone".

    It is plain text, in which a key of a custom field may have any characters.
    """
    at = f" at {wait.at:%H:%M}" if wait.at else ""
    if wait.field:
        text = f"until {_describe_date(wait)}{at}"
    elif wait.until:
        text = f"until {wait.until.isoformat(' ').removesuffix(':00')}"
    elif wait.days:
        time_of_day = f"{wait.at:%H:%M}" if wait.at else "the same time"
        text = f"{_counted(wait.days, 'day')}, until {time_of_day}"
    elif not wait.span:
        text = f"until the next {_describe_weekdays(wait)}{at}"
    elif wait.weekdays or wait.between:
        between = " between {:%H:%M} and {:%H:%M}".format(*wait.between) if wait.between else ""
        on = f" on {_describe_weekdays(wait)}" if wait.weekdays else ""
        text = f"at least {_describe_span(wait)}, until a time{between}{on}"
    else:
        return _describe_span(wait)
    return f"{text} in the {wait.zone}'s time zone"


def _describe_date(wait: Wait) -> str:
    key = wait.field.removeprefix(CUSTOM_PREFIX)
    name = key.replace("_", " ") if key == wait.field else f"the custom field {key}"
    if wait.yearly:
        name = f"the next anniversary of {name}"
    if not wait.days:
        return name
    return f"{_counted(abs(wait.days), 'day')} {'before' if wait.days < 0 else 'after'} {name}"


def _describe_span(wait: Wait) -> str:
    hours, minutes = divmod(wait.span // MIN_WAIT, 60)
    parts = [(hours, "hour"), (minutes, "minute")]
    return " and ".join(_counted(number, noun) for number, noun in parts if number)


def _describe_weekdays(wait: Wait) -> str:
    *others, last = (DAY_NAMES[number] for number in sorted(wait.weekdays))
    return f"{', '.join(others)} or {last}" if others else last


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
