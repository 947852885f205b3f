"""What tests of outgoing webhooks share: deliveries, and time that is moved in the database."""

from datetime import timedelta
from itertools import count
from typing import Any

from django.db.models import F

from automations.models import Attempt, Delivery, Endpoint
from automations.webhooks.deliveries import create_delivery

RUNS = count(1)


def deliver_to(url: str, contact_id: int = 1, **data: Any) -> Delivery:
    """Create a delivery of a run of its own."""
    return create_delivery(
        url, "test.happened", data, run_id=next(RUNS), step_id=1, contact_id=contact_id
    )


def let_time_pass(time: timedelta) -> None:
    """Move what lies ahead closer, and what has been farther away."""
    Delivery.objects.update(next_at=F("next_at") - time, created_at=F("created_at") - time)
    Endpoint.objects.update(
        retry_at=F("retry_at") - time,
        failing_since=F("failing_since") - time,
        old_secret_until=F("old_secret_until") - time,
    )


def statuses(delivery: Delivery) -> list[int | None]:
    """Return the statuses of the attempts, in order."""
    attempts = Attempt.objects.filter(delivery=delivery).order_by("number")
    return list(attempts.values_list("http_status", flat=True))
