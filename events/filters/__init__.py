"""Filter contacts by their events: FluentCRM's provider `event_tracking`, and Tallybook's more.

Event keys and providers compare exactly, because an index depends on it. See FluentCRM's
app/Hooks/Handlers/EventTrackingHandler.php, applyEventTrackingFilter.
"""

import operator
from collections.abc import Callable, Mapping
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
    Sum,
    TextField,
    Value,
)
from django.db.models.lookups import GreaterThanOrEqual

from config.api.json_fields import MAX_JSON_DEPTH
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, single_line
from crm.filters.operators import (
    COMPARISONS,
    CONTAINS_OPS,
    DATETIME_OPS,
    DAYS_TYPE,
    NUMBER_OPS,
    comparison_ops,
    days_ago,
    equality_ops,
    in_exact,
    in_ops,
    is_not_null,
    non_empty_list,
    start_of_day,
    to_scalar,
)
from crm.filters.types import (
    Column,
    Condition,
    ContactSet,
    Need,
    Operator,
    Property,
    Provider,
    Statement,
    ValueType,
)
from events.filters.options import EVENT_KEYS, EVENT_PROVIDERS
from events.filters.values import NUMBER_OR_TEXT_TYPE, VALUE_TYPE, equal_ops
from events.models import VIEW_EVENTS, EventOccurrence, TrackedEvent
from events.tracking.fields import MAX_PROVIDER_LENGTH


def to_event_line(value: Any) -> str:
    """Convert to a line that is folded and cut as stored keys and titles are."""
    return single_line(MAX_NAME_LENGTH)(to_scalar(value))


def to_provider(value: Any) -> str:
    """Convert to a line that is folded and cut as stored providers are."""
    return single_line(MAX_PROVIDER_LENGTH)(to_scalar(value))


def to_path(value: Any) -> list[str]:
    """Split a path into its keys: `order.total` is `["order", "total"]`."""
    keys = to_scalar(value).split(".")
    if keys == [""]:
        return []
    if "" in keys or len(keys) > MAX_JSON_DEPTH:
        message = "The {field} must be keys with dots between them, such as order.total."
        raise InvalidValue("path", message)
    return keys


KEY_TYPE = ValueType("event key", to_event_line)
KEYS_TYPE = ValueType("event keys", non_empty_list(to_event_line))
PROVIDERS_TYPE = ValueType("providers", non_empty_list(to_provider))
LINE_TYPE = ValueType("text", to_event_line)
PATH_TYPE = ValueType("path", to_path)

OF_KEY = {"extra_value": Need(KEY_TYPE, "of {}", "event key")}
THE_KEY = {"extra_value": Need(KEY_TYPE, "{}", "event key")}
WITHIN_DAYS = Need(DAYS_TYPE, "in {} days", "number of days", is_quoted=False)
AT_PATH = Need(PATH_TYPE, "at {}", "path")
KEY_CHOICES = {"extra_value": EVENT_KEYS}

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


def count_within(condition: Condition) -> ContactSet:
    """Match contacts by the number of a key's occurrences in the last days."""
    rows = EventOccurrence.objects.filter(
        event_key=condition.extra["extra_value"],
        occurred_at__gte=start_of_day(days_ago(condition.extra["within_days"])),
    ).values("subscriber_id")
    number = Count("*", output_field=BigIntegerField())
    return by_count(rows.annotate(number=number), condition)


def first_or_last_seen(aggregate: Max | Min) -> Callable[[Condition], ContactSet]:
    """Match contacts by the first or last occurrence of a key; those without events never."""

    def matching(condition: Condition) -> ContactSet:
        rows = events_of_key(condition).values("subscriber_id").annotate(time=aggregate)
        return ContactSet(rows.filter(condition.test(F("time"))))

    return matching


def on_or_after_day(column: Column, number: int) -> Expression:
    """Match datetimes since the start of the date that number of days ago, as `count_within`."""
    return GreaterThanOrEqual(column, start_of_day(days_ago(number)))


def latest_property(condition: Condition) -> ContactSet:
    """Match contacts by a property of the latest occurrence of a key."""
    value = Func(
        F("properties"),
        Value(condition.extra["path"], ArrayField(TextField())),
        template="(%(expressions)s)",
        arg_joiner=" #>> ",
        output_field=TextField(),
    )
    of_key = EventOccurrence.objects.filter(event_key=condition.extra["extra_value"])
    latest = of_key.order_by("subscriber_id", "-occurred_at", "-id").distinct("subscriber_id")
    fits = condition.test(value)
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


