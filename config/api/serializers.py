"""Serialize rows by serializers that are the one place of a shape and as fast as a dict."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

import orjson
from django.utils.timezone import get_default_timezone
from rest_framework import serializers
from typing_extensions import override

Convert = Callable[[Any], Any]
# Fields whose values of_values() serializes as they are.
TEXT_FIELDS = (serializers.CharField, serializers.ChoiceField)


def format_datetime(value: datetime) -> str:
    """Return a datetime as FluentCRM shows it: `YYYY-MM-DD HH:MM:SS` in TIME_ZONE."""
    # Not localtime(), which looks the current time zone up in every call.
    return value.astimezone(get_default_timezone()).isoformat(" ")[:19]


class FluentDateTimeField(serializers.CharField):
    """A datetime as FluentCRM shows it."""

    @override
    def to_representation(self, value: Any) -> str:
        return format_datetime(value)


class StrField(serializers.CharField):
    """A value that is no text in the database, such as a number, as text."""

    to_representation = staticmethod(str)  # type: ignore[assignment]  # without a call in between


class FluentBooleanField(serializers.ChoiceField):
    """A boolean as FluentCRM shows it: "1" or "0"."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=["0", "1"], **kwargs)

    @override
    def to_representation(self, value: Any) -> str:
        return "1" if value else "0"


class RawJSONObjectField(serializers.DictField):
    """A JSON object that PostgreSQL returned as text, which is sent as that text."""

    @override
    def to_representation(self, value: Any) -> Any:
        return orjson.Fragment(value)


class RowSerializer(serializers.Serializer[Any]):
    """Serialize a row by its declared fields, each from the attribute of its name or `source`.

    Null stays null. Fields with `required=False` are serialized only if `include` names them.
    DRF's to_representation copies the fields for every response and looks each one up for every
    row. The fields are the same here, and what they need is looked up once for each class.
    `of_values` serializes a row of a statement that has the fields as its columns.
    """

    names: ClassVar[tuple[str, ...]]
    conversions: ClassVar[tuple[tuple[str, Convert], ...]]
    columns: ClassVar[tuple[tuple[str, str, Convert | None], ...]]
    optional_columns: ClassVar[dict[str, tuple[str, Convert | None]]]

    def __init__(self, *args: Any, include: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.include = tuple(include)

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        fields = cls._declared_fields
        cls.columns = tuple(
            (name, field.source or name, _converter(field))
            for name, field in fields.items()
            if field.required
        )
        cls.names = tuple(name for name, _, _ in cls.columns)
        cls.conversions = tuple(
            (name, convert)
            for name, _, convert in cls.columns
            if convert and type(fields[name]) not in TEXT_FIELDS
        )
        cls.optional_columns = {
            name: (field.source or name, _converter(field))
            for name, field in fields.items()
            if not field.required
        }

    @classmethod
    def of_values(cls, values: Sequence[Any]) -> dict[str, Any]:
        """Serialize the values of the required fields, which are in the order of the fields.

        Values of a CharField and of a ChoiceField are texts. More values are ignored.
        """
        row = dict(zip(cls.names, values, strict=False))
        for name, convert in cls.conversions:
            if (value := row[name]) is not None:
                row[name] = convert(value)
        return row

    @override
    def to_representation(self, instance: Any) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, attribute, convert in self.columns:
            value = getattr(instance, attribute)
            row[name] = value if convert is None or value is None else convert(value)
        for name in self.include:
            attribute, convert = self.optional_columns[name]
            value = getattr(instance, attribute)
            row[name] = value if convert is None or value is None else convert(value)
        return row


def _converter(field: serializers.Field[Any, Any, Any, Any]) -> Convert | None:
    """Return what a field's value is converted by, or None if it is serialized as it is."""
    if type(field) is serializers.CharField:
        return str
    as_is = (serializers.IntegerField, serializers.DictField, serializers.JSONField)
    return None if type(field) in as_is else field.to_representation
