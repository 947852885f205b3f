"""Filter contacts by query parameters about events: `?event_key=checkout&event_since=30d`."""

from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Count, F, Q, QuerySet, Sum
from django.utils import timezone
from typing_extensions import override

from config.api.validation import MAX_NAME_LENGTH, InvalidValue, parse_age, single_line, to_text
from crm.filters.operators import contains_casefolded, to_date_or_datetime, to_whole_number
from crm.filters.query import QueryFilter, QueryFilterSet
from crm.filters.types import ContactSet
from crm.models import Subscriber
from events.models import VIEW_EVENTS, EventOccurrence, TrackedEvent
from events.tracking.fields import MAX_PROVIDER_LENGTH


def to_min_count(value: Any) -> int:
    """Convert to a whole number from 1."""
    number = to_whole_number(value)
    if number < 1:
        raise InvalidValue("min", "The {field} must be at least 1.")
    return number


def to_since(value: Any) -> datetime | None:
    """Convert an age such as `30d`, a date, or a datetime, to a datetime."""
    try:
        return timezone.now() - parse_age(to_text(value))
    except ValueError:
        return to_date_or_datetime(value)


class EventQueryFilterSet(QueryFilterSet):
    """Query parameters about events: contacts with events that match all of them."""

    prefixes = ("event",)
    permissions = VIEW_EVENTS
    event_key = QueryFilter(single_line(MAX_NAME_LENGTH), "Contacts with an event of this key.")
    event_count_min = QueryFilter(
        to_min_count,
        "Minimum total count of matching events, or of their occurrences after event_since.",
    )
    event_since = QueryFilter(
        to_since, "Only events since 30d, 12h or 3w ago, or since a date or a datetime."
    )
    event_provider = QueryFilter(
        single_line(MAX_PROVIDER_LENGTH), "Only events that this program sent first."
    )
    event_value_contains = QueryFilter(to_text, "Only events with this text in their last value.")

    # One condition for all parameters, because they are about the same events.
    @override
    def filter_queryset(self, queryset: QuerySet[Subscriber]) -> QuerySet[Subscriber]:
        params = self.form.cleaned_data
        of_key = Q(event_key=params["event_key"]) if params["event_key"] else Q()
        conditions = Q()
        if params["event_provider"]:
            conditions &= Q(provider=params["event_provider"])
        if params["event_value_contains"]:
            conditions &= Q(contains_casefolded(F("value"), params["event_value_contains"]))
        events = TrackedEvent.objects.filter(of_key, conditions)
        min_count, since = params["event_count_min"] or 1, params["event_since"]
        if min_count == 1:
            matching = events.filter(updated_at__gte=since) if since else events
            return queryset.filter(ContactSet(matching).q())
        if since is None:
            number: Sum | Count = Sum("counter")
            rows: QuerySet[Any] = events
        else:
            number = Count("*", output_field=BigIntegerField())
            rows = EventOccurrence.objects.filter(of_key, occurred_at__gte=since)
            if conditions:
                rows = rows.filter(event_id__in=events.values("id"))
        counted = rows.values("subscriber_id").annotate(number=number)
        return queryset.filter(ContactSet(counted.filter(number__gte=min_count)).q())
