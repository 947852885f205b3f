r"""The operators that several properties have, and the types of their values.

Texts compare without regard to case, and `%`, `_` and `\` are themselves. Days are dates in
TIME_ZONE: "within 7 days" begins where the date seven days ago began, as in FluentCRM. Hours are
spans: "within 36 hours" begins 36 hours before now.
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
from typing_extensions import override

from config.api.validation import (
    DATE_FORMS,
    DATE_OR_DATETIME_FORMS,
    MAX_ITEMS,
    TOO_MANY_ITEMS,
    WHITESPACE,
    InvalidValue,
    Validator,
    php_list,
    single_line,
    to_bigint,
    to_date,
    to_datetime,
    to_strict_datetime,
    to_text,
)
from crm.filters.types import Column, Operator, Test, ValueType, all_of

MAX_TEXT_LENGTH = 65_535
MAX_NUMBER_LENGTH = 100
# What PostgreSQL's numeric reads. The exponent is short, because 1e99999 has 100,000 digits.
NUMBER_PATTERN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
DATE_PATTERN = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# A hundred years.
MAX_DAYS = 36_500
MAX_HOURS = MAX_DAYS * 24


def to_scalar(value: Any) -> str:
    """Convert a text or a number to text.

    Raises:
        InvalidValue: true, false, a list, an object, or a NUL.
    """
    if isinstance(value, bool):
        raise InvalidValue("string")
    return to_text(value)


def to_line(value: Any) -> str:
    """Convert as `to_scalar` does, with whitespace folded as in stored lines."""
    return single_line(MAX_TEXT_LENGTH)(to_scalar(value))


def non_empty_list(validator: Validator) -> Validator:
    """Return a validator of a list of up to 1,000 values, of which none is empty."""

    def to_list(value: Any) -> list[Any]:
        value = php_list(value)
        if not isinstance(value, list):
            raise InvalidValue("array")
        if len(value) > MAX_ITEMS:
            raise InvalidValue("max", TOO_MANY_ITEMS)
        items = [validator(item) for item in value]
        if "" in items:
            raise InvalidValue("required", "The {field} may not have empty items.")
        return items

    return to_list


def one_or_list(validator: Validator) -> Validator:
    """Return a validator of a list, or of one value, which FluentCRM accepts for columns."""
    to_list = non_empty_list(validator)
    return lambda value: to_list(value if isinstance(value, list | dict) else [value])


def to_whole_number(value: Any) -> int:
    """Convert as `to_bigint` does, but neither true nor false."""
    if isinstance(value, bool):
        raise InvalidValue("numeric")
    return to_bigint(value)


def to_number(value: Any) -> Decimal:
    """Convert a number, also as text of up to 100 characters."""
    digits = "" if isinstance(value, list | dict | bool) else to_text(value)
    if len(digits) > MAX_NUMBER_LENGTH or not re.fullmatch(NUMBER_PATTERN, digits):
        raise InvalidValue("numeric")
    return Decimal(digits)


def to_days(value: Any) -> int:
    """Convert a number of days, from 0 to 36,500."""
    days = to_whole_number(value)
    if days > MAX_DAYS:
        message = f"The {{field}} must be a number of days from 0 to {MAX_DAYS}."
        raise InvalidValue("numeric", message)
    return days


def to_hours(value: Any) -> int:
    """Convert a number of hours, from 1 to 876,000."""
    hours = to_whole_number(value)
    if not 1 <= hours <= MAX_HOURS:
        message = f"The {{field}} must be a number of hours from 1 to {MAX_HOURS}."
        raise InvalidValue("numeric", message)
    return hours


def to_plain_date(value: Any) -> date | None:
    """Convert a date `YYYY-MM-DD` of the years 2 to 9998, without a time after it."""
    if not isinstance(value, str) or not DATE_PATTERN.fullmatch(value.strip(WHITESPACE)):
        raise InvalidValue("date", DATE_FORMS)
    return to_date(value)


def to_date_or_datetime(value: Any) -> datetime | None:
    """Convert a date to its start in TIME_ZONE, or a datetime with at least its minutes."""
    if isinstance(value, str) and DATE_PATTERN.fullmatch(value.strip(WHITESPACE)):
        return to_datetime(value)
    return to_strict_datetime(value, DATE_OR_DATETIME_FORMS)


def start_of_day(day: date) -> datetime:
    """Return the start of a date in TIME_ZONE."""
    return timezone.make_aware(datetime.combine(day, time()))


def days_ago(number: int) -> date:
    """Return today's date in TIME_ZONE minus a number of days."""
    return timezone.localdate() - timedelta(days=number)


