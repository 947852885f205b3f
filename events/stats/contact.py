"""What one contact did, summed up: the figures of the contact's page in the admin."""

from datetime import datetime
from typing import NamedTuple

from config.database import fetch_one, fetch_rows
from events.stats.charts import Chart, bar_chart, edges_of, last_days

CHART_DAYS = 90
TOP_KEYS = 8
# What a filter offers; a contact with more keys is asked by address.
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
    """An event key of the contact: how often in all, and when last."""

    event_key: str
    total: int
    last_seen: datetime


class ContactStats(NamedTuple):
    """A contact's events in figures; the times are None where there are none.

    `unlogged` of the total have no occurrence: they were imported, or pruned.
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
    """The figures of a contact, in three statements."""
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
        chart_of(contact_id),
    )


def chart_of(contact_id: int) -> Chart:
    """The contact's occurrences of the last 90 days; later ones are not in it."""
    days = last_days(CHART_DAYS)
    edges = edges_of(days)
    parameters = {"contact": contact_id, "days": edges, "since": edges[0]}
    return bar_chart(days, dict(fetch_rows(DAYS, parameters, prepare=False)))
