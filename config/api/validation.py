"""Validate request fields as FluentCRM does: a table of validators, all errors at once.

DRF's serializer fields are not used for input, because FluentCRM's rule names, its conversions and
the speed of tracking ask for another way: docs/decisions/validators-for-input.md.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import email_validator
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rest_framework import serializers

from config.api.errors import FieldErrors, InvalidFields
from config.api.warnings import Warnings

# Takes a value of a request, returns it converted, raises InvalidValue.
Validator = Callable[[Any], Any]

# Shops are tried out with contacts at shop.local and shop.test, and FluentCRM accepts them.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

MAX_ID = 2**63 - 1
MAX_DIGITS = 19
# The length of FluentCRM's VARCHAR columns; MAX_NAME_LENGTH is that of titles, slugs and keys.
MAX_NAME_LENGTH = 192
MAX_ITEMS = 1000
# Whole floats below it are exact, and PHP prints them without a fraction.
MAX_EXACT_FLOAT = 2**53
# The white space that PHP's trim() and WordPress's sanitize_text_field() know.
WHITESPACE = " \t\n\r\v\f"
# What programs that are not PHP leave around an e-mail: no-break spaces, byte order marks, marks of
# direction and of no width. str.strip() knows the spaces among them.
INVISIBLE = (
    f"{WHITESPACE}\x1c\x1d\x1e\x1f\x85\xa0\xad\u061c\u1680\u180e\u2000\u2001\u2002\u2003\u2004"
    "\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b"
    "\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u3000"
    "\ufeff"
)
# What WordPress's is_email() accepts (wp-includes/formatting.php), also a..b@docomo.ne.jp.
EMAIL = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@((?!-)[A-Za-z0-9-]+(?<!-)\.)+(?!-)[A-Za-z0-9-]+(?<!-)"
)
MIN_EMAIL_LENGTH, MAX_EMAIL_LENGTH = 6, 254
WHITESPACE_RUN = re.compile(f"[{WHITESPACE}]+")
# Python reads other forms too, such as the first digits of a Unix time in milliseconds.
DATE = re.compile(r"\d{4}-\d\d-\d\d(?:$|[T ]\d\d:\d\d)", re.ASCII)
DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", re.ASCII)
# The words of PHP's FILTER_VALIDATE_BOOLEAN, in any case.
TRUE_WORDS = ("1", "true", "on", "yes")
FALSE_WORDS = ("0", "false", "off", "no")
# MySQL's null, as FluentCRM shows it.
ZERO_DATE = re.compile(r"0000-00-00([T ]00:00(:00(\.0+)?)?(Z|[+-]00:?00)?)?")
AGE = re.compile(r"([0-9]{1,5})([hdw])")
DAYS_PER_UNIT = {"h": 1 / 24, "d": 1, "w": 7}
# What programs write in place of an id that they do not have.
NO_IDS = ("null", "none", "nil", "nan", "undefined", "[object object]")
# FluentCRM's rule -> message
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
DATE_FORMS = f"{MESSAGES['date']} Send YYYY-MM-DD."
DATETIME_FORMS = (
    f"{MESSAGES['date']} Send YYYY-MM-DD HH:MM:SS, or ISO 8601 such as 2026-01-31T09:30:00+01:00."
)
DATE_OR_DATETIME_FORMS = DATETIME_FORMS.replace("Send", "Send YYYY-MM-DD,")
TOO_MANY_ITEMS = "The {field} may not have more than 1000 items."
NUL_MESSAGE = "The {field} must not contain a NUL character."
HALF_CHARACTER_MESSAGE = "The {field} must not contain half a character (a lone surrogate)."
SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidValue(serializers.ValidationError):
    """A value breaks a rule. `validate` adds the name of the field.

    It is DRF's ValidationError: the rule is its code, the message its detail.
    """

    def __init__(self, rule: str, message: str | None = None) -> None:
        super().__init__(message or MESSAGES[rule], code=rule)
        self.rule = rule
        self.message = message or MESSAGES[rule]

    def for_field(self, field: str) -> dict[str, str]:
        """Return rule and message for a field, as FluentCRM's validator answers."""
        return {self.rule: self.message.format(field=field)}


class InvalidPart(InvalidValue):
    """A value breaks a rule, and the request can be done without the value, or with a part of it.

    `validate` reports a warning where it collects them, and an error otherwise.
    """

    def __init__(self, rule: str, message: str | None = None, kept: Any = None) -> None:
        super().__init__(rule, message)
        self.kept = kept


