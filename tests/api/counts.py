"""Numbers that the database holds."""

from django.db.models import Sum

from events.models import EventOccurrence, TrackedEvent


def counted() -> tuple[int, int]:
    """Return the sum of all counters and the number of occurrences."""
    total: int = TrackedEvent.objects.aggregate(total=Sum("counter", default=0))["total"]
    return total, EventOccurrence.objects.count()
