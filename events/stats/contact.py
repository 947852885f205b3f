"""Summarize what one contact did: the figures of the contact's page in the admin."""

from datetime import datetime
from typing import NamedTuple

from config.database import fetch_one, fetch_rows
from events.stats.charts import Chart, bar_chart, day_edges, last_days

CHART_DAYS = 90
TOP_KEYS = 8
# The keys that the timeline's filter offers.
MAX_KEYS = 500

SUMMARY = """
SELECT count(*), COALESCE(sum(counter), 0)::bigint, COALESCE(sum(unlogged), 0)::bigint,
       min(created_at), max(updated_at), (array_agg(DISTINCT provider))[:100]
FROM events_trackedevent WHERE subscriber_id = %(contact)s
"""
KEYS = """
SELECT event_key, sum(counter)::bigint AS total, max(updated_at)
FROM events_trackedevent WHERE subscriber_id = %(contact)s
GROUP BY event_key ORDER BY total DESC, event_key LIMIT %(limit)s
"""
DAYS = """
SELECT width_bucket(occurred_at, %(days)s::timestamptz[]) AS day, count(*)
FROM events_eventoccurrence
WHERE subscriber_id = %(contact)s AND occurred_at >= %(since)s GROUP BY day
"""


class KeyCount(NamedTuple):
    """An event key of a contact: the sum of its counters, and the last occurrence."""

    event_key: str
    total: int
    last_seen: datetime


class ContactStats(NamedTuple):
    """A contact's events in figures; `first_seen` and `last_seen` are None without events.

    `unlogged` of the `total` have no occurrence, because they were imported or pruned.
    """

    events: int
    total: int
    unlogged: int
    first_seen: datetime | None
    last_seen: datetime | None
    providers: list[str]
    keys: list[KeyCount]
    chart: Chart

    @property
    def top(self) -> list[KeyCount]:
        """The most frequent keys."""
        return self.keys[:TOP_KEYS]


def contact_stats(contact_id: int) -> ContactStats:
    """Return the figures of a contact, in three statements."""
    events, total, unlogged, first_seen, last_seen, providers = fetch_one(
        SUMMARY, {"contact": contact_id}
    )
    keys = fetch_rows(KEYS, {"contact": contact_id, "limit": MAX_KEYS})
    return ContactStats(
        events,
        total,
        unlogged,
        first_seen,
        last_seen,
        sorted(providers or []),
        [KeyCount(*key) for key in keys],
        contact_chart(contact_id),
    )


def contact_chart(contact_id: int) -> Chart:
    """Return the chart of a contact's occurrences in the last 90 days, without future ones."""
    days = last_days(CHART_DAYS)
    edges = day_edges(days)
    parameters = {"contact": contact_id, "days": edges, "since": edges[0]}
    return bar_chart(days, dict(fetch_rows(DAYS, parameters, prepare=False)))