def validate(
    validators: Mapping[str, Validator],
    data: Mapping[str, Any],
    required: Iterable[str] = (),
    warnings: Warnings | None = None,
) -> dict[str, Any]:
    """Validate the fields of a request that have a validator, and ignore the others.

    Args:
        validators: a validator for each field that is read.
        data: the request's fields; a field that is missing is missing in the result.
        required: fields that must not be missing, null, blank, false or an empty list.
        warnings: collects the values that are invalid in part. Of such a value the result has the
            valid part, or nothing. Without the list the value is an error.

    Returns:
        The converted values by field.

    Raises:
        InvalidFields: 422 with the first error of every invalid field.
    """
    values: dict[str, Any] = {}
    errors: FieldErrors = {}
    for field in required:
        if is_empty(data.get(field)):
            errors[field] = {"required": MESSAGES["required"].format(field=field)}
    for field, validator in validators.items():
        if field in data and field not in errors:
            try:
                values[field] = validator(data[field])
            except InvalidValue as error:
                if warnings is None or not isinstance(error, InvalidPart):
                    errors[field] = error.for_field(field)
                    continue
                message = error.message.format(field=field)
                warnings.append({"field": field, "rule": error.rule, "message": message})
                if error.kept is not None:
                    values[field] = error.kept
    if errors:
        raise InvalidFields(errors)
    return values


def is_empty(value: Any) -> bool:
    """Return whether FluentCRM's rule `required` rejects a value; false is PHP's empty string."""
    if isinstance(value, str):
        return not value.strip(WHITESPACE)
    return value is None or value is False or value in ([], {})


def to_text(value: Any) -> str:
    """Convert a JSON scalar to text as PHP prints it: true is "1", false and null are "".

    Raises:
        InvalidValue: a list, an object, a NUL character or half a character, which PostgreSQL
            cannot store, or from Python NaN or infinity.
    """
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidValue("string", NUL_MESSAGE)
        # isascii() costs nothing, and most texts are.
        if not value.isascii() and SURROGATE.search(value):
            raise InvalidValue("string", HALF_CHARACTER_MESSAGE)
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        check_number(value)
        is_whole = value.is_integer() and abs(value) < MAX_EXACT_FLOAT
        return str(int(value)) if is_whole else repr(value)
    raise InvalidValue("string")


def check_number(number: float) -> None:
    """Check that JSON has a number.

    Raises:
        InvalidValue: NaN or infinity, which only Python can send.
    """
    if not math.isfinite(number):
        raise InvalidValue("numeric", "The {field} must not contain NaN or infinity.")


def single_line(max_length: int) -> Callable[[Any], str]:
    r"""Return a validator of one line that folds whitespace and cuts at `max_length` characters.

    `single_line(9)(" Order \n placed ")` is `"Order pla"`. FluentCRM cuts as well.
    """
    return lambda value: _cut(_folded(value), max_length)


def nullable_line(max_length: int) -> Callable[[Any], str | None]:
    """Return a validator as `single_line` does, which keeps null and reports a text that is cut."""

    def to_line(value: Any) -> str | None:
        if value is None or len(folded := _folded(value)) <= max_length:
            return None if value is None else folded
        message = f"The {{field}} was cut at {max_length} characters."
        raise InvalidPart("max", message, kept=_cut(folded, max_length))

    return to_line


def _folded(value: Any) -> str:
    # Printable text has no white space but spaces, no NUL and no half character. Most texts are.
    if isinstance(value, str) and value.isprintable() and "  " not in value:
        return value.strip(" ")
    return WHITESPACE_RUN.sub(" ", to_text(value)).strip(" ")


def _cut(line: str, max_length: int) -> str:
    return line if len(line) <= max_length else line[:max_length].rstrip(" ")


def multi_line(value: Any) -> str:
    """Convert to text that keeps its line ends, without the whitespace around it."""
    return to_text(value).strip(WHITESPACE)


def long_text(max_length: int) -> Validator:
    """Return a validator as `multi_line`, of texts of at most `max_length` characters.

    Raises:
        InvalidValue: by the returned validator, for a longer text.
    """

    def to_long_text(value: Any) -> str:
        text = multi_line(value)
        if len(text) > max_length:
            raise InvalidValue(
                "max", f"The {{field}} may not be greater than {max_length} characters."
            )
        return text

    return to_long_text


