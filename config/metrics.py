"""Answer /metrics: the requests of all workers and the state of the store, for Prometheus.

docs/reference/metrics.md lists them.
"""

import hmac
import shutil
from collections.abc import Callable, Iterable, Iterator

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from typing_extensions import override

from config import __version__
from config.database import drop_closed_connection, fetch_one, fetch_rows
from config.error_pages import json_error
from config.server.daily_backup import newest_backup
from config.views import require_safe

# What waits is counted up to here, so that a scrape never takes long.
MAX_COUNTED = 10_000
# The number of rows is what autovacuum and ANALYZE last found, and -1 before.
TABLES = """
SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), greatest(c.reltuples, 0)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = current_schema()
ORDER BY 1
"""
DATABASE = """
SELECT pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())
"""


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer 200 with all metrics to the Bearer TALLYBOOK_METRICS_TOKEN, else 401.

    Without that setting the path does not exist. Without the database the response has what does
    not need it, and `tallybook_database_up` is 0.
    """
    token = settings.METRICS_TOKEN
    if not token:
        return json_error(404)
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(credential.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        return json_error(401, **{"WWW-Authenticate": 'Bearer realm="metrics"'})
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type)


def gauge(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels. It has no value if there is none."""
    family = GaugeMetricFamily(f"tallybook_{name}", documentation)
    if value is not None:
        family.add_metric((), value)
    return family


def gauges(
    name: str, documentation: str, label: str, values: Iterable[tuple[str, float]]
) -> GaugeMetricFamily:
    """Return a gauge with one label, whose values come with it."""
    family = GaugeMetricFamily(f"tallybook_{name}", documentation, labels=(label,))
    for of_label, value in values:
        family.add_metric((of_label,), value)
    return family


def bounded_count(query: str) -> int:
    """Return how many rows a query finds, or MAX_COUNTED if it finds more.

    Args:
        query: SQL without parameters, from FROM on.
    """
    counted = f"SELECT count(*) FROM (SELECT {query} LIMIT {MAX_COUNTED}) rows"  # noqa: S608
    count: int = fetch_one(counted, {})[0]
    return count


class _Collector(Collector):
    @override
    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("tallybook", "Tallybook", {"version": __version__})
        yield from _requests()
        yield from _disk()
        try:
            drop_closed_connection()
            found = [*_database()]
            for path in settings.STORE_METRICS:
                store: Callable[[], Iterable[Metric]] = import_string(path)
                found += store()
        except DatabaseError:
            found = []
        is_up = bool(found)
        yield gauge("database_up", "Whether PostgreSQL answers", is_up)
        yield from found


def _requests() -> Iterator[Metric]:
    # Imported here, because its memory is of the web server alone.
    from config.server.metrics import NAMES, PROBES, cumulated, metrics

    requests = CounterMetricFamily(
        "tallybook_requests", "Requests by class of work and status", labels=("work", "status")
    )
    durations = HistogramMetricFamily(
        "tallybook_request_duration_seconds",
        "Seconds from the complete request to its response",
        labels=("work",),
    )
    waiting, answering = [], []
    for name in NAMES:
        figures = metrics.figures(name)
        for status, number in figures.by_status.items():
            requests.add_metric((name, str(status)), number)
        durations.add_metric((name,), cumulated(figures.by_bucket), figures.seconds)
        # Probes wait with tracking.
        if name != PROBES:
            waiting.append((name, figures.waiting))
            answering.append((name, figures.answering))
    yield requests
    yield durations
    yield gauges("requests_waiting", "Requests that wait for a thread", "work", waiting)
    yield gauges("requests_answering", "Requests that are being answered", "work", answering)
    yield gauge("workers", "Web workers that live", metrics.workers())
    yield gauge("start_time_seconds", "When the web server started", metrics.started_at)


def _disk() -> Iterator[Metric]:
    disk = shutil.disk_usage(settings.DATA_DIR)
    yield gauge("disk_bytes", "The size of the disk with the data folder", disk.total)
    yield gauge("disk_free_bytes", "What is free of it", disk.free)
    newest = newest_backup()
    last_backup = newest.timestamp() if newest else None
    yield gauge("last_backup_time_seconds", "When the newest daily backup was made", last_backup)


def _database() -> Iterator[Metric]:
    size, connections = fetch_one(DATABASE, {})
    yield gauge("database_bytes", "The size of the database", size)
    yield gauge("database_connections", "Connections to the database", connections)
    tables = fetch_rows(TABLES, {})
    rows = [(name, number) for name, _, _, number in tables]
    yield gauges("table_rows", "Rows of a table, as ANALYZE has estimated them", "table", rows)
    sizes = GaugeMetricFamily(
        "tallybook_table_bytes", "The disk of a table", labels=("table", "part")
    )
    for name, rows_size, indexes_size, _ in tables:
        sizes.add_metric((name, "rows"), rows_size)
        sizes.add_metric((name, "indexes"), indexes_size)
    yield sizes
