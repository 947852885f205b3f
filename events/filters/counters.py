"""Find contacts by their events: keys, titles, counters, and the first and last time.

The rows of events know what the log of occurrences does not: what was pruned and imported.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Expression, F, Max, Min, Q, QuerySet, Sum
from django.db.models.lookups import GreaterThanOrEqual, LessThan

from crm.filters.operators import HOURS_TYPE, days_ago, hours_ago, start_of_day
from crm.filters.types import Column, Condition, ContactSet, Operator, Statement
from events.filters.windows import window_start
from events.models import TrackedEvent

# Each comparison in Python, for contacts without rows, whose number is zero. `!=` is negated `=`.
PYTHON_OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


# Titles are few where events are many. So the first 10,000 of them are read with a look into the
# index for each, and tested. Then the index has the events of those that match. The events of all
# later titles are tested one by one.
TITLE = '"events_trackedevent"."title"'
OF_TITLES = """
WITH RECURSIVE kind AS (
    (SELECT provider, title, 1 AS number FROM events_trackedevent ORDER BY provider, title LIMIT 1)
    UNION ALL
    SELECT following.*, number + 1 FROM kind CROSS JOIN LATERAL (
        SELECT provider, title FROM events_trackedevent
        WHERE (provider, title) > (kind.provider, kind.title) ORDER BY provider, title LIMIT 1
    ) following
    WHERE number < 10000
)
SELECT subscriber_id FROM events_trackedevent
-- Arrays, because the planner expects few rows of a join with so few titles.
WHERE provider = ANY (ARRAY(SELECT DISTINCT provider FROM kind))
    AND title = ANY (ARRAY(SELECT DISTINCT title FROM kind WHERE {test}))
UNION ALL
SELECT subscriber_id FROM events_trackedevent
WHERE (provider, title) > (SELECT provider, title FROM kind WHERE number = 10000) AND {test}
"""


def events_of_key(condition: Condition) -> QuerySet[TrackedEvent]:
    """Return the events of the condition's key."""
    return TrackedEvent.objects.filter(event_key=condition.extra["extra_value"])


def any_event(column: str) -> Callable[[Condition], ContactSet]:
    """Match contacts with an event of any key whose column matches."""
    return lambda condition: ContactSet(TrackedEvent.objects.filter(condition.test(F(column))))


def any_title(condition: Condition) -> ContactSet:
    """Match contacts with an event of any key whose title matches."""
    rows = TrackedEvent.objects.filter(condition.test(F("title")))

    def all_rows() -> Statement:
        compiler = rows.query.get_compiler("default")
        test, parameters = compiler.compile(rows.query.where)
        return OF_TITLES.format(test=test.replace(TITLE, "title")), (*parameters, *parameters)

    return ContactSet(rows, all_rows=all_rows)


def any_event_of_key(column: str) -> Callable[[Condition], ContactSet]:
    """Match contacts with an event of the key whose column matches."""
    return lambda condition: ContactSet(events_of_key(condition).filter(condition.test(F(column))))


def title_of_key(condition: Condition) -> ContactSet:
    """Match contacts with an occurrence of the key in the window whose title matches.

    The last time of an event tells whether one of its occurrences is in the window.
    """
    rows = events_of_key(condition)
    if start := window_start(condition):
        rows = rows.filter(updated_at__gte=start)
    return ContactSet(rows.filter(condition.test(F("title"))))


def by_count(rows: QuerySet[Any], condition: Condition) -> ContactSet:
    """Match contacts whose `number` matches, which is zero for contacts without rows."""
    matches = Q(condition.test(F("number")))
    if PYTHON_OPERATORS[condition.operator_name](0, condition.value):
        return ContactSet(rows.filter(~matches), negated=True)
    return ContactSet(rows.filter(matches))


def total_count(condition: Condition) -> ContactSet:
    """Match contacts by the sum of a key's counters over all titles."""
    rows = events_of_key(condition).values("subscriber_id")
    return by_count(rows.annotate(number=Sum("counter")), condition)


def first_or_last_seen(aggregate: Max | Min) -> Callable[[Condition], ContactSet]:
    """Match contacts by the first or last occurrence of a key; those without events never."""

    def matching(condition: Condition) -> ContactSet:
        rows = events_of_key(condition).values("subscriber_id").annotate(time=aggregate)
        return ContactSet(rows.filter(condition.test(F("time"))))

    return matching


def on_or_after_day(column: Column, number: int) -> Expression:
    """Match datetimes since the start of the date that number of days ago, as `count_within`."""
    return GreaterThanOrEqual(column, start_of_day(days_ago(number)))


def since_hours(column: Column, number: int) -> Expression:
    """Match datetimes in the last hours, and those of a clock that runs ahead."""
    return GreaterThanOrEqual(column, hours_ago(number))


def before_hours(column: Column, number: int) -> Expression:
    """Match datetimes before the last hours."""
    return LessThan(column, hours_ago(number))


HOURS_OPS = {
    "hours_before": Operator("before hours", HOURS_TYPE, before_hours),
    "hours_within": Operator("within hours", HOURS_TYPE, since_hours),
}
