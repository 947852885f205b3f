"""Request fields read as FluentCRM reads them: a table of readers, all mistakes told at once."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import email_validator
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from config.api.errors import FieldErrors, InvalidFields

Validator = Callable[[Any], Any]

# Shops are tried out with contacts at shop.local and shop.test, and FluentCRM takes them.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

MAX_ID = 2**63 - 1
MAX_DIGITS = 19
# The white space that PHP's trim() and WordPress's sanitize_text_field() know.
WHITESPACE = " \t\n\r\v\f"
WHITESPACE_RUN = re.compile(f"[{WHITESPACE}]+")
MAX_EXACT_FLOAT = 2**53
DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", re.ASCII)
MAX_ITEMS = 1000
MESSAGES = {
    "required": "The {field} field is required.",
    "string": "The {field} must be a string.",
    "numeric": "The {field} must be a number.",
    "email": "The {field} must be a valid email address.",
    "max": "The {field} may not be greater than {limit} characters.",
    "date": "The {field} is not a valid date.",
    "boolean": "The {field} must be true or false.",
    "array": "The {field} must be an array.",
    "object": "The {field} must be an object.",
    "url": "The {field} format is invalid.",
    "json": "The {field} must be JSON.",
    "depth": "The {field} may not be nested deeper than 10 levels.",
}
TOO_MANY_ITEMS = "The {field} may not have more than 1000 items."
NUL_MESSAGE = "The {field} must not contain a NUL character."


class InvalidValue(Exception):
    """A value breaks a rule; `read_fields` names the field."""

    def __init__(self, rule: str, text: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.text = text or MESSAGES[rule]


def validate(
    readers: Mapping[str, Validator], data: Mapping[str, Any], required: Iterable[str] = ()
) -> dict[str, Any]:
    """The fields of `data` that `readers` name, each as its reader gives it.

    Raises InvalidFields (422) with the first mistake of every field; a `required` field that is
    missing, null, blank or an empty list is one.
    """
    values: dict[str, Any] = {}
    errors: FieldErrors = {}
    for field in required:
        if is_empty(data.get(field)):
            errors[field] = {"required": MESSAGES["required"].format(field=field)}
    for field, reader in readers.items():
        if field in data and field not in errors:
            try:
                values[field] = reader(data[field])
            except InvalidValue as wrong:
                errors[field] = {wrong.rule: wrong.text.format(field=field)}
    if errors:
        raise InvalidFields(errors)
    return values


def is_empty(value: Any) -> bool:
    """What FluentCRM's rule `required` refuses; False is PHP's empty string."""
    if isinstance(value, str):
        return not value.strip(WHITESPACE)
    return value is None or value is False or value in ([], {})


def to_text(value: Any) -> str:
    """A JSON scalar as PHP prints it: true is "1", false and null are "". Raises Wrong."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidValue("string", NUL_MESSAGE)
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < MAX_EXACT_FLOAT
        return str(int(value)) if whole else repr(value)
    raise InvalidValue("string")


def single_line(longest: int) -> Callable[[Any], str]:
    """A reader of one line: white space folded to single blanks, cut as FluentCRM cuts."""

    def read(value: Any) -> str:
        folded = WHITESPACE_RUN.sub(" ", to_text(value)).strip(" ")
        return folded if len(folded) <= longest else folded[:longest].rstrip(" ")

    return read


def nullable_line(longest: int) -> Callable[[Any], str | None]:
    """As `line`; null stays null."""
    read = single_line(longest)
    return lambda value: None if value is None else read(value)


def multi_line(value: Any) -> str:
    """A reader of text that keeps its lines. Raises Wrong."""
    return to_text(value).strip(WHITESPACE)


