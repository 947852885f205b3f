"""What filters can ask of a contact's events: FluentCRM's provider `event_tracking`, and more.

Event keys and providers compare exactly, because an index depends on it.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

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
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    LessThan,
)

from config.api.json_fields import MAX_JSON_DEPTH
from config.api.validation import WHITESPACE, InvalidValue, single_line
from crm.filters import Column, Condition, ContactSet, Operator, Property, Provider, ValueType
from crm.filters.operators import (
    COMPARISONS,
    CONTAINS_OPS,
    DATETIME_OPS,
    DAYS_TYPE,
    NUMBER_TYPE,
    NumericCast,
    comparison_ops,
    days_ago,
    equality_ops,
    equals_casefolded,
    in_exact,
    in_ops,
    is_not_null,
    non_empty_list,
    start_of_day,
    to_number,
    to_scalar,
)
from events.filters.options import KNOWN_KEYS, LATEST_PROVIDERS
from events.models import EventOccurrence, TrackedEvent


def to_event_line(value: Any) -> str:
    """A text, folded and cut as keys and titles are where they are stored. Raises Wrong."""
    return single_line(192)(to_scalar(value))


def to_stored_text(value: Any) -> str:
    """A text without the white space around it, as values are stored. Raises Wrong."""
    return to_scalar(value).strip(WHITESPACE)


KEY = ValueType("event key", to_event_line)
TITLE = ValueType("text", to_event_line)
STORED_TEXT = ValueType("text", to_stored_text)
KEYS = ValueType("event keys", non_empty_list(to_event_line))
PROVIDERS = ValueType("providers", non_empty_list(lambda value: single_line(50)(to_scalar(value))))
FOR_KEY = {"extra_value": KEY}
# Each comparison in Python, for contacts who have no row to compare: their number is zero. `!=` is
# "not =".
PYTHON_OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def greater_number(column: Column, value: Any) -> Expression:
    """A greater number; what is no number is not."""
    return GreaterThan(NumericCast(column), value)


def less_number(column: Column, value: Any) -> Expression:
    """A smaller number; what is no number is not."""
    return LessThan(NumericCast(column), value)


def events_of_key(condition: Condition) -> QuerySet[TrackedEvent]:
    """The events that the condition is about."""
    return TrackedEvent.objects.filter(event_key=condition.extra["extra_value"])


def any_event(column: str) -> Callable[[Condition], ContactSet]:
    """Contacts with an event of any key whose `column` fits."""
    return lambda condition: ContactSet(TrackedEvent.objects.filter(condition.test(F(column))))


def any_event_of_key(column: str) -> Callable[[Condition], ContactSet]:
    """Contacts with an event of the key whose `column` fits."""
    return lambda condition: ContactSet(events_of_key(condition).filter(condition.test(F(column))))


def by_count(numbers: QuerySet[Any], condition: Condition) -> ContactSet:
    """Contacts whose `number` fits; who has no row has zero."""
    fits = Q(condition.test(F("number")))
    if PYTHON_OPERATORS[condition.name](0, condition.value):
        return ContactSet(numbers.filter(~fits), negated=True)
    return ContactSet(numbers.filter(fits))


def total_count(condition: Condition) -> ContactSet:
    """Contacts by the sum of a key's counters over all its titles."""
    rows = events_of_key(condition).values("subscriber_id")
    return by_count(rows.annotate(number=Sum("counter")), condition)


def count_within(condition: Condition) -> ContactSet:
    """Contacts by how often a key occurred in the last days."""
    rows = EventOccurrence.objects.filter(
        event_key=condition.extra["extra_value"],
        occurred_at__gte=start_of_day(days_ago(condition.extra["within_days"])),
    ).values("subscriber_id")
    return by_count(rows.annotate(number=Count("*", output_field=BigIntegerField())), condition)


def first_or_last_seen(when: Max | Min) -> Callable[[Condition], ContactSet]:
    """Contacts by a time of a key's events; who has none is not found."""

    def matching(condition: Condition) -> ContactSet:
        times = events_of_key(condition).values("subscriber_id").annotate(time=when)
        return ContactSet(times.filter(condition.test(F("time"))))

    return matching


def to_path(value: Any) -> list[str]:
    """`a.b` as the keys it is made of. Raises Wrong."""
    parts = to_scalar(value).split(".")
    if parts == [""]:
        return []
    if "" in parts or len(parts) > MAX_JSON_DEPTH:
        raise InvalidValue(
            "path", "The {field} must be keys with dots between them, such as order.total."
        )
    return parts


