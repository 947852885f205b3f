"""What happened lately, of all contacts: the first page of the admin."""

import time
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from config.database import fetch_row, fetch_rows
from crm.models import Subscriber
from events.models import VIEW_EVENTS, EventOccurrence, TrackingSwitch
from events.stats.charts import Chart, bar_chart, edges_of, last_days

CHART_DAYS = 30
TOP_KEYS = 10
NEWEST = 10
# More are not looked through: 0.2 s of PostgreSQL, or 0.5 s where the machine is busy.
MAX_OCCURRENCES = 1_000_000
# A costly answer is kept for so many times as long as it took: pages that stay open, however many,
# take a twentieth of one core per worker.
KEPT_FACTOR = 20

# When the occurrence was received that has so many newer ones, counted by ids, which have few gaps.
BOUND = """
SELECT received_at FROM events_eventoccurrence
WHERE id <= (SELECT max(id) FROM events_eventoccurrence) - %(most)s
ORDER BY id DESC LIMIT 1
"""
# One look at the days, by BRIN: as many rows as there are days, and the first keys.
COUNTS = """
WITH counted AS MATERIALIZED (
    SELECT width_bucket(received_at, %(days)s::timestamptz[]) AS day, event_key, count(*) AS number
    FROM events_eventoccurrence WHERE received_at >= %(since)s GROUP BY day, event_key
)
SELECT day, NULL, sum(number)::bigint FROM counted GROUP BY day
UNION ALL
(SELECT NULL, event_key, sum(number)::bigint AS total FROM counted
 GROUP BY event_key ORDER BY total DESC, event_key LIMIT %(limit)s)
"""


class Counts(NamedTuple):
    """Events by the day they were received, the most frequent keys, and what bounds them.

    `since` is when the first of them was received, if there were more in these days than are
    looked through.
    """

    chart: Chart
    keys: list[tuple[str, int]]
    since: datetime | None


class _Kept(NamedTuple):
    until: float
    counts: Counts


_kept: _Kept | None = None


def counts() -> Counts:
    """The events of the last 30 days; an answer that was costly is given for a while."""
    global _kept
    begun = time.monotonic()
    if _kept and begun < _kept.until:
        return _kept.counts
    found = _count(MAX_OCCURRENCES)
    done = time.monotonic()
    _kept = _Kept(done + (done - begun) * KEPT_FACTOR, found)
    return found


def _count(most: int) -> Counts:
    days = last_days(CHART_DAYS)
    edges = edges_of(days)
    bound = fetch_row(BOUND, {"most": most})
    since = bound[0] if bound and bound[0] > edges[0] else None
    parameters = {"days": edges, "since": since or edges[0], "limit": TOP_KEYS}
    rows = fetch_rows(COUNTS, parameters, prepare=False)
    per_day = {day: number for day, _, number in rows if day is not None}
    keys = [(event_key, number) for _, event_key, number in rows if event_key is not None]
    return Counts(bar_chart(days, per_day), keys, since)


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """The template's context: what this user may see of it."""
    shown: dict[str, Any] = {
        "refreshed_at": timezone.now(),
        "is_off": not TrackingSwitch.is_enabled(),
    }
    if user.has_perms(VIEW_EVENTS):
        shown["counts"] = counts()
    if "counts" in shown and user.has_perm("crm.view_subscriber"):
        newest = EventOccurrence.objects.select_related("event", "subscriber").order_by("-id")
        # The value may be long, and is not shown.
        shown["newest"] = list(newest.defer("value", "properties", "context")[:NEWEST])
    if user.has_perm("crm.view_subscriber"):
        shown["contacts"] = list(Subscriber.objects.order_by("-id")[:NEWEST])
    return shown
