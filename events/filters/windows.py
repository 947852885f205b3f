"""The window of a condition: `within_days` or `within_hours`, of which one may be sent."""

from datetime import datetime

from config.api.validation import InvalidValue
from crm.filters.operators import DAYS_TYPE, HOURS_TYPE, days_ago, hours_ago, start_of_day
from crm.filters.types import Condition, Need

WINDOW = {
    "within_days": Need(
        DAYS_TYPE, "in {} days", "number of days", is_quoted=False, is_required=False
    ),
    "within_hours": Need(
        HOURS_TYPE, "in {} hours", "number of hours", is_quoted=False, is_required=False
    ),
}


def window_start(condition: Condition) -> datetime | None:
    """Return when the condition's window begins: days at midnight, hours as a span, or None.

    It has no end, so that an occurrence of a clock that runs ahead is in it.
    """
    if "within_hours" in condition.extra:
        return hours_ago(condition.extra["within_hours"])
    if "within_days" in condition.extra:
        return start_of_day(days_ago(condition.extra["within_days"]))
    return None


def check_window(condition: Condition) -> dict[str, InvalidValue]:
    """Return an error if both fields are sent."""
    if WINDOW.keys() <= condition.extra.keys():
        message = "The {field} cannot be combined with a number of days."
        return {"within_hours": InvalidValue("prohibited", message)}
    return {}


def check_has_window(condition: Condition) -> dict[str, InvalidValue]:
    """Return an error unless exactly one of the fields is sent."""
    if not WINDOW.keys() & condition.extra.keys():
        message = "The {field} field is required, or a number of hours."
        return {"within_days": InvalidValue("required", message)}
    return check_window(condition)
