"""Read what contacts did: their events with counters, and every occurrence."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from django.db.models import OuterRef, Subquery

from config.api.errors import ObjectNotFound
from config.api.pagination import check_whole
from config.api.validation import MAX_ID
from config.database import MAX_PAGE_BYTES, PAGE, Row, fetch_page, fetch_rows
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
    created_by: int
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

# A page, and beside each row what is to be known first, in one statement. Of an empty page there is
# one row without an id.
EVENTS_PAGE = PAGE.format(
    statement="""
    SELECT id, subscriber_id, counter, COALESCE(created_by_id, 0) AS created_by, provider,
           event_key, title, value, created_at, updated_at
    FROM events_trackedevent
    WHERE subscriber_id = %(contact)s ORDER BY id DESC LIMIT %(limit)s OFFSET %(start)s
    """,
    size="octet_length(value)",
    order="id DESC",
)
EVENTS = f"""
SELECT page.*, COALESCE((SELECT enabled FROM events_trackingswitch), true),
       EXISTS (SELECT FROM crm_subscriber WHERE id = %(contact)s),
       (SELECT count(*) FROM events_trackedevent WHERE subscriber_id = %(contact)s)
FROM (SELECT) one LEFT JOIN ({EVENTS_PAGE}) page ON true ORDER BY id DESC
"""
OCCURRENCES_PAGE = PAGE.format(
    statement=f"""{OCCURRENCES}
    WHERE o.subscriber_id = %(contact)s AND o.event_key = e.event_key AND o.event_id = %(event)s
    {NEWEST_FIRST} LIMIT %(limit)s OFFSET %(start)s
    """,
    size=OCCURRENCE_SIZE,
    order=OCCURRENCE_ORDER,
)
EVENT_OCCURRENCES = f"""
SELECT page.*, EXISTS (SELECT FROM crm_subscriber WHERE id = %(contact)s),
       -- The number of occurrences, without counting them: counter = unlogged + occurrences.
       e.counter - e.unlogged
FROM (SELECT) one
LEFT JOIN events_trackedevent e ON e.id = %(event)s AND e.subscriber_id = %(contact)s
LEFT JOIN LATERAL ({OCCURRENCES_PAGE}) page ON true
ORDER BY page.occurred_at DESC, page.id DESC
"""


def page_of_events(contact_id: int, start: int, limit: int) -> tuple[list[Row], int]:
    """Return a page of a contact's events, the newest first, and the number of its events.

    A row has the fields of TrackedEventSerializer, and more.

    Raises:
        NotEnabled: tracking is switched off.
        ObjectNotFound: the contact does not exist.
        PageTooLarge: 422, the page has more than 8 MB.
    """
    rows = fetch_rows(EVENTS, _page_parameters(contact_id, start, limit))
    *_, is_enabled, exists, total = rows[0]
    if not is_enabled:
        raise NotEnabled
    if not exists:
        raise ObjectNotFound("Subscriber")
    return _whole(rows, len(Event._fields)), total


def page_of_occurrences(
    contact_id: int, event_id: int, start: int, limit: int
) -> tuple[list[Row], int]:
    """Return a page of an event's occurrences, the newest first, and the number of them.

    A row has the fields of OccurrenceSerializer, and more.

    Raises:
        ObjectNotFound: the contact or the event does not exist.
        PageTooLarge: 422, the page has more than 8 MB.
    """
    parameters = {"event": event_id, **_page_parameters(contact_id, start, limit)}
    rows = fetch_rows(EVENT_OCCURRENCES, parameters)
    *_, exists, total = rows[0]
    if not exists:
        raise ObjectNotFound("Subscriber")
    if total is None:
        raise ObjectNotFound("Event")
    return _whole(rows, len(Occurrence._fields)), total


def _page_parameters(contact_id: int, start: int, limit: int) -> dict[str, int]:
    # The largest OFFSET that PostgreSQL accepts.
    start = min(start, MAX_ID - limit)
    return {"contact": contact_id, "start": start, "limit": limit, "max_bytes": MAX_PAGE_BYTES}


def _whole(rows: list[Row], found: int) -> list[Row]:
    """Return the rows of a page. `found` is the first column that PAGE adds.

    Raises:
        PageTooLarge: 422, they have more than 8 MB.
    """
    if rows[0][0] is None:
        return []
    check_whole(rows, found)
    return rows


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
