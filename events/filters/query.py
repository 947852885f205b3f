"""The list's query parameters about events: `?event_key=checkout&event_count_min=3`."""

from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Count, F, Q, QuerySet, Sum
from django.utils import timezone

from config.api.validation import InvalidValue, parse_age, single_line, to_text
from crm.filters import ContactSet
from crm.filters.operators import contains_casefolded, to_date_or_datetime, to_whole_number
from crm.filters.query import QueryFilter, QueryFilterSet
from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent


def to_min_count(value: Any) -> int:
    """How often at least. Raises Wrong."""
    found = to_whole_number(value)
    if found < 1:
        raise InvalidValue("min", "The {field} must be at least 1.")
    return found


def to_since(value: Any) -> datetime | None:
    """`30d`, `12h` or `3w` ago, or a date or a time. Raises Wrong."""
    try:
        return timezone.now() - parse_age(to_text(value))
    except ValueError:
        return to_date_or_datetime(value)


class EventQueryFilterSet(QueryFilterSet):
    """Contacts with events that all of these are true of."""

    event_key = QueryFilter(single_line(192), "Contacts with this event.")
    event_count_min = QueryFilter(
        to_min_count,
        "So often at least: the events' counters together, or with event_since, since then.",
    )
    event_since = QueryFilter(to_since, "Since 30d, 12h, 3w ago, or since a date or a time.")
    event_provider = QueryFilter(single_line(50), "Of events that this program sent first.")
    event_value_contains = QueryFilter(to_text, "Of events with this in their last value.")

    def filter_queryset(self, queryset: QuerySet[Subscriber]) -> QuerySet[Subscriber]:
        """All of them speak of the same events, so they are one condition."""
        asked = self.form.cleaned_data
        of_key = Q(event_key=asked["event_key"]) if asked["event_key"] else Q()
        conditions = Q()
        if asked["event_provider"]:
            conditions &= Q(provider=asked["event_provider"])
        if asked["event_value_contains"]:
            conditions &= Q(contains_casefolded(F("value"), asked["event_value_contains"]))
        events = TrackedEvent.objects.filter(of_key, conditions)
        least, begin = asked["event_count_min"] or 1, asked["event_since"]
        if least == 1:
            found = events.filter(updated_at__gte=begin) if begin else events
            return queryset.filter(ContactSet(found).q())
        if begin is None:
            number: Sum | Count = Sum("counter")
            rows: QuerySet[Any] = events
        else:
            number = Count("*", output_field=BigIntegerField())
            rows = EventOccurrence.objects.filter(of_key, occurred_at__gte=begin)
            if conditions:
                rows = rows.filter(event_id__in=events.values("id"))
        counted = rows.values("subscriber_id").annotate(number=number)
        return queryset.filter(ContactSet(counted.filter(number__gte=least)).q())
