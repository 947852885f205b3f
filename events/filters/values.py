"""Compare event values and properties: as texts, as numbers, and as true and false."""

import re
from typing import Any

from django.db.models import Expression
from django.db.models.lookups import Exact

from config.api.validation import WHITESPACE
from crm.filters.operators import (
    MAX_NUMBER_LENGTH,
    NumericCast,
    equals_casefolded,
    in_casefolded,
    to_number,
    to_scalar,
)
from crm.filters.types import Column, Operator, ValueType

# Numbers as NUMBER_PATTERN has them, but without a plus or a superfluous 0 in front, because
# +491511 is a phone number and 01067 a postal code.
EQUAL_NUMBER_PATTERN = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
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
