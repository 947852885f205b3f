"""Reading what a contact did: events counted, and each occurrence of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from config.api.errors import ObjectNotFound
from config.database import fetch_one, fetch_rows
from crm.api.serializers import format_datetime
from crm.models import Subscriber
from events.cursors import Cursor
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
    enabled, found, total = fetch_one(FACTS, {"contact": contact_id})
    if not enabled:
        raise NotEnabled
    if not found:
        raise ObjectNotFound("Subscriber")
    number: int = total
    return number


def events_of(contact_id: int, start: int, stop: int) -> Iterable[TrackedEvent]:
    """The events of a contact from `start` up to, not including, `stop`, the newest first."""
    return TrackedEvent.objects.filter(subscriber_id=contact_id).order_by("-id")[start:stop]


class Event(NamedTuple):
    """What a page of an event's occurrences has to know of it."""

    contact_id: int
    event_id: int
    event_key: str
    occurrences: int


class Occurrence(NamedTuple):
    """A row of COLUMNS; properties and context are JSON texts."""

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


EVENT = """
SELECT EXISTS (SELECT FROM crm_subscriber WHERE id = %(contact)s), e.event_key,
       -- How many occurrences it has: counter = unlogged + occurrences, so nothing is counted.
       e.counter - e.unlogged
FROM (SELECT) one LEFT JOIN events_trackedevent e
    ON e.id = %(event)s AND e.subscriber_id = %(contact)s
"""
COLUMNS = """
SELECT o.id, o.event_id, o.event_key,
       -- No join, which could come before the index that has the order.
       (SELECT title FROM events_trackedevent e WHERE e.id = o.event_id),
       o.provider, o.value, o.properties::text, o.context::text, o.counter, o.occurred_at,
       o.received_at
FROM events_eventoccurrence o
"""
NEWEST_FIRST = "ORDER BY o.occurred_at DESC, o.id DESC"
OCCURRENCES = f"""{COLUMNS}
WHERE o.subscriber_id = %(contact)s AND o.event_key = %(event_key)s AND o.event_id = %(event)s
{NEWEST_FIRST} LIMIT %(limit)s OFFSET %(start)s
"""


def find_event(contact_id: int, event_id: int) -> Event:
    """An event of a contact. Raises NotFoundHere (404) if either is not there."""
    found, event_key, occurrences = fetch_one(EVENT, {"contact": contact_id, "event": event_id})
    if not found:
        raise ObjectNotFound("Subscriber")
    if event_key is None:
        raise ObjectNotFound("Event")
    return Event(contact_id, event_id, event_key, occurrences)


def occurrences_of(event: Event, start: int, stop: int) -> list[dict[str, Any]]:
    """The occurrences of an event from `start` up to, not including, `stop`, the newest first."""
    parameters = {
        "contact": event.contact_id,
        "event": event.event_id,
        "event_key": event.event_key,
        "start": start,
        "limit": stop - start,
    }
    return [occurrence_data(Occurrence(*row)) for row in fetch_rows(OCCURRENCES, parameters)]


@dataclass(frozen=True)
class Timeline:
    """Which occurrences of a contact are asked for; both ends of the time belong to it."""

    contact_id: int
    event_key: str = ""
    provider: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def query(self, limit: int, after: Cursor | None = None) -> tuple[str, dict[str, Any]]:
        """The statement and its parameters; an index has its order, from any cursor on."""
        conditions = ["o.subscriber_id = %(contact)s"]
        if self.event_key:
            conditions.append("o.event_key = %(event_key)s")
        if self.provider:
            conditions.append("o.provider = %(provider)s")
        if self.since:
            conditions.append("o.occurred_at >= %(since)s")
        if self.until:
            conditions.append("o.occurred_at <= %(until)s")
        if after:
            conditions.append("(o.occurred_at, o.id) < (%(after_time)s, %(after_id)s)")
        parameters = {
            "contact": self.contact_id,
            "event_key": self.event_key,
            "provider": self.provider,
            "since": self.since,
            "until": self.until,
            "after_time": after and after.occurred_at,
            "after_id": after and after.occurrence_id,
            "limit": limit,
        }
        where = " AND ".join(conditions)
        return f"{COLUMNS} WHERE {where} {NEWEST_FIRST} LIMIT %(limit)s", parameters

    def rows(
        self, per_page: int, after: Cursor | None = None
    ) -> tuple[list[Occurrence], Cursor | None]:
        """The occurrences of a page, and the cursor of the next one if there is one."""
        # One more tells whether there is another page.
        rows = [Occurrence(*row) for row in fetch_rows(*self.query(per_page + 1, after))]
        if len(rows) <= per_page:
            return rows, None
        last = rows[per_page - 1]
        return rows[:per_page], Cursor(last.occurred_at, last.id)

    def page(
        self, per_page: int, after: Cursor | None = None
    ) -> tuple[list[dict[str, Any]], Cursor | None]:
        """A page on the wire, and the cursor of the next one if there is one.

        Raises NotFoundHere (404) for no contact.
        """
        rows, following = self.rows(per_page, after)
        if not rows and not Subscriber.objects.filter(id=self.contact_id).exists():
            raise ObjectNotFound("Subscriber")
        return [occurrence_data(row) for row in rows], following


def occurrence_data(occurrence: Occurrence) -> dict[str, Any]:
    """An occurrence on the wire; `properties` and `context` go through as the JSON they are."""
    return {
        **occurrence._asdict(),
        "properties": orjson.Fragment(occurrence.properties),
        "context": orjson.Fragment(occurrence.context),
        "counter": str(occurrence.counter),
        "occurred_at": format_datetime(occurrence.occurred_at),
        "received_at": format_datetime(occurrence.received_at),
    }