AJAX_SELECTOR = {"component": "ajax_selector", "is_multiple": True}
WITH_KEY_SELECTOR = {
    "type": "composite_optioned_compare",
    "ajax_selector": {
        "label": "For Event Key",
        "option_key": "event_tracking_keys",
        "is_multiple": False,
        "placeholder": "Select Event Key",
    },
}
NUMBER_INPUT = {"type": "input_text", "data_type": "number"}

EVENT_TRACKING = Provider(
    "Event Tracking",
    {
        "event_tracking_key": Property(
            "Event Key",
            in_ops(KEYS_TYPE, in_exact),
            any_event("event_key"),
            choices={"value": EVENT_KEYS},
            options={
                "type": "selections",
                **AJAX_SELECTOR,
                "option_key": "event_tracking_keys",
                "help": "Contacts with any of these events.",
            },
        ),
        "event_tracking_key_count": Property(
            "Event Occurrence Count",
            comparison_ops(">", "<"),
            any_event_of_key("counter"),
            needs=OF_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Event Count", **NUMBER_INPUT},
                "help": "The count of one event of the key: each title counts by itself.",
            },
        ),
        "event_tracking_value": Property(
            "Event Value",
            equal_ops(VALUE_TYPE) | CONTAINS_OPS | NUMBER_OPS,
            any_event_of_key("value"),
            needs=OF_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Compare Value", "type": "input_text"},
                "help": "The last value of an event of the key.",
            },
        ),
        "event_tracking_title": Property(
            "Event Title",
            equality_ops(LINE_TYPE) | CONTAINS_OPS,
            any_title,
            options={"type": "text", "help": "The title of any event."},
        ),
        "event_tracking_total": Property(
            "Event Total",
            comparison_ops(*COMPARISONS),
            total_count,
            needs=OF_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Event Total", **NUMBER_INPUT},
                "help": "How often in all, over all titles of the key; 0 is never.",
            },
        ),
        "event_tracking_count_within": Property(
            "Event Count Within Days",
            comparison_ops(*COMPARISONS),
            count_within,
            needs={**OF_KEY, "within_days": WITHIN_DAYS},
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Event Count", **NUMBER_INPUT},
                "help": "How often in the last days, by the log of occurrences; 0 is not once.",
            },
        ),
        "event_tracking_first_seen": Property(
            "Event First Seen",
            DATETIME_OPS,
            first_or_last_seen(Min("created_at")),
            needs=OF_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "First Seen", "type": "dates"},
                "help": "The first time of the key. Contacts that never did it are not in it.",
            },
        ),
        "event_tracking_last_seen": Property(
            "Event Last Seen",
            DATETIME_OPS,
            first_or_last_seen(Max("updated_at")),
            needs=OF_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Last Seen", "type": "dates"},
                "help": "The last time of the key. Contacts that never did it are not in it: for "
                "those, use Has Not Done Event.",
            },
        ),
        "event_tracking_not_done": Property(
            "Has Not Done Event",
            {"days_within": Operator("within days", DAYS_TYPE, on_or_after_day, negated=True)},
            any_event_of_key("updated_at"),
            needs=THE_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Days", **NUMBER_INPUT},
                "help": "Not once in the last days. Contacts that never did it are in it.",
            },
        ),
        "event_tracking_provider": Property(
            "Event Provider",
            in_ops(PROVIDERS_TYPE, in_exact),
            any_event("provider"),
            choices={"value": EVENT_PROVIDERS},
            options={
                "type": "selections",
                **AJAX_SELECTOR,
                "option_key": "event_tracking_providers",
                "help": "Contacts with an event that one of these programs sent first.",
            },
        ),
        "event_tracking_property": Property(
            "Event Property",
            {
                **equal_ops(NUMBER_OR_TEXT_TYPE),
                **NUMBER_OPS,
                "contains": CONTAINS_OPS["contains"],
                "exists": Operator("exists", None, is_not_null),
            },
            latest_property,
            needs={**OF_KEY, "path": AT_PATH},
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Compare Value", "type": "input_text"},
                "help": "A property of the latest occurrence of the key, by its path: order.total.",
            },
        ),
    },
    VIEW_EVENTS,
)
