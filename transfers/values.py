"""Convert cells of files: dates in an order, numbers, lists of labels, words for a status.

A value that could mean two things is an error. It is never guessed.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal

import orjson
from django.utils.dateparse import parse_date, parse_datetime

from config.api.validation import FALSE_WORDS, INVISIBLE, InvalidValue, to_text
from crm.models import Status

DateOrder = Literal["ymd", "dmy", "mdy"]
DecimalMark = Literal[".", ","]

ORDERS: dict[DateOrder, str] = {
    "ymd": "year, month, day",
    "dmy": "day, month, year",
    "mdy": "month, day, year",
}
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# 31.12.2025, 31/12/2025 or 31-12-2025, with or without a time. Years have four digits, because
# programs disagree about the century of two.
ORDERED_DATE = re.compile(
    r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})"
    r"(?:,?[ T](\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AaPp])\.?[Mm]\.?)?)?",
    re.ASCII,
)
# A day of Excel, from 1927 to 2201. Shorter numbers may be years.
SERIAL_DATE = re.compile(r"[1-9]\d{4}(?:[.,]\d+)?", re.ASCII)
FIRST_SERIAL, LAST_SERIAL = 10_000, 110_000
EXCEL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001  # has no zone, as Excel's dates
# The zone as Go prints it (listmonk): 2026-01-31 09:30:00.123 +0000 UTC.
ZONE_NAME = re.compile(r"(?<=\d) [A-Z]{3,4}$")
# A number that a spreadsheet shows rounded, such as a phone number: 4.91511E+12.
ROUNDED_NUMBER = re.compile(r"[+-]?\d([.,]\d+)?[eE][+]?\d+", re.ASCII)
MAX_EXACT = 10**15
DECIMALS: dict[DecimalMark, re.Pattern[str]] = {
    ".": re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?", re.ASCII),
}
# What spreadsheets write where a formula has no value.
EXCEL_ERRORS = (
    *("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!"),
    *("#NV", "#BEZUG!", "#WERT!", "#ZAHL!", "#VALEUR!", "#NOM?", "#¡VALOR!", "#¿NOMBRE?"),
)
NO_WORDS = (*FALSE_WORDS, "f", "n", "[]", "nein", "non", "never", "null", "none")

# Words that other programs have for a status, in lower case. Sources: Mailchimp, ActiveCampaign (0
# to 3), Keila, Brevo, listmonk, HubSpot and Klaviyo. A word that is not here subscribes no contact.
WORDS: Mapping[Status, Sequence[str]] = {
    Status.SUBSCRIBED: (
        *("1", "active", "confirmed", "enabled", "opted in", "opted-in", "angemeldet"),
        *("abonniert", "abonné", "inscrit", "suscrito"),
    ),
    Status.PENDING: (
        *("0", "unconfirmed", "non-subscribed", "nonsubscribed", "never_subscribed"),
        *("never subscribed", "unbestätigt", "nicht bestätigt", "non confirmé"),
    ),
    Status.UNSUBSCRIBED: (
        *("2", "unsubscribe", "opted out", "opted-out", "opt-out", "optout", "suppressed"),
        *("blocklisted", "blacklisted", "disabled", "inactive", "abgemeldet", "nicht angemeldet"),
        *("désabonné", "désinscrit", "dado de baja"),
    ),
    Status.BOUNCED: (
        *("3", "cleaned", "unreachable", "bounce", "hard bounced", "hard_bounced"),
        "hardbounced",
    ),
    Status.COMPLAINED: ("complaint", "abuse", "reported spam"),
    Status.SPAMMED: ("spam",),
}
STATUSES = {word: status for status, words in WORDS.items() for word in words} | {
    status.value: status for status in Status
}
# Crm reads it as an unknown word: a new contact is pending, another one stays as it is.
EMPTY_STATUS = "empty"


def to_status_word(value: Any) -> str:
    """Return the status that a word of another program means, or the word if it is unknown."""
    text = str(value) if isinstance(value, bool) else to_text(value)
    return STATUSES.get(text.lower(), text or EMPTY_STATUS)


def is_opt_out(value: Any) -> bool:
    """Return whether a cell says that a contact opted out: a date, a reason, or a word for yes."""
    return value is not False and str(value).lower() not in NO_WORDS


def guess_order(values: Iterable[Any]) -> DateOrder:
    """Return the order that a date with a day above 12 proves, or year, month, day."""
    for value in values:
        if match := ORDERED_DATE.fullmatch(str(value).strip()):
            first, second = int(match[1]), int(match[3])
            if first > 12 or second > 12:
                return "ymd" if first > 31 else "dmy" if first > 12 else "mdy"
    return "ymd"


def to_moment(value: Any, order: DateOrder, zone: tzinfo) -> datetime:
    """Convert a datetime, or a date at midnight. One without a zone is in `zone`.

    ISO 8601 is read in every order, and so are Excel's numbers of days.

    Raises:
        InvalidValue: no date in this order.
    """
    moment: datetime | None = None
    text = to_text(value)
    # No suppress(), which takes as long as reading a datetime.
    try:
        if ISO_DATE.match(text):
            iso = ZONE_NAME.sub("", text) if text[-1].isalpha() else text
            moment = parse_datetime(iso) or _midnight(parse_date(text))
        elif SERIAL_DATE.fullmatch(text):
            days = float(text.replace(",", "."))
            if FIRST_SERIAL <= days < LAST_SERIAL:
                moment = EXCEL_EPOCH + timedelta(seconds=round(days * 24 * 60 * 60))
        elif match := ORDERED_DATE.fullmatch(text):
            moment = _ordered(match, order)
    except (ValueError, OverflowError):
        pass
    if moment is None:
        shown = text.replace("{", "{{").replace("}", "}}")[:50]
        message = f'The {{field}} "{shown}" is no date in the order {ORDERS[order]}.'
        raise InvalidValue("date", message)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _midnight(day: date | None) -> datetime | None:
    return datetime(day.year, day.month, day.day) if day else None  # noqa: DTZ001


def _ordered(match: re.Match[str], order: DateOrder) -> datetime | None:
    parts = dict(zip(order, (match[1], match[3], match[4]), strict=True))
    if len(parts["y"]) != 4 or len(parts["m"]) > 2 or len(parts["d"]) > 2:
        return None
    hour = int(match[5] or 0)
    if half := (match[8] or "").lower():
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    year, month, day = (int(parts[part]) for part in "ymd")
    minute, second = int(match[6] or 0), int(match[7] or 0)
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001


def to_number_text(value: Any, mark: DecimalMark) -> str:
    """Convert a number with this decimal mark to text with a point and without thousands.

    Raises:
        InvalidValue: no number with this mark.
    """
    if not isinstance(value, str):
        return to_text(value)
    text = re.sub(r"(?<=\d)[ '\u00a0\u202f\u2019](?=\d{3})", "", value)
    if not DECIMALS[mark].fullmatch(text):
        word = "comma" if mark == "," else "point"
        raise InvalidValue("numeric", f"The {{field}} is no number with a decimal {word}.")
    return text.replace(",", "") if mark == "." else text.replace(".", "").replace(",", ".")


def is_rounded(value: Any) -> bool:
    """Return whether a spreadsheet has rounded a number that is a text, such as a phone number."""
    if isinstance(value, str):
        return bool(ROUNDED_NUMBER.fullmatch(value))
    return isinstance(value, float) and abs(value) >= MAX_EXACT


def to_titles(value: Any, separator: str) -> list[Any]:
    """Return the labels that a cell names by their titles, as crm/api/fields.py reads them.

    A list, or its JSON text, has titles, or labels as objects. Any other text has titles between
    separators, in quotes where a title has a separator (Mailchimp: `"VIP","Blog"`).
    """
    if isinstance(value, str) and value.startswith("["):
        # A title may begin with a bracket, too.
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    if isinstance(value, str):
        [value] = csv.reader([value], delimiter=separator, skipinitialspace=True)
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    titles = (item if isinstance(item, dict) else to_text(item).strip(INVISIBLE) for item in items)
    return [title if isinstance(title, dict) else {"title": title} for title in titles if title]


def to_utc(moment: datetime) -> datetime:
    """Return a datetime in UTC, whose text every validator reads.

    Raises:
        InvalidValue: its year is not from 2 to 9998.
    """
    if not 1 < moment.year < 9999:
        raise InvalidValue("date")
    return moment.astimezone(UTC)
