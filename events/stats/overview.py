"""Summarize the latest events and contacts: the first page of the admin."""

import time
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone
from django.utils.module_loading import import_string

from config.database import fetch_row, fetch_rows
from config.server import daily_backup
from crm.models import Subscriber
from events.history import TITLE
from events.models import VIEW_EVENTS, EventOccurrence, TrackingSwitch
from events.stats.charts import Chart, bar_chart, day_edges, last_days

CHART_DAYS = 30
TOP_KEYS = 10
NEWEST_ROWS = 10
# More occurrences are not counted, because these take 0.2 s, or 0.5 s on a busy machine.
MAX_OCCURRENCES = 1_000_000
# Counts are cached for this number of times as long as they took. So open pages, however many, take
# a twentieth of one core per worker.
CACHE_FACTOR = 20

# When the occurrence was received that has %(most)s newer ones. They are counted in the index,
# because ids have gaps.
BOUND = """
SELECT received_at FROM events_eventoccurrence
WHERE id = (SELECT id FROM events_eventoccurrence ORDER BY id DESC LIMIT 1 OFFSET %(most)s)
"""
# One pass over the days by the BRIN index: a row for each day, and the most frequent keys.
COUNT = """
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
    """Events by the date on which they were received, and the most frequent keys.

    `since` is when the first of them was received, if there are more than MAX_OCCURRENCES.
    """

    chart: Chart
    keys: list[tuple[str, int]]
    since: datetime | None


class _Cached(NamedTuple):
    expires_at: float
    counts: Counts


_cached: _Cached | None = None


def counts() -> Counts:
    """Return the counts of the last 30 days, cached in this process if they were slow."""
    global _cached
    started_at = time.monotonic()
    if _cached and started_at < _cached.expires_at:
        return _cached.counts
    fresh = _count(MAX_OCCURRENCES)
    now = time.monotonic()
    _cached = _Cached(now + (now - started_at) * CACHE_FACTOR, fresh)
    return fresh


def _count(most: int) -> Counts:
    days = last_days(CHART_DAYS)
    edges = day_edges(days)
    bound = fetch_row(BOUND, {"most": most})
    since = bound[0] if bound and bound[0] > edges[0] else None
    parameters = {"days": edges, "since": since or edges[0], "limit": TOP_KEYS}
    rows = fetch_rows(COUNT, parameters, prepare=False)
    per_day = {day: number for day, _, number in rows if day is not None}
    keys = [(event_key, number) for _, event_key, number in rows if event_key is not None]
    return Counts(bar_chart(days, per_day), keys, since)


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """Return the template's context, with what the admin user may see."""
    context: dict[str, Any] = {
        "refreshed_at": timezone.now(),
        "is_off": not TrackingSwitch.is_enabled(),
        "late": import_string(settings.AUTOMATIONS_LATENESS)(),
    }
    if user.is_superuser and settings.BACKUPS:
        context["backup"] = {
            "newest": daily_backup.newest_backup(),
            "late": daily_backup.lateness(),
            "failure": daily_backup.last_failure(),
        }
    if user.has_perms(VIEW_EVENTS):
        context["counts"] = counts()
    if user.has_perm("crm.view_subscriber"):
        if "counts" in context:
            newest = EventOccurrence.objects.select_related("subscriber").annotate(title=TITLE)
            # They may be long, and are not shown.
            newest = newest.defer("value", "properties", "context", "subscriber__custom_values")
            context["newest"] = list(newest.order_by("-id")[:NEWEST_ROWS])
        context["contacts"] = list(Subscriber.objects.order_by("-id")[:NEWEST_ROWS])
    return context
