"""Describe filters, and their errors, in sentences for admin users."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from config.api.errors import FieldErrors, InvalidFields
from crm.filters import FilterTable, providers, read_filters
from crm.filters.operators import DAYS_TYPE, HOURS_TYPE
from crm.filters.types import Choices, CompiledCondition, ConditionGroup, HasPerm, Property

# Values of a condition, and conditions or groups, that a sentence has at most.
MAX_VALUES = 5
MAX_PARTS = 6
# Characters of a value.
MAX_VALUE_LENGTH = 60
# Isolated, because a direction mark in a value would turn the rest of the sentence around.
QUOTED = "“<bdi>{}</bdi>”"


class FilterDescriber:
    """Describe filters in sentences; titles of tags and lists are loaded once for all of them.

    `has_perm(permission)` tells whether the admin user may see the titles. Without the permission
    the sentence has ids.
    """

    def __init__(self, has_perm: HasPerm) -> None:
        self._has_perm = has_perm
        self._table = FilterTable()
        self._titles: dict[str, dict[str, str]] = {}

    def describe(self, filters: Any) -> SafeString:
        """Return a filter as a sentence in HTML; an invalid filter returns its errors."""
        try:
            return self.describe_groups(read_filters(filters, "filters", table=self._table))
        except InvalidFields as error:
            return describe_error(error)

    def describe_groups(self, groups: list[ConditionGroup]) -> SafeString:
        """Return a compiled filter as a sentence in HTML."""
        if not groups:
            return SafeString("All contacts")
        sentences = [self._describe_group(group) for group in groups[:MAX_PARTS]]
        if len(groups) > MAX_PARTS:
            sentences.append(format_html("{} groups more", len(groups) - MAX_PARTS))
        return _join("; or ", sentences)

    def _describe_group(self, group: ConditionGroup) -> SafeString:
        sentences = [self._describe_condition(condition) for condition in group[:MAX_PARTS]]
        if len(group) > MAX_PARTS:
            sentences.append(format_html("{} conditions more", len(group) - MAX_PARTS))
        return _join(", and ", sentences)

    def _describe_condition(self, condition: CompiledCondition) -> SafeString:
        item, prop = condition.item, condition.prop
        words = [format_html("{}", prop.verbose_name)]
        for field, need in prop.needs.items():
            if field in item:
                value = _quote(item[field]) if need.is_quoted else str(item[field])
                words.append(format_html(need.phrase, value))
        operator = prop.operators[str(item["operator"])]
        if operator.value_type in (DAYS_TYPE, HOURS_TYPE):
            # "within 14 days" instead of "within days 14".
            unit = operator.value_type.name
            number = f"{item['value']} {unit}"
            words.append(format_html("{}", operator.verbose_name.replace(unit, number)))
            return _join(" ", words)
        words.append(format_html("{}", operator.verbose_name))
        if "value" in item:
            words.append(self._describe_values(item["value"], prop))
        return _join(" ", words)

    def _describe_values(self, value: Any, prop: Property) -> SafeString:
        values = value if isinstance(value, list) else [value]
        choices = prop.choices.get("value")
        words = [self._describe_value(value, choices) for value in values[:MAX_VALUES]]
        if len(values) > MAX_VALUES:
            words.append(format_html("{} more", len(values) - MAX_VALUES))
        return _join(", ", words)

    def _describe_value(self, value: Any, choices: Choices | None) -> SafeString:
        if choices is None or not choices.closed or not self._may_see(choices):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return format_html("{}", str(value)) if is_number else _quote(value)
        if choices.name not in self._titles:
            self._titles[choices.name] = {str(key): title for key, title in choices.load()}
        return _quote(self._titles[choices.name].get(str(value).lower(), value))

    def _may_see(self, choices: Choices) -> bool:
        return not choices.permission or self._has_perm(choices.permission)


def describe_error(error: InvalidFields) -> SafeString:
    """Return what is invalid in a filter, in HTML."""
    sentences = error_sentences(humanize_errors(error.detail))
    return format_html("Not valid: {}", " ".join(sentences))


def _join(separator: str, parts: Iterable[SafeString]) -> SafeString:
    return format_html_join(separator, "{}", ((part,) for part in parts))


def _quote(value: Any) -> SafeString:
    text = str(value)
    is_long = len(text) > MAX_VALUE_LENGTH
    return format_html(QUOTED, f"{text[:MAX_VALUE_LENGTH]}…" if is_long else text)


def humanize_errors(errors: FieldErrors) -> dict[str, str]:
    """Return the messages of errors by path, with a noun instead of the path in the text.

    `{"filters.0.1.value": {"required": "The filters.0.1.value field is required."}}` becomes
    `{"filters.0.1.value": "The value field is required."}`.
    """
    messages = {}
    for path, rules in errors.items():
        field = ".".join(path.split(".")[3:])
        noun = _nouns().get(field, field) or ("condition" if "." in path else path)
        messages[path] = next(iter(rules.values())).replace(path, noun)
    return messages


def _nouns() -> dict[str, str]:
    """Return what the needs of all properties are called, by field."""
    return {
        field: need.noun
        for provider in providers().values()
        for prop in provider.properties.values()
        for field, need in prop.needs.items()
    }


def error_sentences(messages: Mapping[str, str]) -> Iterable[str]:
    """Yield the messages of `humanize_errors`, each with the number of group and condition."""
    for path, message in messages.items():
        # Of filters.0.1.operator. A field that a client invented may have digits and dots too.
        numbers = [int(part) + 1 for part in path.split(".")[1:3]]
        prefix = f"Group {numbers[0]}, condition {numbers[1]}: " if numbers else ""
        yield prefix + message
