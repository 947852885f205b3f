"""Find contacts by their occurrences: how many, what each was sent with, and what came since.

Pruned and imported occurrences are in the counters of events alone.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Count,
    Expression,
    ExpressionWrapper,
    F,
    Func,
    Max,
    Min,
    Q,
    QuerySet,
    TextField,
    Value,
)
from django.db.models.lookups import GreaterThanOrEqual, IsNull, LessThan

from config.api.validation import InvalidValue
from crm.filters.types import Column, Condition, ContactSet, Operator, Statement
from events.filters.counters import by_count
from events.filters.values import KEY_TYPE
from events.filters.windows import check_window, window_start
from events.models import EventOccurrence, TrackedEvent


def occurrences_of_key(condition: Condition) -> QuerySet[EventOccurrence]:
    """Return the occurrences of the condition's key in its window."""
    rows = EventOccurrence.objects.filter(event_key=condition.extra["extra_value"])
    start = window_start(condition)
    return rows.filter(occurred_at__gte=start) if start else rows


def property_at(path: list[str]) -> Expression:
    """Return a property of an occurrence as text: null if there is none, or if it is null."""
    return Func(
        F("properties"),
        Value(path, ArrayField(TextField())),
        template="(%(expressions)s)",
        arg_joiner=" #>> ",
        output_field=TextField(),
    )


def count_within(condition: Condition) -> ContactSet:
    """Match contacts by the number of a key's occurrences in the window."""
    rows = occurrences_of_key(condition).values("subscriber_id")
    number = Count("*", output_field=BigIntegerField())
    return by_count(rows.annotate(number=number), condition)


def latest_property(condition: Condition) -> ContactSet:
    """Match contacts by a property of the latest occurrence of a key."""
    of_key = EventOccurrence.objects.filter(event_key=condition.extra["extra_value"])
    latest = of_key.order_by("subscriber_id", "-occurred_at", "-id").distinct("subscriber_id")
    fits = condition.test(property_at(condition.extra["path"]))
    annotated = latest.annotate(fits=ExpressionWrapper(Q(fits), BooleanField()))

    def all_rows() -> Statement:
        # The index has the latest ids, so that the properties of others are not even read.
        is_latest = Func(
            F("id"),
            ArraySubquery(latest.values("id")),
            template="%(expressions)s)",
            arg_joiner=" = ANY(",
            output_field=BooleanField(),
        )
        rows = of_key.filter(is_latest).filter(fits)
        return rows.values("subscriber_id").query.sql_with_params()

    return ContactSet(annotated, "fits", all_rows=all_rows)


def any_occurrence(column: str) -> Callable[[Condition], ContactSet]:
    """Match contacts with an occurrence of the key in the window whose column matches."""
    return lambda condition: ContactSet(
        occurrences_of_key(condition).filter(condition.test(F(column)))
    )


def any_property(condition: Condition) -> ContactSet:
    """Match contacts with an occurrence of the key in the window whose property matches."""
    matches = condition.test(property_at(condition.extra["path"]))
    return ContactSet(occurrences_of_key(condition).filter(matches))


def is_since(column: Column, _: str) -> Expression:
    """Match a last time at or after `since`, because clocks of programs may have whole seconds."""
    return GreaterThanOrEqual(column, F("since"))


def is_not_since(column: Column, _: str) -> Q:
    """Match no time, or a last time before `since`."""
    return Q(IsNull(column, True)) | Q(LessThan(column, F("since")))


# None is negated, because contacts without the earlier event match neither.
SINCE_OPS = {
    "done": Operator("has done", KEY_TYPE, is_since),
    "not_done": Operator("has not done", KEY_TYPE, is_not_since),
}


def check_since(condition: Condition) -> dict[str, InvalidValue]:
    """Return the errors of a window, and of an event that is compared with itself."""
    if condition.value == condition.extra["extra_value"]:
        message = "The {field} must be another event key than that of the earlier event."
        return {"value": InvalidValue("different", message)}
    return check_window(condition)


def done_since(pick: type[Max | Min]) -> Callable[[Condition], ContactSet]:
    """Match contacts that have, or have not, done a key since the first or last time of another.

    With `same` each value of that property has a first or last time of its own, and only what was
    done with the same value counts. One such value is enough.
    """

    def matching(condition: Condition) -> ContactSet:
        earlier, later = condition.extra["extra_value"], condition.value
        of_keys = {"event_key__in": (earlier, later)}
        rows: QuerySet[Any]
        if "same" in condition.extra:
            rows = EventOccurrence.objects.annotate(same=property_at(condition.extra["same"]))
            rows = rows.filter(same__isnull=False, **of_keys).values("subscriber_id", "same")
            first, last = "occurred_at", "occurred_at"
        else:
            rows = TrackedEvent.objects.filter(**of_keys).values("subscriber_id")
            first, last = "created_at", "updated_at"
        start = window_start(condition)
        if start and pick is Max:
            # What came since the last time is in the window too.
            rows = rows.filter(**{f"{last}__gte": start})
        times = rows.annotate(
            since=pick(last if pick is Max else first, filter=Q(event_key=earlier)),
            done=Max(last, filter=Q(event_key=later)),
        )
        in_window = times.filter(since__gte=start) if start else times.filter(since__isnull=False)
        return ContactSet(in_window.filter(condition.test(F("done"))))

    return matching
