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
    BLANKS,
    MOST_ITEMS,
    TOO_MANY_TEXT,
    Reader,
    Wrong,
    day,
    exact_moment,
    line,
    moment,
    text,
    whole_number,
)
from crm.filters import Column, Operator, Test, ValueType, all_of

LONGEST_TEXT = 65_535
LONGEST_NUMBER = 100
# What PostgreSQL's numeric reads; the exponent is short, because 1e99999 has 100,000 digits.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
MOST_DAYS = 36_500


def scalar(value: Any) -> str:
    """A text, or a number as text. Raises Wrong."""
    if isinstance(value, bool):
        raise Wrong("string")
    return text(value)


def one_line(value: Any) -> str:
    """As `scalar`, with white space folded as it is where it is stored. Raises Wrong."""
    return line(LONGEST_TEXT)(scalar(value))


def list_of(read: Reader) -> Reader:
    """A reader of a list of 1 to 1,000 values. Raises Wrong."""

    def reader(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Wrong("array")
        if len(value) > MOST_ITEMS:
            raise Wrong("max", TOO_MANY_TEXT)
        found = [read(item) for item in value]
        if "" in found:
            raise Wrong("required", "The {field} may not have empty items.")
        return found

    return reader


def one_or_list_of(read: Reader) -> Reader:
    """As `list_of`, or one value alone, which FluentCRM takes for columns of contacts."""
    several = list_of(read)
    return lambda value: several(value if isinstance(value, list | dict) else [value])


def whole(value: Any) -> int:
    """A number from 0 of at most 63 bits, as a number or in digits. Raises Wrong."""
    if isinstance(value, bool):
        raise Wrong("numeric")
    return whole_number(value)


def number(value: Any) -> Decimal:
    """A number, also as text. Raises Wrong."""
    digits = "" if isinstance(value, list | dict | bool) else text(value)
    if len(digits) > LONGEST_NUMBER or not re.fullmatch(NUMBER, digits):
        raise Wrong("numeric")
    return Decimal(digits)


def days(value: Any) -> int:
    """A number of days, up to a hundred years. Raises Wrong."""
    found = whole(value)
    if found > MOST_DAYS:
        raise Wrong("numeric", f"The {{field}} must be a number of days from 0 to {MOST_DAYS}.")
    return found


def date_alone(value: Any) -> date | None:
    """A day, `YYYY-MM-DD`, and nothing behind it. Raises Wrong."""
    if not isinstance(value, str) or not DATE.fullmatch(value.strip(BLANKS)):
        raise Wrong("date")
    found = day(value)
    if found is None or not 1 < found.year < 9999:
        raise Wrong("date")
    return found


def date_or_time(value: Any) -> datetime | None:
    """A day, which is its first moment, or a time with its minutes at least. Raises Wrong."""
    if isinstance(value, str) and DATE.fullmatch(value.strip(BLANKS)):
        return moment(value)
    return exact_moment(value)


def start_of_day(day: date) -> datetime:
    """When a day begins in TIME_ZONE."""
    return timezone.make_aware(datetime.combine(day, time()))


def days_ago(number: int) -> date:
    """The day so many days ago in TIME_ZONE."""
    return timezone.localdate() - timedelta(days=number)


TEXT = ValueType("text", scalar)
LINE = ValueType("text", one_line)
LINE_OR_LINES = ValueType("texts", one_or_list_of(one_line))
WHOLE = ValueType("whole number", whole)
NUMERIC = ValueType("number", number)
DAYS_NUMBER = ValueType("days", days)
DAY = ValueType("date", date_alone)
MOMENT = ValueType("date or time", date_or_time)


class Number(Func):
    """The number that a text is, or null; CASE keeps the cast from texts that are none."""

    def as_sql(
        self, compiler: SQLCompiler, *_: Any, **__: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        """The text three times, with its parameters; a long one is not even unpacked."""
        sql, params = compiler.compile(self.source_expressions[0])
        is_number = f"octet_length({sql}) <= {LONGEST_NUMBER} AND {sql} ~ '^({NUMBER})$'"
        return f"CASE WHEN {is_number} THEN ({sql})::numeric END", (*params, *params, *params)


def equal(column: Column, value: str) -> Expression:
    """The same text."""
    return Exact(Lower(column), Lower(Value(value)))


def contains(column: Column, value: str) -> Expression:
    """A part of the text. strpos, because nothing in it is a wildcard."""
    return GreaterThan(StrIndex(Lower(column), Lower(Value(value))), 0)


def any_of(values: list[Any], kind: Any) -> Expression:
    """A list as one parameter: a thousand of them would take Python longer than PostgreSQL."""
    return Value(values, ArrayField(kind))


def one_of(column: Column, values: list[str]) -> Expression:
    """One of the texts."""
    return Func(
        Lower(column),
        any_of(values, TextField()),
        template="(%(expressions)s) AS item))",
        arg_joiner=" IN (SELECT lower(item) FROM unnest(",
        output_field=BooleanField(),
    )


def exactly(column: Column, values: list[Any]) -> Expression:
    """One of the values, to the letter."""
    kind = BigIntegerField() if isinstance(values[0], int) else TextField()
    return Func(
        column,
        any_of(values, kind),
        template="(%(expressions)s))",
        arg_joiner=" = ANY(",
        output_field=BooleanField(),
    )


def present(column: Column, _: None) -> Expression:
    """There, and not null."""
    return IsNull(column, False)


def empty(column: Column, _: None) -> Expression:
    """The empty text."""
    return Exact(column, Value(""))


NO_TEXT = Value("", TextField())


def text_column(name: str, nullable: bool = True) -> Column:
    """A column of contacts; null counts as empty, so that `!=` is true of it."""
    return Coalesce(F(name), NO_TEXT, output_field=TextField()) if nullable else F(name)


def equality(kind: ValueType) -> dict[str, Operator]:
    """`=` and `!=`, of texts."""
    return {
        "=": Operator("equal", kind, equal),
        "!=": Operator("does not equal", kind, equal, negated=True),
    }


INCLUSION = {
    "contains": Operator("includes", TEXT, contains),
    "not_contains": Operator("does not include", TEXT, contains, negated=True),
}


def choices(values: ValueType, test: Callable[[Column, Any], Expression]) -> dict[str, Operator]:
    """`in` and `not_in`."""
    return {
        "in": Operator("includes in", values, test),
        "not_in": Operator("not includes in", values, test, negated=True),
    }


EMPTINESS = {
    "is_null": Operator("empty", None, empty),
    "not_null": Operator("not empty", None, empty, negated=True),
}
TEXTS = equality(LINE) | INCLUSION | choices(LINE_OR_LINES, one_of) | EMPTINESS


def comparison(lookup: type[Expression]) -> Test:
    """The test of a comparison of whole numbers."""
    # Said to be large: Django takes a number for 32 bits, and PostgreSQL would cut it.
    return lambda column, value: lookup(column, Value(value, BigIntegerField()))


COMPARISONS: Mapping[str, tuple[str, Test]] = {
    "=": ("equal", comparison(Exact)),
    ">": ("greater than", comparison(GreaterThan)),
    ">=": ("at least", comparison(GreaterThanOrEqual)),
    "<": ("less than", comparison(LessThan)),
    "<=": ("at most", comparison(LessThanOrEqual)),
}


def comparisons(*names: str) -> dict[str, Operator]:
    """Comparisons of whole numbers by their names; `!=` besides."""
    equal = COMPARISONS["="][1]
    return {
        "=": Operator("equal", WHOLE, equal),
        "!=": Operator("not equal", WHOLE, equal, negated=True),
    } | {name: Operator(COMPARISONS[name][0], WHOLE, COMPARISONS[name][1]) for name in names}


def dates(kind: ValueType, start: Callable[[date], date]) -> dict[str, Operator]:
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
        "date_equal": Operator("in the date", DAY, in_day),
        "days_before": Operator("before days", DAYS_NUMBER, before_days),
        "days_within": Operator("within days", DAYS_NUMBER, within_days),
    }


TIMES = dates(MOMENT, start_of_day)
DATES = dates(DAY, lambda day: day)