def hours_ago(number: int) -> datetime:
    """Return now minus a number of hours."""
    return timezone.now() - timedelta(hours=number)


TEXT_TYPE = ValueType("text", to_scalar)
LINE_TYPE = ValueType("text", to_line)
LINES_TYPE = ValueType("texts", one_or_list(to_line))
WHOLE_NUMBER_TYPE = ValueType("whole number", to_whole_number)
NUMBER_TYPE = ValueType("number", to_number)
DAYS_TYPE = ValueType("days", to_days)
HOURS_TYPE = ValueType("hours", to_hours)
DATE_TYPE = ValueType("date", to_plain_date)
DATETIME_TYPE = ValueType("date or time", to_date_or_datetime)


class NumericCast(Func):
    """The number that a text of a pattern is, or null.

    CASE keeps the cast from texts that are no number.
    """

    def __init__(self, column: Column, pattern: str = NUMBER_PATTERN) -> None:
        super().__init__(column)
        self.pattern = pattern

    @override
    def as_sql(
        self, compiler: SQLCompiler, *_: Any, **__: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        # The length is tested first, so that a long text is not even decompressed.
        sql, params = compiler.compile(self.source_expressions[0])
        is_number = f"octet_length({sql}) <= {MAX_NUMBER_LENGTH} AND {sql} ~ '^({self.pattern})$'"
        return f"CASE WHEN {is_number} THEN ({sql})::numeric END", (*params, *params, *params)


def equals_casefolded(column: Column, value: str) -> Expression:
    """Return `lower(column) = lower(value)`."""
    return Exact(Lower(column), Lower(Value(value)))


def contains_casefolded(column: Column, value: str) -> Expression:
    """Return `strpos(lower(column), lower(value)) > 0`, which knows no wildcards."""
    return GreaterThan(StrIndex(Lower(column), Lower(Value(value))), 0)


def array_value(values: list[Any], kind: Any) -> Expression:
    """Return a list as one parameter, because a thousand parameters take Python too long."""
    return Value(values, ArrayField(kind))


def in_casefolded(column: Column, values: list[str]) -> Expression:
    """Return `lower(column) IN (the lower-cased values)`."""
    return Func(
        Lower(column),
        array_value(values, TextField()),
        template="(%(expressions)s) AS item))",
        arg_joiner=" IN (SELECT lower(item) FROM unnest(",
        output_field=BooleanField(),
    )


def in_exact(column: Column, values: list[Any]) -> Expression:
    """Return `column = ANY(values)`, for texts or whole numbers."""
    kind = BigIntegerField() if isinstance(values[0], int) else TextField()
    return Func(
        column,
        array_value(values, kind),
        template="(%(expressions)s))",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )


def is_not_null(column: Column, _: None) -> Expression:
    """Return `column IS NOT NULL`."""
    return IsNull(column, False)


def is_empty_text(column: Column, _: None) -> Expression:
    """Return `column = ''`."""
    return Exact(column, Value(""))


EMPTY_TEXT = Value("", TextField())


def text_column(name: str, nullable: bool = True) -> Column:
    """Return a column of contacts in which null is the empty text, so that `!=` matches it."""
    return Coalesce(F(name), EMPTY_TEXT, output_field=TextField()) if nullable else F(name)


def equality_ops(value_type: ValueType) -> dict[str, Operator]:
    """Return `=` and `!=` of texts."""
    return {
        "=": Operator("equal", value_type, equals_casefolded),
        "!=": Operator("does not equal", value_type, equals_casefolded, negated=True),
    }


CONTAINS_OPS = {
    "contains": Operator("includes", TEXT_TYPE, contains_casefolded),
    "not_contains": Operator("does not include", TEXT_TYPE, contains_casefolded, negated=True),
}


def in_ops(value_type: ValueType, test: Callable[[Column, Any], Expression]) -> dict[str, Operator]:
    """Return `in` and `not_in`."""
    return {
        "in": Operator("includes in", value_type, test),
        "not_in": Operator("not includes in", value_type, test, negated=True),
    }


NULL_OPS = {
    "is_null": Operator("empty", None, is_empty_text),
    "not_null": Operator("not empty", None, is_empty_text, negated=True),
}
TEXT_OPS = equality_ops(LINE_TYPE) | CONTAINS_OPS | in_ops(LINES_TYPE, in_casefolded) | NULL_OPS


def bigint_test(lookup: type[Expression]) -> Test:
    """Return the test of a comparison of whole numbers."""
    # Declared bigint, because Django takes a number for 32 bits and the driver would cut it.
    return lambda column, value: lookup(column, Value(value, BigIntegerField()))


COMPARISONS: Mapping[str, tuple[str, Test]] = {
    "=": ("equal", bigint_test(Exact)),
    ">": ("greater than", bigint_test(GreaterThan)),
    ">=": ("at least", bigint_test(GreaterThanOrEqual)),
    "<": ("less than", bigint_test(LessThan)),
    "<=": ("at most", bigint_test(LessThanOrEqual)),
}


def comparison_ops(*names: str) -> dict[str, Operator]:
    """Return `=`, `!=` and the named comparisons of whole numbers."""
    equals = COMPARISONS["="][1]
    return {
        "=": Operator("equal", WHOLE_NUMBER_TYPE, equals),
        "!=": Operator("not equal", WHOLE_NUMBER_TYPE, equals, negated=True),
    } | {
        name: Operator(COMPARISONS[name][0], WHOLE_NUMBER_TYPE, COMPARISONS[name][1])
        for name in names
    }


def greater_number(column: Column, value: Decimal) -> Expression:
    """Match texts that are a greater number."""
    return GreaterThan(NumericCast(column), value)


def less_number(column: Column, value: Decimal) -> Expression:
    """Match texts that are a smaller number."""
    return LessThan(NumericCast(column), value)


# For texts, of which those that are no number match neither.
NUMBER_OPS = {
    ">": Operator("greater than", NUMBER_TYPE, greater_number),
    "<": Operator("less than", NUMBER_TYPE, less_number),
}


def date_ops(value_type: ValueType, start: Callable[[date], Any]) -> dict[str, Operator]:
    """Return FluentCRM's comparisons of dates or datetimes.

    See FluentCRM's app/Services/ContactsQuery.php.

    Args:
        value_type: the type of the values of `before` and `after`.
        start: returns when a date begins, as the column's type.
    """

    def between(column: Column, first: date, last: date) -> Q:
        after = start(last + timedelta(days=1))
        return all_of((GreaterThanOrEqual(column, start(first)), LessThan(column, after)))

    def on_date(column: Column, day: date) -> Q:
        return between(column, day, day)

    def within_days(column: Column, number: int) -> Q:
        return between(column, days_ago(number), days_ago(0))

    def before_days(column: Column, number: int) -> Expression:
        return LessThan(column, start(days_ago(number)))

    return {
        "before": Operator("before", value_type, LessThan),
        "after": Operator("after", value_type, GreaterThan),
        "date_equal": Operator("in the date", DATE_TYPE, on_date),
        "days_before": Operator("before days", DAYS_TYPE, before_days),
        "days_within": Operator("within days", DAYS_TYPE, within_days),
    }


DATETIME_OPS = date_ops(DATETIME_TYPE, start_of_day)
DATE_OPS = date_ops(DATE_TYPE, lambda day: day)
