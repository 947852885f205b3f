"""Compute when a wait ends.

Wall times are those of the store's or of the contact's time zone. A wall time that the zone skips
moves forward by the gap, and of one that the zone has twice the first counts.
"""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import count
from zoneinfo import ZoneInfo

from django.utils import timezone

from automations.waits import MAX_DAYS, MAX_WAIT, Wait
from config.api.validation import WHITESPACE, InvalidValue, is_empty, to_datetime

LENGTH_OF_DATE = len("2026-01-31")


def due_at(
    wait: Wait, entered_at: datetime, contact_zone: str | None = "", field_value: object = None
) -> datetime:
    """Return when a wait ends, in UTC.

    Args:
        wait: the wait.
        entered_at: when the contact entered the step, an aware datetime.
        contact_zone: the contact's `timezone`. A text that names no time zone means the store's.
        field_value: the value that the contact has of `wait.field`.

    Returns:
        A datetime from `entered_at` to ten years later. It is `entered_at` if the wait is for a
        datetime that has passed, or for a field without a date.
    """
    zone = _zone_of(wait, contact_zone)
    # In UTC, because Python adds to a datetime of another zone in wall time.
    entered_at = entered_at.astimezone(UTC)
    now = entered_at.astimezone(zone)
    if wait.field:
        due = _due_by_field(wait, now, zone, field_value)
    elif wait.until:
        due = _to_utc(wait.until.date(), wait.until.time(), zone)
    elif wait.days:
        due = _to_utc(now.date() + timedelta(days=wait.days), wait.at or now.time(), zone)
    else:
        due = entered_at + wait.span
        if wait.weekdays or wait.between:
            due = _next_opening(wait, due, zone)
    return min(max(due, entered_at), entered_at + MAX_WAIT).astimezone(UTC)


def _zone_of(wait: Wait, contact_zone: str | None) -> tzinfo:
    if wait.zone == "contact" and contact_zone:
        # The column has any text. A folder of zones is an OSError where tzdata is installed.
        with suppress(KeyError, ValueError, OSError):
            return ZoneInfo(contact_zone)
    return timezone.get_default_timezone()


def _to_utc(day: date, at: time, zone: tzinfo) -> datetime:
    # With fold=0, a wall time in a gap has the offset from before the gap, which moves it forward.
    return datetime.combine(day, at.replace(fold=0), zone).astimezone(UTC)


def _next_opening(wait: Wait, earliest: datetime, zone: tzinfo) -> datetime:
    """Return the first datetime from `earliest` on that weekdays and times of day allow."""
    opening, closing = wait.between or (wait.at or time.min, wait.at or time.max)
    first = earliest.astimezone(zone).date()
    days = (first + timedelta(days=number) for number in count())
    openings = (
        (max(earliest, _to_utc(day, opening, zone)), _to_utc(day, closing, zone))
        for day in days
        if (not wait.weekdays or day.weekday() in wait.weekdays) and _exists(day, zone)
    )
    return next(opens for opens, closes in openings if opens <= closes)


def _exists(day: date, zone: tzinfo) -> bool:
    """Return whether a zone has a date. Pacific/Apia has no 2011-12-30."""
    return _to_utc(day, time(12), zone).astimezone(zone).date() == day


def _due_by_field(wait: Wait, now: datetime, zone: tzinfo, value: object) -> datetime:
    wall = _to_wall(value, zone)
    if wall is None:
        return now
    at = wait.at or wall.time()
    if not wait.yearly:
        return _to_utc(_shifted(wall.date(), wait.days, now.date()), at, zone)
    first_year = max(wall.year, (now.date() - timedelta(days=wait.days)).year)
    days = (
        _shifted(_anniversary(wall.date(), year), wait.days, now.date())
        for year in count(first_year)
    )
    dues = (_to_utc(day, at, zone) for day in days)
    return next(due for due in dues if due >= now)


def _to_wall(value: object, zone: tzinfo) -> datetime | None:
    """Return the wall time of a contact's value in a zone, or None if the value is no date.

    A date is the same date in every zone, and begins at 00:00. A datetime without an offset is one
    of TIME_ZONE.
    """
    text = value.isoformat() if isinstance(value, date) else value
    try:
        parsed = None if is_empty(text) else to_datetime(text)
    except InvalidValue:
        return None
    if parsed is None:
        return None
    if len(str(text).strip(WHITESPACE)) > LENGTH_OF_DATE:
        parsed = parsed.astimezone(zone)
    return parsed.replace(tzinfo=None)


def _shifted(day: date, days: int, today: date) -> date:
    """Return a date some days later, at most a little over ten years from today.

    A date beyond has the same effect, and may be beyond what Python has.
    """
    ordinal, limit = today.toordinal(), MAX_DAYS + 2
    return date.fromordinal(min(max(day.toordinal() + days, ordinal - limit), ordinal + limit))


def _anniversary(day: date, year: int) -> date:
    try:
        return day.replace(year=year)
    except ValueError:
        # Of 29 February. The date before, so that a reminder comes before what it is about.
        return day.replace(year=year, day=28)
