"""What can start an automation, and what its steps can do: the tables that documents follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from automations.placeholders import parse_text
from automations.waits import CUSTOM_PREFIX, one_of, whole_number
from automations.webhooks.endpoints import InvalidWebhook, check_url
from config.api.validation import (
    MAX_ID,
    MAX_NAME_LENGTH,
    InvalidValue,
    Validator,
    single_line,
    to_list,
    to_strict_bool,
    to_text,
)
from crm.labels import LabelKind
from crm.models import Segment, Status

# The first and every later time, only the n-th time, or every n-th time.
WHENS = ("from", "at", "every")
MATCHES = ("any", "all")
REENTRIES = ("once", "after_end", "every_time")
SINCES = ("start", "here")
# Columns of a contact that a step may set. The e-mail names a contact, and is not changed by rule.
SETTABLE = (
    *("prefix", "first_name", "last_name", "timezone", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "phone", "source", "date_of_birth"),
    *("contact_type", "status"),
)
# Of the data of a webhook.
MAX_TEXTS, MAX_TEXT_LENGTH = 50, 1000
BRANCHES = ("then", "else")
DEFAULT_MAX_AGE_HOURS = 24


def template(max_length: int) -> Validator:
    """Return a validator of a text with placeholders, which is kept as sent."""

    def to_template(value: Any) -> str:
        text = to_text(value)
        if len(text) > max_length:
            message = f"The {{field}} may not be greater than {max_length} characters."
            raise InvalidValue("max", message)
        parse_text(text)
        return text

    return to_template


def to_statuses(value: Any) -> list[str]:
    """Convert a list of statuses of contacts."""
    try:
        return [Status(word).value for word in to_list(value)]
    except ValueError:
        message = f"The {{field}} must be among: {', '.join(Status)}."
        raise InvalidValue("in", message) from None


def to_segment(value: Any) -> int:
    """Convert the id of a segment that exists."""
    segment_id: int = whole_number(1, MAX_ID)(value)
    if not Segment.objects.filter(pk=segment_id).exists():
        raise InvalidValue("exists", "The {field} does not exist.")
    return segment_id


def to_settings(value: Any) -> dict[str, str]:
    """Convert the columns and custom values that a step sets, with placeholders.

    `{"city": "Berlin", "custom_values.plan": "{{event.value}}"}` sets both. A
    column that a text leaves empty stays as it is.
    """
    if not isinstance(value, dict):
        raise InvalidValue("object")
    known = ", ".join(SETTABLE)
    for name in value:
        is_custom = name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX)
        if name not in SETTABLE and not is_custom:
            message = (
                f"The {{field}} can set {known}, and custom values such as custom_values.plan."
            )
            raise InvalidValue("in", message)
        if "\0" in name or len(name) > MAX_NAME_LENGTH:
            raise InvalidValue("max", "The {field} has a name that is too long.")
    return {name: template(MAX_NAME_LENGTH)(text) for name, text in value.items()}


def to_webhook_url(value: Any) -> str:
    """Convert the URL of a webhook."""
    url = to_text(value)
    if "{{" in url:
        raise InvalidValue(
            "placeholder", "The {field} has no placeholders. Send values in the data."
        )
    try:
        return check_url(url)
    except InvalidWebhook as error:
        raise InvalidValue("url", str(error).replace("{", "{{").replace("}", "}}")) from None


def to_texts(value: Any) -> dict[str, str]:
    """Convert what a webhook sends in place of contact and event: texts with placeholders."""
    if not isinstance(value, dict):
        raise InvalidValue("object")
    if len(value) > MAX_TEXTS:
        raise InvalidValue("max", f"The {{field}} may not have more than {MAX_TEXTS} texts.")
    return {to_text(name): template(MAX_TEXT_LENGTH)(text) for name, text in value.items()}


@dataclass(frozen=True)
class Kind:
    """A kind of triggers or steps.

    Attributes:
        verbose_name: for pages.
        fields: a validator for each field.
        required: the fields that must not be empty.
        defaults: the values of fields that are not sent.
        labels: the kind of labels that its field of the same name lists, if any.
        branches: whether it has steps in `then` and `else`.
        conditions: whether it has a filter in `conditions`.
        wait: the name of the field that holds a wait, if any.
        happens: whether its field `happens` says, as a trigger does, what it waits for.
    """

    verbose_name: str
    fields: Mapping[str, Validator] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    labels: LabelKind | None = None
    branches: bool = False
    conditions: bool = False
    wait: str = ""
    happens: bool = False


MATCH: dict[str, Any] = {"fields": {"match": one_of(*MATCHES)}, "defaults": {"match": "any"}}
# What can happen to one contact. `wait_until` waits for the same.
HAPPENINGS: dict[str, Kind] = {
    "event": Kind(
        "Something was tracked",
        {"event_key": single_line(MAX_NAME_LENGTH), "title": single_line(MAX_NAME_LENGTH)},
        ("event_key",),
        {"title": ""},
    ),
    "tag_added": Kind("A tag was added", labels="tags", **MATCH),
    "tag_removed": Kind("A tag was removed", labels="tags", **MATCH),
    "list_added": Kind("A list was added", labels="lists", **MATCH),
    "list_removed": Kind("A list was removed", labels="lists", **MATCH),
    "status_changed": Kind("The status changed", {"statuses": to_statuses}, ("statuses",)),
}
TRIGGERS: dict[str, Kind] = {
    **HAPPENINGS,
    "event": Kind(
        "Something was tracked",
        {
            **HAPPENINGS["event"].fields,
            "times": whole_number(1, 1_000_000),
            "when": one_of(*WHENS),
            "max_age_hours": whole_number(1, 24 * 3650),
        },
        ("event_key",),
        {"title": "", "times": 1, "when": "from", "max_age_hours": DEFAULT_MAX_AGE_HOURS},
    ),
    "contact_created": Kind("A contact was created"),
    "segment_entered": Kind("A contact entered a segment", {"segment": to_segment}, ("segment",)),
    "manual": Kind("By hand"),
}
STEPS: dict[str, Kind] = {
    "add_tags": Kind("Add tags", labels="tags"),
    "remove_tags": Kind("Remove tags", labels="tags"),
    "add_lists": Kind("Add lists", labels="lists"),
    "remove_lists": Kind("Remove lists", labels="lists"),
    "set_fields": Kind("Set fields of the contact", {"fields": to_settings}, ("fields",)),
    "track_event": Kind(
        "Track an event",
        {
            "event_key": template(MAX_NAME_LENGTH),
            "title": template(MAX_NAME_LENGTH),
            "value": template(65_535),
        },
        ("event_key", "title"),
        {"value": ""},
    ),
    "webhook": Kind(
        "Send a webhook", {"url": to_webhook_url, "data": to_texts}, ("url",), {"data": {}}
    ),
    "wait": Kind("Wait", wait="wait"),
    "wait_until": Kind(
        "Wait until something happens",
        {"since": one_of(*SINCES), "same": single_line(MAX_NAME_LENGTH)},
        defaults={"since": "start", "same": ""},
        branches=True,
        wait="timeout",
        happens=True,
    ),
    "if": Kind("If", branches=True, conditions=True),
    "stop": Kind("Stop"),
}
# Of the document, besides trigger, conditions and steps.
RULES: dict[str, Validator] = {
    "title": single_line(MAX_NAME_LENGTH),
    "description": template(4096),
    "only_subscribed": to_strict_bool,
    "reentry": one_of(*REENTRIES),
    "max_starts_per_hour": whole_number(1, 10_000_000),
}
RULE_DEFAULTS: dict[str, Any] = {
    "description": "",
    "only_subscribed": True,
    "reentry": "once",
    # More starts pause the automation, because a mistake is likelier.
    "max_starts_per_hour": 10_000,
}