def to_bigint(value: Any) -> int:
    """Convert a number or digits to a whole number from 0 to 2^63 - 1.

    Raises:
        InvalidValue: anything else, also 1.0 and true.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise InvalidValue("numeric")
    return value


def to_rounded_bigint(value: Any) -> int:
    """Convert a number from 0, also as text, rounded as a column of whole numbers rounds.

    Raises:
        InvalidValue: no number, a negative one, or one beyond 2^63 - 1.
    """
    if value in (None, ""):
        return 0
    try:
        number = Decimal(to_text(value))
    except InvalidOperation:
        raise InvalidValue("numeric") from None
    # Checked before it is written out, because 1e9999999 is short and its digits take minutes.
    if not number.is_finite() or number.adjusted() >= MAX_DIGITS:
        raise InvalidValue("numeric")
    return to_bigint(int(number.to_integral_value(ROUND_HALF_UP)))


def clamp_id(digits: str) -> int:
    """Convert the id in a URL; one beyond bigint becomes the largest, which no row has."""
    return min(int(digits), MAX_ID)


def is_valid_id(text: str) -> bool:
    """Return whether a text is an id in digits that fits bigint."""
    return text.isascii() and text.isdigit() and len(text) < MAX_DIGITS


def optional_id(value: Any) -> int:
    """Convert an id as `to_bigint` does; null, false and "" are 0, which names no row."""
    return 0 if value is None or value is False or value == "" else to_bigint(value)


def to_user_id(value: Any) -> str:
    """Convert the id that a program gave a contact to text; PHP's empty values are "".

    Raises:
        InvalidValue: true, a list or an object, more than 192 characters, or the name of a missing
            value, which programs send for many people.
    """
    if value is True:
        raise InvalidValue("string")
    user_id = to_text(value).strip(WHITESPACE)
    if user_id.lower() in NO_IDS:
        raise InvalidValue("string", "The {field} must be an id.")
    if len(user_id) > MAX_NAME_LENGTH:
        raise InvalidValue("max", MESSAGES["max"].replace("{limit}", str(MAX_NAME_LENGTH)))
    return "" if user_id == "0" else user_id


def to_coordinate(value: Any) -> Decimal | None:
    """Convert to degrees from -180 to 180 with eight decimals; null and "" are None.

    Raises:
        InvalidValue: no number, or one outside that range.
    """
    if value in (None, ""):
        return None
    try:
        degrees = Decimal(to_text(value)).quantize(Decimal("0.00000001"))
    except InvalidOperation:
        raise InvalidValue("numeric") from None
    if not degrees.is_finite() or not -180 <= degrees <= 180:
        raise InvalidValue("numeric")
    # A zero has no sign, as in PostgreSQL.
    return degrees + 0


def to_email(value: Any) -> str:
    """Return an e-mail as sent, without the invisible characters around it.

    Raises:
        InvalidValue: not an e-mail, neither as WordPress's is_email() reads them, nor by RFC 5321
            and 6531, as email-validator reads them.
    """
    if isinstance(value, (list, dict)):
        raise InvalidValue("email")
    email = to_text(value).strip(INVISIBLE)
    if MIN_EMAIL_LENGTH <= len(email) <= MAX_EMAIL_LENGTH and EMAIL.fullmatch(email):
        return email
    try:
        email_validator.validate_email(email, check_deliverability=False)
    except email_validator.EmailNotValidError:
        raise InvalidValue("email") from None
    return email


def is_zero_date(value: Any) -> bool:
    """Return whether a value is MySQL's null as a date or a datetime."""
    return isinstance(value, str) and bool(ZERO_DATE.fullmatch(value.strip(WHITESPACE)))


def to_date(value: Any) -> date | None:
    """Convert `YYYY-MM-DD`, and ignore a time after it; empty values are None.

    Raises:
        InvalidValue: as `to_datetime`.
    """
    parsed = to_datetime(value, DATE_FORMS)
    return parsed and parsed.date()


def to_datetime(value: Any, forms: str = DATE_OR_DATETIME_FORMS) -> datetime | None:
    """Convert FluentCRM's `YYYY-MM-DD HH:MM:SS` in TIME_ZONE, or ISO 8601; empty values are None.

    Args:
        value: the value.
        forms: the message of the error.

    Raises:
        InvalidValue: not a datetime of the years 2 to 9998, because others overflow in some zone.
    """
    if is_empty(value):
        return None
    text = to_text(value).strip(WHITESPACE)
    return _parse_datetime(text if DATE.match(text) else "", forms)


