"""Filters, and what is wrong with them, in words that people read."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from config.api.errors import FieldErrors, InvalidFields
from crm.filters import Choices, Property, providers, read_filters

MAX_VALUES = 5
MAX_SHOWN = 6
MAX_VALUE_LENGTH = 60
NEEDS = {"extra_value": "of {}", "path": "at {}", "within_days": "in {} days"}
FIELDS = {"extra_value": "event key", "within_days": "number of days"}
# Isolated: a mark in a value that turns the direction of writing does not turn what follows.
QUOTED = "“<bdi>{}</bdi>”"


class FilterDescriber:
    """Says what filters ask; titles of tags and lists are loaded once for all of them.

    `may(permission)`: what somebody may not see is said by its id.
    """

    def __init__(self, may: Callable[[str], bool]) -> None:
        self._may = may
        self._labels: dict[str, dict[str, str]] = {}

    def describe(self, filters: Any) -> SafeString:
        """A filter as a sentence in HTML; one that is not valid says what is wrong with it."""
        try:
            groups = [[term.sent for term in group] for group in read_filters(filters, "filters")]
        except InvalidFields as wrong:
            return format_html(
                "Not valid: {}", " ".join(error_sentences(humanize_errors(wrong.detail)))
            )
        if not groups:
            return SafeString("All contacts")
        said = [self._group(group) for group in groups[:MAX_SHOWN]]
        if len(groups) > MAX_SHOWN:
            said.append(format_html("{} groups more", len(groups) - MAX_SHOWN))
        return format_html_join("; or ", "{}", ((one,) for one in said))

    def _group(self, group: list[dict[str, Any]]) -> SafeString:
        said = [self._condition(item) for item in group[:MAX_SHOWN]]
        if len(group) > MAX_SHOWN:
            said.append(format_html("{} conditions more", len(group) - MAX_SHOWN))
        return format_html_join(", and ", "{}", ((one,) for one in said))

    def _condition(self, item: dict[str, Any]) -> SafeString:
        provider, name = item["source"]
        found = providers()[provider].properties[name]
        words = [format_html("{}", found.label)]
        for field in found.needs:
            shown = str(item[field]) if field == "within_days" else _quoted(item[field])
            words.append(format_html(NEEDS[field], shown))
        words.append(format_html("{}", found.operators[str(item["operator"])].label))
        if "value" in item:
            words.append(self._value(item["value"], found))
        return format_html_join(" ", "{}", ((word,) for word in words))

    def _value(self, value: Any, found: Property) -> SafeString:
        values = value if isinstance(value, list) else [value]
        said = [self._one(one, found.choices.get("value")) for one in values[:MAX_VALUES]]
        if len(values) > MAX_VALUES:
            said.append(format_html("{} more", len(values) - MAX_VALUES))
        return format_html_join(", ", "{}", ((one,) for one in said))

    def _may_see(self, choices: Choices) -> bool:
        return not choices.permission or self._may(choices.permission)

    def _one(self, value: Any, choices: Choices | None) -> SafeString:
        if choices is None or not choices.closed or not self._may_see(choices):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return format_html("{}", str(value)) if is_number else _quoted(value)
        if choices.name not in self._labels:
            self._labels[choices.name] = {str(one): label for one, label in choices.load()}
        label = self._labels[choices.name].get(str(value).lower())
        return _quoted(label if label is not None else value)


def _quoted(value: Any) -> SafeString:
    text = str(value)
    cut = f"{text[:MAX_VALUE_LENGTH]}…" if len(text) > MAX_VALUE_LENGTH else text
    return format_html(QUOTED, cut)


def humanize_errors(errors: FieldErrors) -> dict[str, str]:
    """What is wrong, by its place; the field has a word instead of its place."""
    found = {}
    for place, rules in errors.items():
        field = place.rpartition(".")[2]
        word = "condition" if field.isdigit() else FIELDS.get(field, field)
        found[place] = next(iter(rules.values())).replace(place, word)
    return found


def error_sentences(mistakes: Mapping[str, str]) -> Iterable[str]:
    """Mistakes in words, each with the condition that has it."""
    for place, text in mistakes.items():
        numbers = [int(part) + 1 for part in place.split(".") if part.isdigit()]
        where = f"Group {numbers[0]}, condition {numbers[1]}: " if numbers else ""
        yield where + text
