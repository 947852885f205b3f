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

Reader = Callable[[Any], Any]

# Shops are tried out with contacts at shop.local and shop.test, and FluentCRM takes them.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

LARGEST_ID = 2**63 - 1
MOST_DIGITS = 19
# The white space that PHP's trim() and WordPress's sanitize_text_field() know.
BLANKS = " \t\n\r\v\f"
RUN_OF_BLANKS = re.compile(f"[{BLANKS}]+")
WHOLE_FLOAT_LIMIT = 2**53
DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", re.ASCII)
MOST_ITEMS = 1000
RULES = {
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
TOO_MANY_TEXT = "The {field} may not have more than 1000 items."
NUL_TEXT = "The {field} must not contain a NUL character."


class Wrong(Exception):
    """A value breaks a rule; `read_fields` names the field."""

    def __init__(self, rule: str, text: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.text = text or RULES[rule]


def read_fields(
    readers: Mapping[str, Reader], data: Mapping[str, Any], required: Iterable[str] = ()
) -> dict[str, Any]:
    """The fields of `data` that `readers` name, each as its reader gives it.

    Raises InvalidFields (422) with the first mistake of every field; a `required` field that is
    missing, null, blank or an empty list is one.
    """
    values: dict[str, Any] = {}
    errors: FieldErrors = {}
    for field in required:
        if is_empty(data.get(field)):
            errors[field] = {"required": RULES["required"].format(field=field)}
    for field, reader in readers.items():
        if field in data and field not in errors:
            try:
                values[field] = reader(data[field])
            except Wrong as wrong:
                errors[field] = {wrong.rule: wrong.text.format(field=field)}
    if errors:
        raise InvalidFields(errors)
    return values


def is_empty(value: Any) -> bool:
    """What FluentCRM's rule `required` refuses; False is PHP's empty string."""
    if isinstance(value, str):
        return not value.strip(BLANKS)
    return value is None or value is False or value in ([], {})


def text(value: Any) -> str:
    """A JSON scalar as PHP prints it: true is "1", false and null are "". Raises Wrong."""
    if isinstance(value, str):
        if "\0" in value:
            raise Wrong("string", NUL_TEXT)
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < WHOLE_FLOAT_LIMIT
        return str(int(value)) if whole else repr(value)
    raise Wrong("string")


def line(longest: int) -> Callable[[Any], str]:
    """A reader of one line: white space folded to single blanks, cut as FluentCRM cuts."""

    def read(value: Any) -> str:
        folded = RUN_OF_BLANKS.sub(" ", text(value)).strip(" ")
        return folded if len(folded) <= longest else folded[:longest].rstrip(" ")

    return read


def line_or_null(longest: int) -> Callable[[Any], str | None]:
    """As `line`; null stays null."""
    read = line(longest)
    return lambda value: None if value is None else read(value)


def paragraph(value: Any) -> str:
    """A reader of text that keeps its lines. Raises Wrong."""
    return text(value).strip(BLANKS)


def whole_number(value: Any) -> int:
    """A whole number of at most 63 bits, as a number or in digits. Raises Wrong."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if type(value) is not int or not 0 <= value <= LARGEST_ID:
        raise Wrong("numeric")
    return value


def rounded(value: Any) -> int:
    """A number from 0 in any writing, rounded as a column of whole numbers does. Raises Wrong."""
    if value in (None, ""):
        return 0
    try:
        number = Decimal(text(value))
    except InvalidOperation:
        raise Wrong("numeric") from None
    # Looked at before it is written out: 1e9999999 is short, and its digits take minutes.
    if not number.is_finite() or number.adjusted() >= MOST_DIGITS:
        raise Wrong("numeric")
    return whole_number(int(number.to_integral_value(ROUND_HALF_UP)))


def path_id(digits: str) -> int:
    """The id in a path; one too large for the database becomes the largest, which nothing has."""
    return min(int(digits), LARGEST_ID)


def is_row_id(text: str) -> bool:
    """Whether a text is an id in digits that the database has room for."""
    return text.isascii() and text.isdigit() and len(text) < 19


def id_or_nobody(value: Any) -> int:
    """As `whole_number`, where PHP's empty() values name nobody: 0. Raises Wrong."""
    return 0 if value is None or value is False or value == "" else whole_number(value)


def coordinate(value: Any) -> Decimal | None:
    """Degrees, to eight decimals. Raises Wrong."""
    if value in (None, ""):
        return None
    try:
        degrees = Decimal(text(value)).quantize(Decimal("0.00000001"))
    except InvalidOperation:
        raise Wrong("numeric") from None
    if not degrees.is_finite() or not -180 <= degrees <= 180:
        raise Wrong("numeric")
    return degrees


def email_address(value: Any) -> str:
    """An e-mail address as sent, without the white space around it. Raises Wrong."""
    if isinstance(value, list | dict):
        raise Wrong("email")
    address = text(value).strip(BLANKS)
    try:
        email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError:
        raise Wrong("email") from None
    return address


def day(value: Any) -> date | None:
    """A date, `YYYY-MM-DD`, a time after it passed over; null and "" are none. Raises Wrong."""
    if is_empty(value):
        return None
    try:
        found = parse_date(re.split("[T ]", text(value).strip(BLANKS))[0])
    except ValueError:
        found = None
    if found is None:
        raise Wrong("date")
    return found


def moment(value: Any) -> datetime | None:
    """A time: FluentCRM's `YYYY-MM-DD HH:MM:SS` in TIME_ZONE, or ISO 8601. Raises Wrong."""
    if is_empty(value):
        return None
    try:
        found = parse_datetime(text(value).strip(BLANKS))
        if found is not None and timezone.is_naive(found):
            found = timezone.make_aware(found)
        # Year 1 and year 9999 overflow in some zone.
        if found is not None and not 1 < found.year < 9999:
            found = None
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise Wrong("date")
    return found


def exact_moment(value: Any) -> datetime | None:
    """As `moment`, but written out to the minute at least, and no number. Raises Wrong."""
    if isinstance(value, datetime):
        return timezone.make_aware(value) if timezone.is_naive(value) else value
    if value is None or (isinstance(value, str) and not value.strip(BLANKS)):
        return None
    if not isinstance(value, str) or not DATE_AND_TIME.match(value.strip(BLANKS)):
        raise Wrong("date")
    return moment(value)


def ids(value: Any) -> list[int]:
    """Up to 1,000 ids as a list, or one alone; PHP's empty ones are passed over. Raises Wrong."""
    return [number for item in items(value) if (number := id_or_nobody(item))]


def items(value: Any) -> list[Any]:
    """A list of up to 1,000, or one value alone; null and "" are the empty list. Raises Wrong."""
    if isinstance(value, dict):
        raise Wrong("array")
    if isinstance(value, list):
        if len(value) > MOST_ITEMS:
            raise Wrong("max", TOO_MANY_TEXT)
        return value
    return [] if value is None or value == "" else [value]


def web_address(longest: int) -> Callable[[Any], str | None]:
    """A reader of an http(s) address or a path of ours; null and "" stay. Raises Wrong."""
    read = line_or_null(longest)

    def reader(value: Any) -> str | None:
        address = read(value)
        if address and not address.startswith(("http://", "https://", "/")):
            raise Wrong("url")
        return address

    return reader


def names(value: Any) -> list[str]:
    """A list of lines, or one alone. Raises Wrong."""
    read = line(192)
    return [read(item) for item in items(value)]


def switch(value: Any) -> bool:
    """PHP's truth of a value; the word "false" of a form is false as well. Raises Wrong."""
    if isinstance(value, list | dict):
        raise Wrong("boolean")
    return value not in (None, False, 0, "", "0", "false")