def to_bigint(value: Any) -> int:
    """A whole number of at most 63 bits, as a number or in digits. Raises Wrong."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise InvalidValue("numeric")
    return value


def to_rounded_bigint(value: Any) -> int:
    """A number from 0 in any writing, rounded as a column of whole numbers does. Raises Wrong."""
    if value in (None, ""):
        return 0
    try:
        number = Decimal(to_text(value))
    except InvalidOperation:
        raise InvalidValue("numeric") from None
    # Looked at before it is written out: 1e9999999 is short, and its digits take minutes.
    if not number.is_finite() or number.adjusted() >= MAX_DIGITS:
        raise InvalidValue("numeric")
    return to_bigint(int(number.to_integral_value(ROUND_HALF_UP)))


def clamp_id(digits: str) -> int:
    """The id in a path; one too large for the database becomes the largest, which nothing has."""
    return min(int(digits), MAX_ID)


def is_valid_id(text: str) -> bool:
    """Whether a text is an id in digits that the database has room for."""
    return text.isascii() and text.isdigit() and len(text) < 19


def optional_id(value: Any) -> int:
    """As `whole_number`, where PHP's empty() values name nobody: 0. Raises Wrong."""
    return 0 if value is None or value is False or value == "" else to_bigint(value)


def to_coordinate(value: Any) -> Decimal | None:
    """Degrees, to eight decimals. Raises Wrong."""
    if value in (None, ""):
        return None
    try:
        degrees = Decimal(to_text(value)).quantize(Decimal("0.00000001"))
    except InvalidOperation:
        raise InvalidValue("numeric") from None
    if not degrees.is_finite() or not -180 <= degrees <= 180:
        raise InvalidValue("numeric")
    return degrees


def to_email(value: Any) -> str:
    """An e-mail address as sent, without the white space around it. Raises Wrong."""
    if isinstance(value, list | dict):
        raise InvalidValue("email")
    address = to_text(value).strip(WHITESPACE)
    try:
        email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError:
        raise InvalidValue("email") from None
    return address


def to_date(value: Any) -> date | None:
    """A date, `YYYY-MM-DD`, a time after it passed over; null and "" are none. Raises Wrong."""
    if is_empty(value):
        return None
    try:
        found = parse_date(re.split("[T ]", to_text(value).strip(WHITESPACE))[0])
    except ValueError:
        found = None
    if found is None:
        raise InvalidValue("date")
    return found


def to_datetime(value: Any) -> datetime | None:
    """A time: FluentCRM's `YYYY-MM-DD HH:MM:SS` in TIME_ZONE, or ISO 8601. Raises Wrong."""
    if is_empty(value):
        return None
    try:
        found = parse_datetime(to_text(value).strip(WHITESPACE))
        if found is not None and timezone.is_naive(found):
            found = timezone.make_aware(found)
        # Year 1 and year 9999 overflow in some zone.
        if found is not None and not 1 < found.year < 9999:
            found = None
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise InvalidValue("date")
    return found


def to_strict_datetime(value: Any) -> datetime | None:
    """As `moment`, but written out to the minute at least, and no number. Raises Wrong."""
    if isinstance(value, datetime):
        return timezone.make_aware(value) if timezone.is_naive(value) else value
    if value is None or (isinstance(value, str) and not value.strip(WHITESPACE)):
        return None
    if not isinstance(value, str) or not DATE_AND_TIME.match(value.strip(WHITESPACE)):
        raise InvalidValue("date")
    return to_datetime(value)


def to_ids(value: Any) -> list[int]:
    """Up to 1,000 ids as a list, or one alone; PHP's empty ones are passed over. Raises Wrong."""
    return [number for item in to_list(value) if (number := optional_id(item))]


def to_list(value: Any) -> list[Any]:
    """A list of up to 1,000, or one value alone; null and "" are the empty list. Raises Wrong."""
    if isinstance(value, dict):
        raise InvalidValue("array")
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise InvalidValue("max", TOO_MANY_ITEMS)
        return value
    return [] if value is None or value == "" else [value]


def to_url(longest: int) -> Callable[[Any], str | None]:
    """A reader of an http(s) address or a path of ours; null and "" stay. Raises Wrong."""
    read = nullable_line(longest)

    def reader(value: Any) -> str | None:
        address = read(value)
        if address and not address.startswith(("http://", "https://", "/")):
            raise InvalidValue("url")
        return address

    return reader


def to_strings(value: Any) -> list[str]:
    """A list of lines, or one alone. Raises Wrong."""
    read = single_line(192)
    return [read(item) for item in to_list(value)]


def to_bool(value: Any) -> bool:
    """PHP's truth of a value; the word "false" of a form is false as well. Raises Wrong."""
    if isinstance(value, list | dict):
        raise InvalidValue("boolean")
    return value not in (None, False, 0, "", "0", "false")
