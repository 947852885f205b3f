"""Return the metrics of jobs and of the outbox."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from config.database import fetch_one, fetch_rows
from config.metrics import bounded_count, gauge, gauges

JOBS = """
SELECT state, count(job.id)
FROM unnest(ARRAY['waiting', 'running']) state LEFT JOIN crm_job job USING (state)
WHERE job.id IS NULL OR job.state IN ('waiting', 'running')
GROUP BY state
"""
OLDEST = """
SELECT COALESCE(EXTRACT(EPOCH FROM clock_timestamp()
                        - (SELECT created_at FROM crm_outboxentry ORDER BY id LIMIT 1)), 0)
"""


def metrics() -> Iterator[Metric]:
    """Return the metrics."""
    yield gauges("jobs", "Jobs that wait or run", "state", fetch_rows(JOBS, {}))
    entries = bounded_count("FROM crm_outboxentry")
    yield gauge("outbox_entries", "Changes that automations have not acted on yet", entries)
    (oldest,) = fetch_one(OLDEST, {})
    yield gauge("outbox_oldest_seconds", "How long the oldest of them waits", float(oldest))
