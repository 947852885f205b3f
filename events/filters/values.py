"""The values of conditions on events, and how event values and properties compare with them."""

import re
from typing import Any

from django.db.models import Expression
from django.db.models.lookups import Exact

from config.api.json_fields import MAX_JSON_DEPTH
from config.api.validation import MAX_NAME_LENGTH, WHITESPACE, InvalidValue, single_line
from crm.filters.operators import (
    MAX_NUMBER_LENGTH,
    NumericCast,
    equals_casefolded,
    in_casefolded,
    non_empty_list,
    to_number,
    to_scalar,
)
from crm.filters.types import Column, Operator, ValueType
from events.tracking.fields import MAX_PROVIDER_LENGTH

# Numbers as NUMBER_PATTERN has them, but without a plus or a superfluous 0 in front, because
# +491511 is a phone number and 01067 a postal code.
EQUAL_NUMBER_PATTERN = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
MAX_PATH_LENGTH = 1000
# What a truth is called by the programs that send one.
TRUTHS = {"true": ["true", "1"], "false": ["false", "0"]}


def to_stored_value(value: Any) -> str:
    """Convert to text without the whitespace around it, as values are stored."""
    return to_scalar(value).strip(WHITESPACE)


def to_scalar_or_truth(value: Any) -> str:
    """Convert a scalar to text, true to "true" and false to "false"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return to_scalar(value)


def to_event_line(value: Any) -> str:
    """Convert to a line that is folded and cut as stored keys and titles are."""
    return single_line(MAX_NAME_LENGTH)(to_scalar(value))


def to_provider(value: Any) -> str:
    """Convert to a line that is folded and cut as stored providers are."""
    return single_line(MAX_PROVIDER_LENGTH)(to_scalar(value))


def to_path(value: Any) -> list[str]:
    """Split a path into its keys: `order.total` is `["order", "total"]`."""
    path = to_scalar(value)
    if len(path) > MAX_PATH_LENGTH:
        message = f"The {{field}} may not have more than {MAX_PATH_LENGTH} characters."
        raise InvalidValue("max", message)
    keys = path.split(".")
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
VALUE_TYPE = ValueType("text", to_stored_value)
NUMBER_OR_TEXT_TYPE = ValueType("text or number", to_scalar_or_truth)


def equal_value(column: Column, value: str) -> Expression:
    """Match the same truth if the value is one, the same number if it is one, else the same text.

    `1299` matches `1299.00`. `true` matches `1`, but `1` does not match `true`.
    """
    if truths := TRUTHS.get(value.lower()):
        return in_casefolded(column, truths)
    if len(value) <= MAX_NUMBER_LENGTH and re.fullmatch(EQUAL_NUMBER_PATTERN, value):
        return Exact(NumericCast(column, EQUAL_NUMBER_PATTERN), to_number(value))
    return equals_casefolded(column, value)


def equal_ops(value_type: ValueType) -> dict[str, Operator]:
    """Return `=` and `!=` of values and properties."""
    return {
        "=": Operator("equal", value_type, equal_value),
        "!=": Operator("does not equal", value_type, equal_value, negated=True),
    }