def to_number_or_text(value: Any) -> Any:
    """A JSON number as a number; a text, true and false as they are written. Raises Wrong."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return to_number(value) if isinstance(value, int | float) else to_scalar(value)


def equal_value(column: Column, value: Any) -> Expression:
    """The same text, or the same number however it is written."""
    return (
        equals_casefolded(column, value)
        if isinstance(value, str)
        else Exact(NumericCast(column), value)
    )


def latest_property(condition: Condition) -> ContactSet:
    """Contacts by a property of the latest occurrence of a key."""
    keys = Value(condition.extra["path"], ArrayField(TextField()))
    found = Func(
        F("properties"),
        keys,
        template="(%(expressions)s)",
        arg_joiner=" #>> ",
        output_field=TextField(),
    )
    latest = (
        EventOccurrence.objects.filter(event_key=condition.extra["extra_value"])
        .order_by("subscriber_id", "-occurred_at", "-id")
        .distinct("subscriber_id")
        .annotate(fits=ExpressionWrapper(Q(condition.test(found)), BooleanField()))
    )
    return ContactSet(latest, "fits")


VALUE = ValueType("text or number", to_number_or_text)
PATH = ValueType("path", to_path)
AJAX = {"component": "ajax_selector", "is_multiple": True}
COMPOSITE = {
    "type": "composite_optioned_compare",
    "ajax_selector": {
        "label": "For Event Key",
        "option_key": "event_tracking_keys",
        "is_multiple": False,
        "placeholder": "Select Event Key",
    },
}
NUMBER_INPUT = {"type": "input_text", "data_type": "number"}
OF_KEY = {"extra_value": KNOWN_KEYS}

EVENT_TRACKING = Provider(
    "Event Tracking",
    {
        "event_tracking_key": Property(
            "Event Key",
            in_ops(KEYS, in_exact),
            any_event("event_key"),
            choices={"value": KNOWN_KEYS},
            about={
                "type": "selections",
                **AJAX,
                "option_key": "event_tracking_keys",
                "help": "Contacts with any of these events.",
            },
        ),
        "event_tracking_key_count": Property(
            "Event Occurrence Count",
            comparison_ops(">", "<"),
            any_event_of_key("counter"),
            needs=FOR_KEY,
            choices=OF_KEY,
            about={
                **COMPOSITE,
                "value_config": {"label": "Event Count", **NUMBER_INPUT},
                "help": "The count of one event of the key: each title counts by itself.",
            },
        ),
        "event_tracking_value": Property(
            "Event Value",
            equality_ops(STORED_TEXT)
            | CONTAINS_OPS
            | {
                ">": Operator("greater than", NUMBER_TYPE, greater_number),
                "<": Operator("less than", NUMBER_TYPE, less_number),
            },
            any_event_of_key("value"),
            needs=FOR_KEY,
            choices=OF_KEY,
            about={
                **COMPOSITE,
                "value_config": {"label": "Compare Value", "type": "input_text"},
                "help": "The last value of an event of the key.",
            },
        ),
        "event_tracking_title": Property(
            "Event Title",
            equality_ops(TITLE) | CONTAINS_OPS,
            any_event("title"),
            about={"type": "text", "help": "The title of any event."},
        ),
        "event_tracking_total": Property(
            "Event Total",
            comparison_ops(*COMPARISONS),
            total_count,
            needs=FOR_KEY,
            choices=OF_KEY,
            about={
                **COMPOSITE,
                "value_config": {"label": "Event Total", **NUMBER_INPUT},
                "help": "How often in all, over all titles of the key; 0 is never.",
            },
        ),
        "event_tracking_count_within": Property(
            "Event Count Within Days",
            comparison_ops(*COMPARISONS),
            count_within,
            needs={**FOR_KEY, "within_days": DAYS_TYPE},
            choices=OF_KEY,
            about={
                **COMPOSITE,
                "value_config": {"label": "Event Count", **NUMBER_INPUT},
                "help": "How often in the last days, by the log of occurrences; 0 is not once.",
            },
        ),
        "event_tracking_first_seen": Property(
            "Event First Seen",
            DATETIME_OPS,
            first_or_last_seen(Min("created_at")),
            needs=FOR_KEY,
            choices=OF_KEY,
            about={**COMPOSITE, "value_config": {"label": "First Seen", "type": "dates"}},
        ),
        "event_tracking_last_seen": Property(
            "Event Last Seen",
            DATETIME_OPS,
            first_or_last_seen(Max("updated_at")),
            needs=FOR_KEY,
            choices=OF_KEY,
            about={**COMPOSITE, "value_config": {"label": "Last Seen", "type": "dates"}},
        ),
        "event_tracking_provider": Property(
            "Event Provider",
            in_ops(PROVIDERS, in_exact),
            any_event("provider"),
            choices={"value": LATEST_PROVIDERS},
            about={
                "type": "selections",
                **AJAX,
                "option_key": "event_tracking_providers",
                "help": "Contacts with an event that one of these programs sent first.",
            },
        ),
        "event_tracking_property": Property(
            "Event Property",
            {
                "=": Operator("equal", VALUE, equal_value),
                "!=": Operator("does not equal", VALUE, equal_value, negated=True),
                ">": Operator("greater than", NUMBER_TYPE, greater_number),
                "<": Operator("less than", NUMBER_TYPE, less_number),
                "contains": CONTAINS_OPS["contains"],
                "exists": Operator("exists", None, is_not_null),
            },
            latest_property,
            needs={**FOR_KEY, "path": PATH},
            choices=OF_KEY,
            about={
                **COMPOSITE,
                "value_config": {"label": "Compare Value", "type": "input_text"},
                "help": "A property of the latest occurrence of the key, by its path: order.total.",
            },
        ),
    },
)
