"""Filter by custom values: FluentCRM's provider `custom_fields`.

See FluentCRM's app/Models/Subscriber.php, buildCustomFieldsFilterQuery, for the comparisons,
resources/admin/Modules/Contacts/RichFilters/_FilterItem.vue for the operators of each type, and
app/Services/Helper.php, getAdvancedFilterOptions, for the options.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from django.db.models import BooleanField, Expression, F, Func, Q, TextField, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.db.models.sql.compiler import SQLCompiler
from typing_extensions import override

from config.api.serializers import format_datetime
from crm.custom_fields import defined_fields
from crm.filters.operators import (
    CONTAINS_OPS,
    EMPTY_TEXT,
    NUMBER_OPS,
    NUMBER_TYPE,
    TEXT_TYPE,
    NumericCast,
    array_value,
    date_ops,
    equality_ops,
    in_ops,
    one_or_list,
    start_of_day,
    to_date_or_datetime,
    to_plain_date,
    to_scalar,
)
from crm.filters.types import Choices, Column, Condition, Operator, Property, Provider, ValueType
from crm.models import CHOICE_TYPES, LIST_TYPES, CustomField, FieldType

ITEM: Column = RawSQL("item.value", (), TextField())


class DateText(Func):
    """A text if it is a date or a datetime as crm/custom_fields.py writes them, or null.

    The order of such texts is that of the dates. Digits are translated, because a regular
    expression takes three times as long.
    """

    def __init__(self, text: Expression, result: str) -> None:
        super().__init__(text, output_field=TextField())
        # SQL, in which {} is the text.
        self.result = result

    @override
    def as_sql(
        self, compiler: SQLCompiler, *_: Any, **__: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        sql, params = compiler.compile(self.source_expressions[0])
        is_date = (
            f"translate({sql}, '012345678', '999999999') IN ('9999-99-99', '9999-99-99 99:99:99')"
        )
        result = self.result.format(sql)
        return f'CASE WHEN {is_date} THEN {result} END COLLATE "C"', (*params, *params)


def contains_any(column: Column, values: list[str]) -> Expression:
    """Match texts that have one of the values as a part, as FluentCRM's `in` does."""
    return Func(
        array_value(values, TextField()),
        column,
        template="EXISTS (SELECT FROM unnest(%(expressions)s), lower(part)) > 0)",
        arg_joiner=") part WHERE strpos(lower(",
        output_field=BooleanField(),
    )


def equals_number(column: Column, value: Any) -> Expression:
    """Match texts that are the same number. It is never null, so that `!=` matches the others."""
    return Coalesce(Exact(NumericCast(column), value), Value(False))


def has_value(column: Column, _: None) -> Expression:
    """Match JSON that is neither null nor an empty text or list."""
    return Func(
        column,
        template="coalesce(%(expressions)s, 'null') NOT IN ('null', '\"\"', '[]')",
        output_field=BooleanField(),
    )


def to_date_text(value: Any) -> str:
    """Convert a date to text as it is stored."""
    return _date_text(to_plain_date(value))


def to_datetime_text(value: Any) -> str:
    """Convert a date or datetime to text as it is stored."""
    parsed = to_date_or_datetime(value)
    return format_datetime(parsed) if parsed else ""


def _date_text(day: date | None) -> str:
    return day.isoformat() if day else ""


def _start_text(day: date) -> str:
    return format_datetime(start_of_day(day))


NULL_OPS = {
    "is_null": Operator("empty", None, has_value, negated=True),
    "not_null": Operator("not empty", None, has_value),
}
# Not folded to a line, because values are stored as sent.
TEXTS_TYPE = ValueType("texts", one_or_list(to_scalar))
TEXT_OPS = equality_ops(TEXT_TYPE) | CONTAINS_OPS | in_ops(TEXTS_TYPE, contains_any) | NULL_OPS
NUMBER_FIELD_OPS = (
    NUMBER_OPS
    | {
        "=": Operator("equal", NUMBER_TYPE, equals_number),
        "!=": Operator("does not equal", NUMBER_TYPE, equals_number, negated=True),
    }
    | NULL_OPS
)
DATE_OPS = date_ops(ValueType("date", to_date_text), _date_text) | NULL_OPS
DATETIME_OPS = date_ops(ValueType("date or time", to_datetime_text), _start_text) | NULL_OPS
OPERATORS: Mapping[str, Mapping[str, Operator]] = {
    **dict.fromkeys(FieldType, TEXT_OPS),
    FieldType.NUMBER: NUMBER_FIELD_OPS,
    FieldType.DATE: DATE_OPS,
    FieldType.DATE_TIME: DATETIME_OPS,
}


