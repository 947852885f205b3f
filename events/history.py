"""Read what contacts did: their events with counters, and every occurrence."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from django.db.models import OuterRef, Subquery

from config.api.errors import ObjectNotFound
from config.api.pagination import fetch_whole_page
from config.database import fetch_one, fetch_page
from events.models import TrackedEvent
from events.tracking.errors import NotEnabled

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CURSOR_TEXT = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Cursor(NamedTuple):
    """The position of the last row of a timeline's page: its datetime and id."""

    occurred_at: datetime
    occurrence_id: int

    def __str__(self) -> str:
        """Return microseconds since 1970 and the id: `1700000000000000-42`."""
        return f"{(self.occurred_at - EPOCH) // MICROSECOND}-{self.occurrence_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse what `__str__` returns.

        Raises:
            ValueError: another format.
            OverflowError: beyond the years of datetime.
        """
        match = CURSOR_TEXT.fullmatch(text)
        if not match:
            raise ValueError(text)
        return cls(EPOCH + int(match[1]) * MICROSECOND, int(match[2]))


class Event(NamedTuple):
    """An event as EVENTS reads it."""

    id: int
    subscriber_id: int
    counter: int
    created_by_id: int | None
    provider: str
    event_key: str
    title: str
    value: str
    created_at: datetime
    updated_at: datetime


class Occurrence(NamedTuple):
    """An occurrence as OCCURRENCES reads it; properties and context are JSON text."""

    id: int
    event_id: int
    event_key: str
    title: str
    provider: str
    value: str
    properties: str
    context: str
    counter: int
    occurred_at: datetime
    received_at: datetime


# How Occurrence's fields are read where they are not a column of their name.
EXPRESSIONS = {
    # Not a join, because a join could be planned before the index that has the order. By the
    # parameter, so that a store that is distributed by contact asks one node.
    "title": """(SELECT e.title FROM events_trackedevent e
               WHERE e.id = o.event_id AND e.subscriber_id = %(contact)s)""",
    "properties": "o.properties::text",
    "context": "o.context::text",
}
# The same in a queryset of occurrences.
TITLE = Subquery(
    TrackedEvent.objects.filter(
        id=OuterRef("event_id"), subscriber=OuterRef("subscriber_id")
    ).values("title")
)
COLUMNS = ", ".join(EXPRESSIONS.get(name, f"o.{name}") for name in Occurrence._fields)
OCCURRENCES = f"SELECT {COLUMNS} FROM events_eventoccurrence o"
NEWEST_FIRST = "ORDER BY o.occurred_at DESC, o.id DESC"
# Bytes and order by the columns of OCCURRENCES. The other columns are short.
OCCURRENCE_ORDER = "occurred_at DESC, id DESC"
OCCURRENCE_SIZE = "octet_length(value) + octet_length(properties) + octet_length(context)"

# All that a page of events needs to know first, in one statement.
COUNT_EVENTS = """
SELECT COALESCE((SELECT enabled FROM events_trackingswitch), true),
       EXISTS (SELECT FROM crm_subscriber WHERE id = %(contact)s),
       (SELECT count(*) FROM events_trackedevent WHERE subscriber_id = %(contact)s)
"""
EVENTS = f"""
SELECT {", ".join(Event._fields)} FROM events_trackedevent
WHERE subscriber_id = %(contact)s ORDER BY id DESC LIMIT %(limit)s OFFSET %(start)s
"""
FIND_EVENT = """
SELECT EXISTS (SELECT FROM crm_subscriber WHERE id = %(contact)s), e.event_key,
       -- The number of occurrences, without counting them: counter = unlogged + occurrences.
       e.counter - e.unlogged
FROM (SELECT) one LEFT JOIN events_trackedevent e
    ON e.id = %(event)s AND e.subscriber_id = %(contact)s
