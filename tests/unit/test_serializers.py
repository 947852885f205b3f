"""config.api.serializers: rows as FluentCRM shows them."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from rest_framework import serializers

from config.api.serializers import (
    FluentBooleanField,
    FluentDateTimeField,
    RawJSONObjectField,
    RowSerializer,
    StrField,
    format_datetime,
)
from crm.api.serializers import SubscriberSerializer
from crm.selectors import CONTACT_COLUMNS
from events.api.serializers import OccurrenceSerializer, TrackedEventSerializer
from events.history import Event, Occurrence


class BookSerializer(RowSerializer):
    """A book."""

    id = serializers.IntegerField()
    name = serializers.CharField(source="title")
    is_read = FluentBooleanField()
    bought_at = FluentDateTimeField()
    notes = RawJSONObjectField(required=False)
    pages = serializers.IntegerField(required=False, source="page_count")


def book(**values: Any) -> SimpleNamespace:
    """Return a book with these values."""
    row: dict[str, Any] = {"id": 7, "title": "Ada", "is_read": True}
    row |= {"bought_at": datetime(2024, 7, 15, 12, tzinfo=UTC), "notes": '{"a":1}'}
    return SimpleNamespace(**(row | {"page_count": 300} | values))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2024, 1, 15, 12, 0, 0, 999999, tzinfo=UTC), "2024-01-15 13:00:00"),
        (datetime(2024, 7, 15, 23, 5, 9, tzinfo=UTC), "2024-07-16 01:05:09"),
    ],
)
def test_a_datetime_is_shown_in_time_zone_without_fractions(
    berlin: None, value: datetime, text: str
) -> None:
    assert format_datetime(value) == text


def test_a_row_has_its_required_fields_from_their_sources() -> None:
    row = BookSerializer(book()).data
    expected = {"id": 7, "name": "Ada", "is_read": "1", "bought_at": "2024-07-15 12:00:00"}
    assert dict(row) == expected


def test_a_field_that_is_not_required_is_serialized_if_included() -> None:
    assert BookSerializer(book(), include=["pages"]).data["pages"] == 300


def test_an_included_field_comes_after_the_others() -> None:
    row = BookSerializer(book(), include=["pages"]).data
    assert list(row) == ["id", "name", "is_read", "bought_at", "pages"]


@pytest.mark.parametrize("attribute", ["id", "title", "is_read", "bought_at"])
def test_null_stays_null(attribute: str) -> None:
    field = "name" if attribute == "title" else attribute
    assert BookSerializer(book(**{attribute: None})).data[field] is None


def test_null_stays_null_in_an_included_field() -> None:
    assert BookSerializer(book(notes=None), include=["notes"]).data["notes"] is None


def test_a_boolean_is_shown_as_1_or_0() -> None:
    assert BookSerializer(book(is_read=False)).data["is_read"] == "0"


def test_a_number_in_a_text_field_is_shown_as_text() -> None:
    assert BookSerializer(book(title=1984)).data["name"] == "1984"


def test_json_of_the_database_is_sent_as_it_was_stored() -> None:
    row = BookSerializer(book(notes='{"b":1e400, "a": 1}'), include=["notes"]).data
    assert orjson.dumps(row["notes"]) == b'{"b":1e400, "a": 1}'


def test_many_rows_are_serialized_in_their_order() -> None:
    rows = BookSerializer([book(id=2), book(id=1)], many=True).data
    assert [row["id"] for row in rows] == [2, 1]


def test_a_row_of_a_statement_is_serialized_by_the_order_of_the_fields() -> None:
    bought_at = datetime(2024, 7, 15, 12, tzinfo=UTC)
    row = BookSerializer.of_values((7, "Ada", True, bought_at, "more"))
    assert row == BookSerializer(book()).data


def test_null_of_a_statement_stays_null() -> None:
    assert set(BookSerializer.of_values((None,) * 4).values()) == {None}


def test_a_number_in_a_field_of_texts_is_written_as_python_writes_it() -> None:
    assert StrField().to_representation(1984) == "1984"


def test_the_columns_of_a_contact_are_the_fields_of_its_serializer() -> None:
    assert SubscriberSerializer.names == CONTACT_COLUMNS


@pytest.mark.parametrize(
    ("serializer", "row"), [(TrackedEventSerializer, Event), (OccurrenceSerializer, Occurrence)]
)
def test_the_columns_of_history_are_the_fields_of_its_serializers(
    serializer: type[RowSerializer], row: Any
) -> None:
    assert serializer.names == row._fields
