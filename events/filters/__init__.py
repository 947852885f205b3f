"""Filter contacts by their events: FluentCRM's provider `event_tracking`, and Tallybook's more.

Event keys and providers compare exactly, because an index depends on it. See FluentCRM's
app/Hooks/Handlers/EventTrackingHandler.php, applyEventTrackingFilter.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from django.db.models import Max, Min

from crm.filters.operators import (
    COMPARISONS,
    CONTAINS_OPS,
    DATETIME_OPS,
    DAYS_TYPE,
    HOURS_TYPE,
    NUMBER_OPS,
    comparison_ops,
    equality_ops,
    in_exact,
    in_ops,
    is_not_null,
)
from crm.filters.types import Choices, Condition, ContactSet, Need, Operator, Property, Provider
from events.filters.counters import (
    HOURS_OPS,
    any_event,
    any_event_of_key,
    any_title,
    first_or_last_seen,
    on_or_after_day,
    since_hours,
    title_of_key,
    total_count,
)
from events.filters.occurrences import (
    SINCE_OPS,
    any_occurrence,
    any_property,
    check_since,
    count_within,
    done_since,
    latest_property,
)
from events.filters.options import EVENT_KEYS, EVENT_PROVIDERS
from events.filters.values import (
    KEY_TYPE,
    KEYS_TYPE,
    LINE_TYPE,
    NUMBER_OR_TEXT_TYPE,
    PATH_TYPE,
    PROVIDERS_TYPE,
    VALUE_TYPE,
    equal_ops,
)
from events.filters.windows import WINDOW, check_has_window, check_window
from events.models import VIEW_EVENTS

OF_KEY = {"extra_value": Need(KEY_TYPE, "of {}", "event key")}
THE_KEY = {"extra_value": Need(KEY_TYPE, "{}", "event key")}
AT_PATH = {"path": Need(PATH_TYPE, "at {}", "path")}
SAME = {"same": Need(PATH_TYPE, "with the same {}", "same property", is_required=False)}
KEY_CHOICES = {"extra_value": EVENT_KEYS}
# The same for the latest occurrence and for any.
VALUE_OPS = equal_ops(VALUE_TYPE) | CONTAINS_OPS | NUMBER_OPS
TITLE_OPS = equality_ops(LINE_TYPE) | CONTAINS_OPS
PROVIDER_OPS = in_ops(PROVIDERS_TYPE, in_exact)
PROPERTY_OPS = {
    **equal_ops(NUMBER_OR_TEXT_TYPE),
    **NUMBER_OPS,
    "contains": CONTAINS_OPS["contains"],
    "exists": Operator("exists", None, is_not_null),
}
SEEN_OPS = DATETIME_OPS | HOURS_OPS

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


def of_any_occurrence(
    noun: str,
    operators: Mapping[str, Operator],
    matching: Callable[[Condition], ContactSet],
    help_text: str,
    needs: Mapping[str, Need] = MappingProxyType({}),
    choices: Mapping[str, Choices] = MappingProxyType({}),
) -> Property:
    """Return a property that any occurrence of a key may match, also in a window alone."""
    return Property(
        f"{noun} Of Any Occurrence",
        operators,
        matching,
        needs={**OF_KEY, **needs, **WINDOW},
        check=check_window,
        choices={**KEY_CHOICES, **choices},
        options={
            **WITH_KEY_SELECTOR,
            "value_config": {"label": f"Compare {noun}", "type": "input_text"},
            "help": f"{help_text} In the last days or hours, or at any time.",
        },
    )


def since_event(word: str, pick: type[Max | Min]) -> Property:
    """Return the property of what was done since the first or last time of a key."""
    return Property(
        f"Since {word} Event",
        SINCE_OPS,
        done_since(pick),
        needs=THE_KEY | SAME | WINDOW,
        check=check_since,
        choices={**KEY_CHOICES, "value": EVENT_KEYS},
        options={
            **WITH_KEY_SELECTOR,
            "value_config": {"label": "Event Key", "type": "input_text"},
            "help": f"What was done, or not done, since the {word.lower()} time of the event key, "
            "which may have to be in the last days or hours. Contacts that never did the event key "
            "are not in it. With a same property, as cart_id, each of its values counts alone.",
        },
    )


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
            VALUE_OPS,
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
            TITLE_OPS,
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
            "Recent Event Count",
            comparison_ops(*COMPARISONS),
            count_within,
            needs=OF_KEY | WINDOW,
            check=check_has_window,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Event Count", **NUMBER_INPUT},
                "help": "How often in the last days or hours, by the log of occurrences. "
                "0 is not once.",
            },
        ),
        "event_tracking_first_seen": Property(
            "Event First Seen",
            SEEN_OPS,
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
            SEEN_OPS,
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
            {
                "days_within": Operator("within days", DAYS_TYPE, on_or_after_day, negated=True),
                "hours_within": Operator("within hours", HOURS_TYPE, since_hours, negated=True),
            },
            any_event_of_key("updated_at"),
            needs=THE_KEY,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Days", **NUMBER_INPUT},
                "help": "Not once in the last days or hours. Contacts that never did it are in it.",
            },
        ),
        "event_tracking_provider": Property(
            "Event Provider",
            PROVIDER_OPS,
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
            PROPERTY_OPS,
            latest_property,
            needs=OF_KEY | AT_PATH,
            choices=KEY_CHOICES,
            options={
                **WITH_KEY_SELECTOR,
                "value_config": {"label": "Compare Value", "type": "input_text"},
                "help": "A property of the latest occurrence of the key, by its path: order.total.",
            },
        ),
        "event_tracking_any_value": of_any_occurrence(
            "Value",
            VALUE_OPS,
            any_occurrence("value"),
            "The value of any occurrence of the key, not of the last one alone.",
        ),
        "event_tracking_any_title": of_any_occurrence(
            "Title", TITLE_OPS, title_of_key, "The title of any occurrence of the key."
        ),
        "event_tracking_any_provider": of_any_occurrence(
            "Provider",
            PROVIDER_OPS,
            any_occurrence("provider"),
            "Contacts with an occurrence of the key that one of these programs sent.",
            choices={"value": EVENT_PROVIDERS},
        ),
        "event_tracking_any_property": of_any_occurrence(
            "Property",
            PROPERTY_OPS,
            any_property,
            "A property of any occurrence of the key, by its path: order.total.",
            needs=AT_PATH,
        ),
        "event_tracking_since_last": since_event("Last", Max),
        "event_tracking_since_first": since_event("First", Min),
    },
    VIEW_EVENTS,
)
