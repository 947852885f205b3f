"""What filters compare with: kinds of values, and operators that several properties have.

Texts compare without regard to case, and `%`, `_` and `\\` are themselves. Days are TIME_ZONE's:
"within 7 days" begins where the day seven days ago began, as in FluentCRM.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BigIntegerField,
    BooleanField,
    Expression,
    F,
    Func,
    Q,
    TextField,
    Value,
)
from django.db.models.functions import Coalesce, Lower, StrIndex
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    IsNull,
    LessThan,
    LessThanOrEqual,
)
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from config.api.validation import (
    MAX_ITEMS,
    TOO_MANY_ITEMS,
    WHITESPACE,
    InvalidValue,
    Validator,
    single_line,
    to_bigint,
    to_date,
    to_datetime,
    to_strict_datetime,
    to_text,
)
from crm.filters import Column, Operator, Test, ValueType, all_of

MAX_TEXT_LENGTH = 65_535
MAX_NUMBER_LENGTH = 100
# What PostgreSQL's numeric reads; the exponent is short, because 1e99999 has 100,000 digits.
NUMBER_PATTERN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
DATE_PATTERN = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
MAX_DAYS = 36_500


def to_scalar(value: Any) -> str:
    """A text, or a number as text. Raises Wrong."""
    if isinstance(value, bool):
        raise InvalidValue("string")
    return to_text(value)


def to_line(value: Any) -> str:
    """As `scalar`, with white space folded as it is where it is stored. Raises Wrong."""
    return single_line(MAX_TEXT_LENGTH)(to_scalar(value))


def non_empty_list(read: Validator) -> Validator:
    """A reader of a list of 1 to 1,000 values. Raises Wrong."""

    def reader(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise InvalidValue("array")
        if len(value) > MAX_ITEMS:
            raise InvalidValue("max", TOO_MANY_ITEMS)
        found = [read(item) for item in value]
        if "" in found:
            raise InvalidValue("required", "The {field} may not have empty items.")
        return found

    return reader


def one_or_list(read: Validator) -> Validator:
    """As `list_of`, or one value alone, which FluentCRM takes for columns of contacts."""
    several = non_empty_list(read)
    return lambda value: several(value if isinstance(value, list | dict) else [value])


def to_whole_number(value: Any) -> int:
    """A number from 0 of at most 63 bits, as a number or in digits. Raises Wrong."""
    if isinstance(value, bool):
        raise InvalidValue("numeric")
    return to_bigint(value)


def to_number(value: Any) -> Decimal:
    """A number, also as text. Raises Wrong."""
    digits = "" if isinstance(value, list | dict | bool) else to_text(value)
    if len(digits) > MAX_NUMBER_LENGTH or not re.fullmatch(NUMBER_PATTERN, digits):
        raise InvalidValue("numeric")
    return Decimal(digits)


def to_days(value: Any) -> int:
    """A number of days, up to a hundred years. Raises Wrong."""
    found = to_whole_number(value)
    if found > MAX_DAYS:
        raise InvalidValue(
            "numeric", f"The {{field}} must be a number of days from 0 to {MAX_DAYS}."
        )
    return found


def to_plain_date(value: Any) -> date | None:
    """A day, `YYYY-MM-DD`, and nothing behind it. Raises Wrong."""
    if not isinstance(value, str) or not DATE_PATTERN.fullmatch(value.strip(WHITESPACE)):
        raise InvalidValue("date")
    found = to_date(value)
    if found is None or not 1 < found.year < 9999:
        raise InvalidValue("date")
    return found


def to_date_or_datetime(value: Any) -> datetime | None:
    """A day, which is its first moment, or a time with its minutes at least. Raises Wrong."""
    if isinstance(value, str) and DATE_PATTERN.fullmatch(value.strip(WHITESPACE)):
        return to_datetime(value)
    return to_strict_datetime(value)


def start_of_day(day: date) -> datetime:
    """When a day begins in TIME_ZONE."""
    return timezone.make_aware(datetime.combine(day, time()))


def days_ago(number: int) -> date:
    """The day so many days ago in TIME_ZONE."""
    return timezone.localdate() - timedelta(days=number)


TEXT_TYPE = ValueType("text", to_scalar)
LINE_TYPE = ValueType("text", to_line)
LINES_TYPE = ValueType("texts", one_or_list(to_line))
WHOLE_NUMBER_TYPE = ValueType("whole number", to_whole_number)
NUMBER_TYPE = ValueType("number", to_number)
DAYS_TYPE = ValueType("days", to_days)
DATE_TYPE = ValueType("date", to_plain_date)
DATETIME_TYPE = ValueType("date or time", to_date_or_datetime)


class NumericCast(Func):
    """The number that a text is, or null; CASE keeps the cast from texts that are none."""

    def as_sql(
        self, compiler: SQLCompiler, *_: Any, **__: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        """The text three times, with its parameters; a long one is not even unpacked."""
        sql, params = compiler.compile(self.source_expressions[0])
        is_number = f"octet_length({sql}) <= {MAX_NUMBER_LENGTH} AND {sql} ~ '^({NUMBER_PATTERN})$'"
        return f"CASE WHEN {is_number} THEN ({sql})::numeric END", (*params, *params, *params)


def equals_casefolded(column: Column, value: str) -> Expression:
    """The same text."""
    return Exact(Lower(column), Lower(Value(value)))


def contains_casefolded(column: Column, value: str) -> Expression:
    """A part of the text. strpos, because nothing in it is a wildcard."""
    return GreaterThan(StrIndex(Lower(column), Lower(Value(value))), 0)


def array_value(values: list[Any], kind: Any) -> Expression:
    """A list as one parameter: a thousand of them would take Python longer than PostgreSQL."""
    return Value(values, ArrayField(kind))


def in_casefolded(column: Column, values: list[str]) -> Expression:
    """One of the texts."""
    return Func(
        Lower(column),
        array_value(values, TextField()),
        template="(%(expressions)s) AS item))",
        arg_joiner=" IN (SELECT lower(item) FROM unnest(",
        output_field=BooleanField(),
    )


def in_exact(column: Column, values: list[Any]) -> Expression:
    """One of the values, to the letter."""
    kind = BigIntegerField() if isinstance(values[0], int) else TextField()
    return Func(
        column,
        array_value(values, kind),
        template="(%(expressions)s))",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )


def is_not_null(column: Column, _: None) -> Expression:
    """There, and not null."""
    return IsNull(column, False)


def is_empty_text(column: Column, _: None) -> Expression:
    """The empty text."""
    return Exact(column, Value(""))


EMPTY_TEXT = Value("", TextField())


def text_column(name: str, nullable: bool = True) -> Column:
    """A column of contacts; null counts as empty, so that `!=` is true of it."""
    return Coalesce(F(name), EMPTY_TEXT, output_field=TextField()) if nullable else F(name)


def equality_ops(kind: ValueType) -> dict[str, Operator]:
    """`=` and `!=`, of texts."""
    return {
        "=": Operator("equal", kind, equals_casefolded),
        "!=": Operator("does not equal", kind, equals_casefolded, negated=True),
    }


CONTAINS_OPS = {
    "contains": Operator("includes", TEXT_TYPE, contains_casefolded),
    "not_contains": Operator("does not include", TEXT_TYPE, contains_casefolded, negated=True),
}


def in_ops(values: ValueType, test: Callable[[Column, Any], Expression]) -> dict[str, Operator]:
    """`in` and `not_in`."""
    return {
        "in": Operator("includes in", values, test),
        "not_in": Operator("not includes in", values, test, negated=True),
    }


NULL_OPS = {
    "is_null": Operator("empty", None, is_empty_text),
    "not_null": Operator("not empty", None, is_empty_text, negated=True),
}
TEXT_OPS = equality_ops(LINE_TYPE) | CONTAINS_OPS | in_ops(LINES_TYPE, in_casefolded) | NULL_OPS


def bigint_test(lookup: type[Expression]) -> Test:
    """The test of a comparison of whole numbers."""
    # Said to be large: Django takes a number for 32 bits, and PostgreSQL would cut it.
    return lambda column, value: lookup(column, Value(value, BigIntegerField()))


COMPARISONS: Mapping[str, tuple[str, Test]] = {
    "=": ("equal", bigint_test(Exact)),
    ">": ("greater than", bigint_test(GreaterThan)),
    ">=": ("at least", bigint_test(GreaterThanOrEqual)),
    "<": ("less than", bigint_test(LessThan)),
    "<=": ("at most", bigint_test(LessThanOrEqual)),
}


def comparison_ops(*names: str) -> dict[str, Operator]:
    """Comparisons of whole numbers by their names; `!=` besides."""
    equal = COMPARISONS["="][1]
    return {
        "=": Operator("equal", WHOLE_NUMBER_TYPE, equal),
        "!=": Operator("not equal", WHOLE_NUMBER_TYPE, equal, negated=True),
    } | {
        name: Operator(COMPARISONS[name][0], WHOLE_NUMBER_TYPE, COMPARISONS[name][1])
        for name in names
    }


def date_ops(kind: ValueType, start: Callable[[date], date]) -> dict[str, Operator]:
    """FluentCRM's comparisons of times, or of days; `start` is when a day begins."""

    def in_day(column: Column, day: date) -> Q:
        return within(column, day, day)

    def within(column: Column, first: date, last: date) -> Q:
        after = start(last + timedelta(days=1))
        return all_of((GreaterThanOrEqual(column, start(first)), LessThan(column, after)))

    def within_days(column: Column, number: int) -> Q:
        return within(column, days_ago(number), days_ago(0))

    def before_days(column: Column, number: int) -> Expression:
        return LessThan(column, start(days_ago(number)))

    return {
        "before": Operator("before", kind, LessThan),
        "after": Operator("after", kind, GreaterThan),
        "date_equal": Operator("in the date", DATE_TYPE, in_day),
        "days_before": Operator("before days", DAYS_TYPE, before_days),
        "days_within": Operator("within days", DAYS_TYPE, within_days),
    }


DATETIME_OPS = date_ops(DATETIME_TYPE, start_of_day)
DATE_OPS = date_ops(DATE_TYPE, lambda to_date: to_date)