def _parse_datetime(text: str, forms: str) -> datetime:
    try:
        parsed = parse_datetime(text)
    except ValueError:
        parsed = None
    if parsed is None or not 1 < parsed.year < 9999:
        raise InvalidValue("date", forms)
    # No request activates another zone. Looking for one takes 2 µs.
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.get_default_timezone())


def to_strict_datetime(value: Any, forms: str = DATETIME_FORMS) -> datetime | None:
    """Convert as `to_datetime` does, but only text with at least hours and minutes.

    Raises:
        InvalidValue: a number, a date without a time, or not a datetime.
    """
    if isinstance(value, datetime):
        return value if value.tzinfo else timezone.make_aware(value)
    if value is None:
        return None
    text = value.strip(WHITESPACE) if isinstance(value, str) else "a number"
    if not text:
        return None
    return _parse_datetime(text if DATE_AND_TIME.match(text) else "", forms)


def parse_age(text: str) -> timedelta:
    """Parse an age such as `400d`, `12h` or `3w`.

    Raises:
        ValueError: not digits followed by h, d or w.
    """
    match = AGE.fullmatch(text)
    if not match:
        raise ValueError(text)
    return timedelta(days=int(match[1]) * DAYS_PER_UNIT[match[2]])


def php_list(value: Any) -> Any:
    """Return the values of an object whose keys are all digits, and any other value as it is.

    PHP's json_encode writes a list with gaps, such as array_filter leaves, as such an object, and
    forms send `tags[0]` and `tags[2]`. Only for fields that are lists: elsewhere it is an object.
    """
    if isinstance(value, dict) and value and all(map(is_digits, value)):
        return list(value.values())
    return value


def is_digits(key: str) -> bool:
    """Return whether a key of an object is a position in a list of PHP."""
    return key.isascii() and key.isdigit()


def to_list(value: Any) -> list[Any]:
    """Return a list of up to 1,000 items; one value alone is a list of it, null and "" are empty.

    Raises:
        InvalidValue: an object that is no list of PHP, or more items.
    """
    value = php_list(value)
    if isinstance(value, dict):
        raise InvalidValue("array")
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            raise InvalidValue("max", TOO_MANY_ITEMS)
        return value
    return [] if value is None or value == "" else [value]


def to_ids(value: Any) -> list[int]:
    """Convert a list of up to 1,000 ids, or one id, and ignore PHP's empty ones."""
    return [number for item in to_list(value) if (number := optional_id(item))]


def to_strings(value: Any) -> list[str]:
    """Convert a list of up to 1,000 lines, or one line."""
    to_line = single_line(MAX_NAME_LENGTH)
    return [to_line(item) for item in to_list(value)]


def to_url(max_length: int) -> Callable[[Any], str | None]:
    """Return a validator of an http(s) URL or an absolute path; null and "" stay.

    The returned validator reports and ignores a URL that is too long, because a part leads nowhere.
    """

    def to_http_url(value: Any) -> str | None:
        url = None if value is None else _folded(value)
        if url and not url.startswith(("http://", "https://", "/")):
            raise InvalidValue("url")
        if url and len(url) > max_length:
            message = (
                f"The {{field}} was ignored, because it has more than {max_length} characters."
            )
            raise InvalidPart("max", message)
        return url

    return to_http_url


def to_bool(value: Any) -> bool:
    """Return whether a value is one of FluentCRM's words for true: 1, true, on, yes in any case.

    Every other word is false, so that a word that is not understood switches nothing on.

    Raises:
        InvalidValue: a list or an object.
    """
    return _to_word(value) in TRUE_WORDS


def to_strict_bool(value: Any) -> bool:
    """Return what a word for true or false says, where neither of them is safe to assume.

    Raises:
        InvalidValue: any other value, also null and "".
    """
    word = _to_word(value)
    if word in TRUE_WORDS:
        return True
    if value is False or word in FALSE_WORDS:
        return False
    raise InvalidValue("boolean")


def _to_word(value: Any) -> str:
    if isinstance(value, list | dict):
        raise InvalidValue("boolean")
    return to_text(value).strip(WHITESPACE).lower()
