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

from config.api.json_fields import DEEPEST_JSON
from config.api.validation import BLANKS, Wrong, line
from crm.filters import Among, Column, Condition, Operator, Property, Provider, ValueType
from crm.filters.operators import (
    COMPARISONS,
    DAYS_NUMBER,
    INCLUSION,
    NUMERIC,
    TIMES,
    Number,
    choices,
    comparisons,
    days_ago,
    equal,
    equality,
    exactly,
    list_of,
    number,
    present,
    scalar,
    start_of_day,
)
from events.filters.options import KNOWN_KEYS, LATEST_PROVIDERS
from events.models import EventOccurrence, TrackedEvent


def short_line(value: Any) -> str:
    """A text, folded and cut as keys and titles are where they are stored. Raises Wrong."""
    return line(192)(scalar(value))


def stored_text(value: Any) -> str:
    """A text without the white space around it, as values are stored. Raises Wrong."""
    return scalar(value).strip(BLANKS)


KEY = ValueType("event key", short_line)
TITLE = ValueType("text", short_line)
STORED_TEXT = ValueType("text", stored_text)
KEYS = ValueType("event keys", list_of(short_line))
PROVIDERS = ValueType("providers", list_of(lambda value: line(50)(scalar(value))))
FOR_KEY = {"extra_value": KEY}
# Each comparison in Python, for contacts who have no row to compare: their number is zero. `!=` is
# "not =".
IN_PYTHON: Mapping[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "!=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def greater(column: Column, value: Any) -> Expression:
    """A greater number; what is no number is not."""
    return GreaterThan(Number(column), value)


def less(column: Column, value: Any) -> Expression:
    """A smaller number; what is no number is not."""
    return LessThan(Number(column), value)


def events_of_key(condition: Condition) -> QuerySet[TrackedEvent]:
    """The events that the condition is about."""
    return TrackedEvent.objects.filter(event_key=condition.extra["extra_value"])


def any_event(column: str) -> Callable[[Condition], Among]:
    """Contacts with an event of any key whose `column` fits."""
    return lambda condition: Among(TrackedEvent.objects.filter(condition.test(F(column))))


def any_event_of_key(column: str) -> Callable[[Condition], Among]:
    """Contacts with an event of the key whose `column` fits."""
    return lambda condition: Among(events_of_key(condition).filter(condition.test(F(column))))


def counted(numbers: QuerySet[Any], condition: Condition) -> Among:
    """Contacts whose `number` fits; who has no row has zero."""
    fits = Q(condition.test(F("number")))
    if IN_PYTHON[condition.name](0, condition.value):
        return Among(numbers.filter(~fits), negated=True)
    return Among(numbers.filter(fits))


def total(condition: Condition) -> Among:
    """Contacts by the sum of a key's counters over all its titles."""
    rows = events_of_key(condition).values("subscriber_id")
    return counted(rows.annotate(number=Sum("counter")), condition)


def count_within(condition: Condition) -> Among:
    """Contacts by how often a key occurred in the last days."""
    rows = EventOccurrence.objects.filter(
        event_key=condition.extra["extra_value"],
        occurred_at__gte=start_of_day(days_ago(condition.extra["within_days"])),
    ).values("subscriber_id")
    return counted(rows.annotate(number=Count("*", output_field=BigIntegerField())), condition)


def seen(when: Max | Min) -> Callable[[Condition], Among]:
    """Contacts by a time of a key's events; who has none is not found."""

    def matching(condition: Condition) -> Among:
        times = events_of_key(condition).values("subscriber_id").annotate(time=when)
        return Among(times.filter(condition.test(F("time"))))

    return matching


def path(value: Any) -> list[str]:
    """`a.b` as the keys it is made of. Raises Wrong."""
    parts = scalar(value).split(".")
    if parts == [""]:
        return []
    if "" in parts or len(parts) > DEEPEST_JSON:
        raise Wrong("path", "The {field} must be keys with dots between them, such as order.total.")
    return parts


def number_or_text(value: Any) -> Any:
    """A JSON number as a number; a text, true and false as they are written. Raises Wrong."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, int | float) else scalar(value)


def same(column: Column, value: Any) -> Expression:
    """The same text, or the same number however it is written."""
    return equal(column, value) if isinstance(value, str) else Exact(Number(column), value)


def latest_property(condition: Condition) -> Among:
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
    return Among(latest, "fits")


VALUE = ValueType("text or number", number_or_text)
PATH = ValueType("path", path)
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
            choices(KEYS, exactly),
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
            comparisons(">", "<"),
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
            equality(STORED_TEXT)
            | INCLUSION
            | {
                ">": Operator("greater than", NUMERIC, greater),
                "<": Operator("less than", NUMERIC, less),
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
            equality(TITLE) | INCLUSION,
            any_event("title"),
            about={"type": "text", "help": "The title of any event."},
        ),
        "event_tracking_total": Property(
            "Event Total",
            comparisons(*COMPARISONS),
            total,
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
            comparisons(*COMPARISONS),
            count_within,
            needs={**FOR_KEY, "within_days": DAYS_NUMBER},
            choices=OF_KEY,
            about={
                **COMPOSITE,
                "value_config": {"label": "Event Count", **NUMBER_INPUT},
                "help": "How often in the last days, by the log of occurrences; 0 is not once.",
            },
        ),
        "event_tracking_first_seen": Property(
            "Event First Seen",
            TIMES,
            seen(Min("created_at")),
            needs=FOR_KEY,
            choices=OF_KEY,
            about={**COMPOSITE, "value_config": {"label": "First Seen", "type": "dates"}},
        ),
        "event_tracking_last_seen": Property(
            "Event Last Seen",
            TIMES,
            seen(Max("updated_at")),
            needs=FOR_KEY,
            choices=OF_KEY,
            about={**COMPOSITE, "value_config": {"label": "Last Seen", "type": "dates"}},
        ),
        "event_tracking_provider": Property(
            "Event Provider",
            choices(PROVIDERS, exactly),
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
                "=": Operator("equal", VALUE, same),
                "!=": Operator("does not equal", VALUE, same, negated=True),
                ">": Operator("greater than", NUMERIC, greater),
                "<": Operator("less than", NUMERIC, less),
                "contains": INCLUSION["contains"],
                "exists": Operator("exists", None, present),
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
