"""Reading what a contact did."""

from collections.abc import Iterable

from config.database import fetch_row
from config.errors import NotFoundHere
from events.models import TrackedEvent
from events.tracking import NotEnabled

# All that a page needs to know first, in one statement.
FACTS = """
SELECT COALESCE((SELECT enabled FROM events_trackingswitch), true),
       EXISTS (SELECT FROM crm_subscriber WHERE id = %(contact)s),
       (SELECT count(*) FROM events_trackedevent WHERE subscriber_id = %(contact)s)
"""


def count_events(contact_id: int) -> int:
    """How many events a contact has. Raises NotEnabled, or NotFoundHere (404) for no contact."""
    row = fetch_row(FACTS, {"contact": contact_id})
    assert row is not None  # one row, always
    enabled, found, total = row
    if not enabled:
        raise NotEnabled
    if not found:
        raise NotFoundHere("Subscriber")
    number: int = total
    return number


def events_of(contact_id: int, start: int, stop: int) -> Iterable[TrackedEvent]:
    """The events of a contact from `start` up to, not including, `stop`, the newest first."""
    return TrackedEvent.objects.filter(subscriber_id=contact_id).order_by("-id")[start:stop]
