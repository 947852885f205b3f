"""Return the metrics of automations and webhooks."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from automations.models import DeliveryStatus
from config.database import fetch_one
from config.metrics import bounded_count, gauge, gauges

SEEN = """
SELECT EXTRACT(EPOCH FROM clock_timestamp() - max(seen_at)) FROM automations_heartbeat
"""
OVERDUE = """
FROM automations_automation automation
CROSS JOIN LATERAL (
    SELECT FROM automations_run
    WHERE automation_id = automation.id AND status = 'active' AND due_at < clock_timestamp()
) run
WHERE status = 'published'
"""
# Why deliveries may wait, and which need an admin user.
WAITING = (DeliveryStatus.PENDING, DeliveryStatus.HELD)


def metrics() -> Iterator[Metric]:
    """Return the metrics."""
    (seconds,) = fetch_one(SEEN, {})
    last_seen = None if seconds is None else float(seconds)
    yield gauge("automations_idle_seconds", "Since a process last ran automations", last_seen)
    overdue = bounded_count(OVERDUE)
    yield gauge("automations_runs_overdue", "Runs whose next step is due", overdue)
    deliveries = [
        (status.value, bounded_count(f"FROM automations_delivery WHERE status = '{status}'"))
        for status in WAITING
    ]
    yield gauges("webhook_deliveries", "Deliveries that are not done", "status", deliveries)