def value_of(slug: str, function: str = "jsonb_extract_path_text") -> Expression:
    """Return a custom value as text, or as JSON by another function of PostgreSQL."""
    key = Value(slug, TextField())
    return Func(F("custom_values"), key, function=function, output_field=TextField())


def in_text(slug: str, condition: Condition) -> Q:
    """Match a value as text. A missing one is the empty text."""
    return Q(condition.test(Coalesce(value_of(slug), EMPTY_TEXT)))


def in_list(slug: str, condition: Condition) -> Q:
    """Match one of the values of a list, or a value that is no list."""
    tested = Func(
        value_of(slug, "jsonb_extract_path"),
        condition.test(ITEM),
        template="EXISTS (SELECT FROM (SELECT %(expressions)s)",
        arg_joiner=(
            " AS list) each, jsonb_array_elements_text(CASE jsonb_typeof(list) WHEN 'array' "
            "THEN list ELSE jsonb_build_array(list) END) item(value) WHERE "
        ),
        output_field=BooleanField(),
    )
    return Q(tested)


def in_date(slug: str, condition: Condition) -> Q:
    """Match a date, also that of a datetime. Other texts match no comparison."""
    return Q(condition.test(DateText(value_of(slug), "left({}, 10)")))


def in_datetime(slug: str, condition: Condition) -> Q:
    """Match a datetime. A date alone is its start."""
    return Q(condition.test(DateText(value_of(slug), "left({} || ' 00:00:00', 19)")))


MATCHING: Mapping[str, Callable[[str, Condition], Q]] = {
    **dict.fromkeys(FieldType, in_text),
    **dict.fromkeys(LIST_TYPES, in_list),
    FieldType.DATE: in_date,
    FieldType.DATE_TIME: in_datetime,
}


def field_property(field: CustomField) -> Property:
    """Return the property of a custom field."""

    def matching(condition: Condition) -> Q:
        if condition.operator.test is has_value:
            return Q(condition.test(value_of(field.slug, "jsonb_extract_path")))
        return MATCHING[field.type](field.slug, condition)

    def options() -> list[tuple[Any, str]]:
        return [(option, option) for option in field.options]

    choices = Choices(f"custom_fields.{field.slug}", options)
    return Property(
        field.label,
        OPERATORS[field.type],
        matching,
        options=_options(field),
        choices={"value": choices} if field.type in CHOICE_TYPES else {},
    )


def _options(field: CustomField) -> dict[str, Any]:
    """Return what FluentCRM's option groups say of a field besides name and operators."""
    match field.type:
        case FieldType.NUMBER:
            return {"type": "numeric"}
        case FieldType.DATE:
            return {"type": "dates", "date_type": "date", "value_format": "yyyy-MM-dd"}
        case FieldType.DATE_TIME:
            return {
                **{"type": "dates", "has_time": "yes", "date_type": "datetime"},
                "value_format": "yyyy-MM-dd HH:mm:ss",
            }
    if field.type not in CHOICE_TYPES:
        return {"type": "text"}
    options = {
        "type": "selections",
        "options": {option: option for option in field.options},
        "is_multiple": field.type in LIST_TYPES,
    }
    return options | ({"is_singular_value": True} if field.type in LIST_TYPES else {})


def field_properties() -> dict[str, Property]:
    """Return a property for each custom field, and for other keys of contacts as text."""
    return {field.slug: field_property(field) for field in defined_fields()}


CUSTOM_FIELDS = Provider("Custom Fields", {}, load=field_properties)
