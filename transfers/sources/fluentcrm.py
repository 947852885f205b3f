"""Convert rows of FluentCRM, which its REST API and its tables have alike.

Times are those of the site's clock without a zone: WordPress's current_time('mysql'), which
fluentCrmTimestamp (app/Functions/helpers.php) and freshTimestamp (app/Models/Model.php) return.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from config.api.validation import InvalidValue, is_valid_id, is_zero_date, to_bigint, to_text
from crm.api.fields import CONTACT_FIELDS
from crm.labels import LabelKind
from crm.models import Status
from crm.notes import TYPES
from transfers.sources import Attached, EventRow, SourceContact, SourceLabel

COLUMNS = tuple(name for name in CONTACT_FIELDS if name != "custom_values")
TIMES = ("created_at", "last_activity")
# Of a note without a time.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENT_TEXTS = ("event_key", "title", "value", "provider")


def zone_of(name: Any, offset: Any) -> tzinfo:
    """Return the zone of a WordPress site, by its options timezone_string and gmt_offset.

    Without both it is UTC, as in WordPress (wp_timezone_string).
    """
    if isinstance(name, str) and name:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            # WordPress also stores "UTC+2" for an offset, and ZoneInfo knows no such zone.
            pass
    try:
        return timezone(timedelta(hours=float(offset or 0)))
    except (TypeError, ValueError, OverflowError):
        return UTC


def moment(value: Any, zone: tzinfo) -> datetime | None:
    """Return a datetime of FluentCRM, or None for null, zeros, and what is none.

    In the hour that a clock has twice, the first is meant.
    """
    if not isinstance(value, str) or is_zero_date(value):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)
        parsed = parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if 1 < parsed.year < 9998 else None


def latest(moments: Iterable[datetime | None]) -> datetime | None:
    """Return the latest of the datetimes that are known, or None."""
    return max((each for each in moments if each), default=None)


def id_of(row: Any, name: str = "id") -> int:
    """Return an id of a row, or 0 if it has none."""
    try:
        text = to_text(row[name])
    except (InvalidValue, KeyError, TypeError, IndexError):
        return 0
    return int(text) if is_valid_id(text) else 0


def contact(
    row: Mapping[str, Any],
    zone: tzinfo,
    custom_values: Mapping[str, Any],
    labels: Mapping[LabelKind, Sequence[Attached]],
    notes: Sequence[Mapping[str, Any]],
    changed: Iterable[datetime | None] = (),
) -> SourceContact:
    """Return a contact of a row of fc_subscribers.

    Args:
        row: the row.
        zone: of the site.
        custom_values: by slug.
        labels: the ids of its tags and lists.
        notes: its notes, converted.
        changed: when anything else of it changed.
    """
    item = {name: row[name] for name in COLUMNS if row.get(name) is not None}
    for name in TIMES:
        at = moment(row.get(name), zone)
        item[name] = at.isoformat() if at else None
    # A contact without a status is not subscribed by a guess.
    status = item.get("status")
    if not isinstance(status, str) or not status.strip():
        item["status"] = Status.PENDING.value
    if item.get("user_id") in (0, "0"):
        del item["user_id"]
    if custom_values:
        item["custom_values"] = dict(custom_values)
    updated_at = moment(row.get("updated_at"), zone) or moment(row.get("created_at"), zone)
    attached = (each.at for several in labels.values() for each in several)
    changed_at = latest([updated_at, *attached, *changed])
    return SourceContact(id_of(row), item, updated_at, changed_at, labels, notes)


def label(row: Mapping[str, Any], zone: tzinfo) -> SourceLabel:
    """Return a tag or list of a row of fc_tags or fc_lists."""
    created_at = moment(row.get("created_at"), zone)
    fields = {name: row.get(name) for name in ("title", "slug", "description")}
    if "is_public" in row:
        fields["is_public"] = row["is_public"] in (True, 1, "1")
    if created_at:
        fields["created_at"] = created_at
    return SourceLabel(str(id_of(row)), fields, moment(row.get("updated_at"), zone))


def note(row: Mapping[str, Any], zone: tzinfo) -> dict[str, Any]:
    """Return a note of a row of fc_subscriber_notes. A title is made where it has none."""
    created_at = moment(row.get("created_at"), zone) or EPOCH
    kind = row.get("type") or "note"
    title = row.get("title") or TYPES.get(str(kind), "Note")
    return {
        "title": title,
        "description": row.get("description") or title,
        "type": kind,
        "created_at": created_at,
        "updated_at": moment(row.get("updated_at"), zone) or created_at,
    }


def event(row: Any, contact_id: int, zone: tzinfo) -> EventRow:
    """Return an event of a row of fc_event_tracking."""
    event_id = id_of(row)
    if not event_id:
        return EventRow(0, contact_id, "", "", "", "", 0, None, None, "The event has no id.")
    try:
        texts = [to_text(row[name]) if row.get(name) is not None else "" for name in EVENT_TEXTS]
        # NULL is 1: the column's default.
        counter = to_bigint(1 if row.get("counter") is None else row["counter"])
    except InvalidValue:
        message = f"The event {event_id} has a value of another type."
        return EventRow(event_id, contact_id, "", "", "", "", 0, None, None, message)
    event_key, title, value, provider = texts
    created_at, updated_at = (moment(row.get(name), zone) for name in ("created_at", "updated_at"))
    return EventRow(
        event_id, contact_id, event_key, title, value, provider, counter, created_at, updated_at
    )
