"""crm.api.fields: the columns of a contact that a request sets."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from config.api.errors import InvalidFields
from crm.api.fields import contact_fields, max_length, split_full_name


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("email", " ada@example.com ", "ada@example.com"),
        ("first_name", " Ada  M. ", "Ada M."),
        ("first_name", None, None),
        ("first_name", "a" * 193, "a" * 192),
        ("ip", "a" * 41, "a" * 40),
        ("phone", 49301234, "49301234"),
        ("status", "pending", "pending"),
        ("contact_type", "customer", "customer"),
        ("date_of_birth", "1815-12-10", date(1815, 12, 10)),
        ("date_of_birth", "", None),
        ("total_points", "2.5", 3),
        ("last_activity", "2024-07-15 12:00:00", datetime(2024, 7, 15, 12, tzinfo=UTC)),
        ("custom_values", {"size": ["M"]}, {"size": ["M"]}),
        ("custom_values", [], {}),
        ("avatar", "https://example.com/ada.png", "https://example.com/ada.png"),
    ],
)
def test_a_column_is_converted(column: str, value: Any, stored: Any) -> None:
    assert contact_fields({column: value}) == {column: stored}


@pytest.mark.parametrize(
    "params",
    [
        {"id": 5, "hash": "x", "contact_owner": 1, "tags": [1]},
        {"created_at": "2024-01-01 00:00:00"},
        {"status": "unknown"},
        {"status": None},
        {"contact_type": ""},
        {"contact_type": None},
        {"full_name": ""},
    ],
)
def test_these_fields_are_ignored(params: dict[str, Any]) -> None:
    assert contact_fields(params) == {}


def test_an_import_may_set_created_at() -> None:
    fields = contact_fields({"created_at": "2024-01-01 00:00:00"}, is_import=True)
    assert fields == {"created_at": datetime(2024, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize("empty", [None, "", False])
def test_an_empty_created_at_of_an_import_is_ignored(empty: Any) -> None:
    assert contact_fields({"created_at": empty}, is_import=True) == {}


def test_all_invalid_columns_are_reported_at_once() -> None:
    with pytest.raises(InvalidFields) as raised:
        contact_fields({"latitude": 200, "date_of_birth": "x", "avatar": "x"}, required=["email"])
    assert raised.value.detail == {
        "email": {"required": "The email field is required."},
        "date_of_birth": {"date": "The date_of_birth is not a valid date."},
        "latitude": {"numeric": "The latitude must be a number."},
        "avatar": {"url": "The avatar format is invalid."},
    }


@pytest.mark.parametrize(
    ("full_name", "first_name", "last_name"),
    [
        ("Ada King Lovelace", "Ada", "King Lovelace"),
        (" Ada \n Lovelace ", "Ada", "Lovelace"),
        ("Ada", "Ada", ""),
        (f"{'a' * 192} {'b' * 192}", "a" * 192, "b" * 192),
        ("a" * 385, "a" * 192, ""),
    ],
)
def test_a_full_name_is_split_at_its_first_space(
    full_name: str, first_name: str, last_name: str
) -> None:
    fields = contact_fields({"full_name": full_name})
    assert fields == {"first_name": first_name, "last_name": last_name}


@pytest.mark.parametrize("name", ["first_name", "last_name"])
def test_another_name_wins_over_the_full_name(name: str) -> None:
    fields = contact_fields({name: "Augusta", "full_name": "Ada Lovelace"})
    assert fields == {name: "Augusta"}


def test_empty_names_give_way_to_the_full_name() -> None:
    fields = split_full_name({"first_name": "", "last_name": None, "city": "London"}, "Ada King")
    assert fields == {"first_name": "Ada", "last_name": "King", "city": "London"}


@pytest.mark.parametrize(("column", "length"), [("email", 254), ("first_name", 192), ("ip", 40)])
def test_the_length_of_a_column(column: str, length: int) -> None:
    assert max_length(column) == length