"""
EVENT_OCCURRENCES = f"""{OCCURRENCES}
WHERE o.subscriber_id = %(contact)s AND o.event_key = %(event_key)s AND o.event_id = %(event)s
{NEWEST_FIRST} LIMIT %(limit)s OFFSET %(start)s
"""


@dataclass(frozen=True)
class ContactEvents:
    """The events of a contact, the newest first. It is counted and sliced as a queryset is."""

    contact_id: int

    def count(self) -> int:
        """Return the number of events.

        Raises:
            NotEnabled: tracking is switched off.
            ObjectNotFound: the contact does not exist.
        """
        is_enabled, exists, total = fetch_one(COUNT_EVENTS, {"contact": self.contact_id})
        if not is_enabled:
            raise NotEnabled
        if not exists:
            raise ObjectNotFound("Subscriber")
        number: int = total
        return number

    def __getitem__(self, rows: slice) -> list[Event]:
        """Return the events of a slice.

        Raises:
            PageTooLarge: 422, they have more than 8 MB.
        """
        parameters = {
            "contact": self.contact_id,
            "start": rows.start,
            "limit": rows.stop - rows.start,
        }
        page = fetch_whole_page(EVENTS, parameters, size="octet_length(value)", order="id DESC")
        return [Event(*row[:-2]) for row in page]


@dataclass(frozen=True)
class EventOccurrences:
    """The occurrences of an event, the newest first. Counted and sliced as a queryset is."""

    contact_id: int
    event_id: int
    event_key: str
    total: int

    @classmethod
    def of(cls, contact_id: int, event_id: int) -> Self:
        """Return the occurrences of an event of a contact.

        Raises:
            ObjectNotFound: the contact or the event does not exist.
        """
        exists, event_key, total = fetch_one(FIND_EVENT, {"contact": contact_id, "event": event_id})
        if not exists:
            raise ObjectNotFound("Subscriber")
        if event_key is None:
            raise ObjectNotFound("Event")
        return cls(contact_id, event_id, event_key, total)

    def count(self) -> int:
        """Return the number of occurrences."""
        return self.total

    def __getitem__(self, rows: slice) -> list[Occurrence]:
        """Return the occurrences of a slice.

        Raises:
            PageTooLarge: 422, they have more than 8 MB.
        """
        parameters = {
            "contact": self.contact_id,
            "event": self.event_id,
            "event_key": self.event_key,
            "start": rows.start,
            "limit": rows.stop - rows.start,
        }
        page = fetch_whole_page(
            EVENT_OCCURRENCES, parameters, size=OCCURRENCE_SIZE, order=OCCURRENCE_ORDER
        )
        return [Occurrence(*row[:-2]) for row in page]


@dataclass(frozen=True)
class Timeline:
    """The occurrences of a contact, the newest first; `since` and `until` are inclusive."""

    contact_id: int
    event_key: str = ""
    provider: str = ""
    since: datetime | None = None
    until: datetime | None = None
    cursor: Cursor | None = None

    def query(self, limit: int) -> tuple[str, dict[str, Any]]:
        """Return the statement and its parameters. An index has its order, from any cursor on."""
        conditions = ["o.subscriber_id = %(contact)s"]
        if self.event_key:
            conditions.append("o.event_key = %(event_key)s")
        if self.provider:
            conditions.append("o.provider = %(provider)s")
        if self.since:
            conditions.append("o.occurred_at >= %(since)s")
        if self.until:
            conditions.append("o.occurred_at <= %(until)s")
        if self.cursor:
            conditions.append("(o.occurred_at, o.id) < (%(before)s, %(before_id)s)")
        parameters = {
            "contact": self.contact_id,
            "event_key": self.event_key,
            "provider": self.provider,
            "since": self.since,
            "until": self.until,
            "before": self.cursor and self.cursor.occurred_at,
            "before_id": self.cursor and self.cursor.occurrence_id,
            "limit": limit,
        }
        where = " AND ".join(conditions)
        return f"{OCCURRENCES} WHERE {where} {NEWEST_FIRST} LIMIT %(limit)s", parameters

    def page(self, per_page: int) -> tuple[list[Occurrence], Cursor | None]:
        """Return the occurrences of a page, and the cursor of the next page if there is one.

        A page ends early where its occurrences exceed 8 MB.
        """
        # One row more tells whether there is another page.
        found, is_cut = fetch_page(
            *self.query(per_page + 1), size=OCCURRENCE_SIZE, order=OCCURRENCE_ORDER
        )
        page = [Occurrence(*row[:-2]) for row in found[:per_page]]
        is_last = len(found) <= per_page and not is_cut
        return page, None if is_last else Cursor(page[-1].occurred_at, page[-1].id)
