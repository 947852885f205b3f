"""crm.api.fields: the columns of a contact that a request sets."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from config.api.errors import InvalidFields
from config.api.validation import InvalidPart
from config.api.warnings import Warnings
from crm.api.fields import (
    contact_fields,
    max_length,
    split_full_name,
    to_keep_opt_outs,
    to_label_names,
)
from crm.labels import LabelName, LabelTitle
from tests.unit.rejections import rejection


def columns(params: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that a request sets, which has nothing to report."""
    warnings: Warnings = []
    fields = contact_fields(params, warnings, declared=dict)
    assert warnings == []
    return fields


def reported(params: dict[str, Any], **kwargs: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the columns that a request sets, and the rules of its warnings by field."""
    warnings: Warnings = []
    fields = contact_fields(params, warnings, **kwargs)
    return fields, {warning["field"]: warning["rule"] for warning in warnings}


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("email", " ada@example.com ", "ada@example.com"),
        ("first_name", " Ada  M. ", "Ada M."),
        ("first_name", None, None),
        ("first_name", "a" * 192, "a" * 192),
        ("phone", 49301234, "49301234"),
        ("status", " Pending ", "Pending"),
        ("created_at", "2024-01-01 00:00:00", datetime(2024, 1, 1, tzinfo=UTC)),
        ("contact_type", "customer", "customer"),
        ("date_of_birth", "1815-12-10", date(1815, 12, 10)),
        ("date_of_birth", "", None),
        ("total_points", "2.5", 3),
        ("last_activity", "2024-07-15 12:00:00", datetime(2024, 7, 15, 12, tzinfo=UTC)),
        ("custom_values", {"size": ["M"]}, {"size": ["M"]}),
        ("custom_values", [], {}),
        ("custom_values", '{"size": "M"}', {"size": "M"}),
        ("avatar", "https://example.com/ada.png", "https://example.com/ada.png"),
    ],
)
def test_a_column_is_converted(column: str, value: Any, stored: Any) -> None:
    assert columns({column: value}) == {column: stored}


@pytest.mark.parametrize(
    ("column", "value", "stored", "rule"),
    [
        ("first_name", "a" * 193, {"first_name": "a" * 192}, "max"),
        ("ip", "a" * 41, {"ip": "a" * 40}, "max"),
        ("contact_type", "a" * 51, {"contact_type": "a" * 50}, "max"),
        ("avatar", "/" * 193, {}, "max"),
        ("date_of_birth", "31.12.1990", {}, "date"),
        ("date_of_birth", ["1990-12-31"], {}, "string"),
        ("last_activity", "2026-01-01 00:00:61", {}, "date"),
        ("last_activity", "0001-01-01 00:00:00", {}, "date"),
        ("created_at", "yesterday", {}, "date"),
    ],
)
def test_a_column_that_is_not_stored_as_sent_is_reported(
    column: str, value: Any, stored: dict[str, str], rule: str
) -> None:
    assert reported({column: value}) == (stored, {column: rule})


def test_a_warning_about_a_date_says_which_form_is_read() -> None:
    warnings: Warnings = []
    contact_fields({"date_of_birth": "31.12.1990"}, warnings)
    message = "The date_of_birth is not a valid date. Send YYYY-MM-DD."
    assert warnings == [{"field": "date_of_birth", "rule": "date", "message": message}]


@pytest.mark.parametrize("column", ["date_of_birth", "last_activity"])
@pytest.mark.parametrize(
    "zeros", ["0000-00-00", " 0000-00-00 00:00:00", "0000-00-00T00:00:00.000000Z"]
)
def test_a_date_of_zeros_is_none(column: str, zeros: str) -> None:
    assert columns({column: zeros}) == {column: None}


def test_custom_fields_are_read_where_there_are_no_custom_values() -> None:
    assert columns({"custom_fields": {"size": "M"}}) == {"custom_values": {"size": "M"}}


def test_custom_values_win_over_custom_fields() -> None:
    params = {"custom_fields": {"size": "M"}, "custom_values": {"size": "L"}}
    assert columns(params) == {"custom_values": {"size": "L"}}


@pytest.mark.parametrize(
    "params",
    [
        {"id": 5, "hash": "x", "contact_owner": 1, "tags": [1]},
        {"created_at": "0000-00-00 00:00:00"},
        {"created_at": None},
        {"created_at": ""},
        {"created_at": False},
        {"custom_fields": []},
        {"custom_fields": "true"},
        {"status": None},
        {"contact_type": ""},
        {"contact_type": None},
        {"full_name": ""},
    ],
)
def test_these_fields_are_ignored(params: dict[str, Any]) -> None:
    assert columns(params) == {}


def test_a_field_that_this_request_must_not_set_is_reported() -> None:
    params = {"created_at": "2024-01-01 00:00:00"}
    assert reported(params, ignored=["created_at"]) == ({}, {"created_at": "ignored"})


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_field_that_this_request_must_not_set_is_not_reported(empty: Any) -> None:
    assert reported({"created_at": empty}, ignored=["created_at"]) == ({}, {})


def test_all_invalid_columns_are_reported_at_once() -> None:
    with pytest.raises(InvalidFields) as raised:
        contact_fields({"latitude": 200, "phone": [], "avatar": "x"}, [], required=["email"])
    assert raised.value.detail == {
        "email": {"required": "The email field is required."},
        "phone": {"string": "The phone must be a string."},
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
    ],
)
def test_a_full_name_is_split_at_its_first_space(
    full_name: str, first_name: str, last_name: str
) -> None:
    assert columns({"full_name": full_name}) == {"first_name": first_name, "last_name": last_name}


@pytest.mark.parametrize(
    ("full_name", "first_name", "last_name", "reported_name"),
    [
        ("a" * 385, "a" * 192, "", "first_name"),
        (f"Ada {'b' * 193}", "Ada", "b" * 192, "last_name"),
        (f"{'a' * 192} {'b' * 999}", "a" * 192, "b" * 192, "last_name"),
    ],
)
def test_a_name_that_is_cut_from_a_full_name_is_reported(
    full_name: str, first_name: str, last_name: str, reported_name: str
) -> None:
    names = {"first_name": first_name, "last_name": last_name}
    assert reported({"full_name": full_name}) == (names, {reported_name: "max"})


@pytest.mark.parametrize("name", ["first_name", "last_name"])
def test_another_name_wins_over_the_full_name(name: str) -> None:
    assert columns({name: "Augusta", "full_name": "Ada Lovelace"}) == {name: "Augusta"}


def test_empty_names_give_way_to_the_full_name() -> None:
    fields = split_full_name({"first_name": "", "last_name": None, "city": "London"}, "Ada King")
    assert fields == {"first_name": "Ada", "last_name": "King"}


@pytest.mark.parametrize(("column", "length"), [("email", 254), ("first_name", 192), ("ip", 40)])
def test_the_length_of_a_column(column: str, length: int) -> None:
    assert max_length(column) == length


BUYER = {"id": 1, "title": "Buyer", "slug": "buyer"}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        (["VIP", 7, " a \n b ", None], ["VIP", "7", "a b", ""]),
        ([BUYER], [LabelTitle("Buyer")]),
        ([BUYER | {"title": 2024}], [LabelTitle("2024")]),
        (BUYER | {"title": ""}, ["buyer"]),
    ],
)
def test_a_label_is_named_by_a_text_or_by_its_title(value: Any, names: list[LabelName]) -> None:
    value = [value] if isinstance(value, dict) else value
    assert to_label_names(value) == names


@pytest.mark.parametrize("label", [{"id": 1}, {"title": ""}, {"title": None, "slug": " "}, {}, []])
def test_a_label_without_title_and_slug_is_rejected(label: Any) -> None:
    assert list(rejection(to_label_names, [label])) == ["string"]


@pytest.mark.parametrize(
    ("label", "kept", "rule"),
    [
        ("a" * 193, ["a" * 192, "VIP"], "max"),
        ({"title": "a" * 193}, [LabelTitle("a" * 192), "VIP"], "max"),
    ],
)
def test_a_label_that_is_not_attached_as_sent_is_reported(
    label: Any, kept: list[LabelName], rule: str
) -> None:
    with pytest.raises(InvalidPart) as raised:
        to_label_names([label, "VIP"])
    assert (raised.value.kept, raised.value.rule) == (kept, rule)


@pytest.mark.parametrize("value", [None, "", True, "yes", 1])
def test_opt_outs_are_kept_by_default(value: Any) -> None:
    assert to_keep_opt_outs(value) is True


@pytest.mark.parametrize("value", [False, 0, "0", "false", "No", "OFF"])
def test_opt_outs_are_given_up_by_a_word_for_false(value: Any) -> None:
    assert to_keep_opt_outs(value) is False


@pytest.mark.parametrize("value", ["maybe", "nein", "null", 2, -1, [], {}, " "])
def test_another_word_does_not_give_up_opt_outs(value: Any) -> None:
    assert list(rejection(to_keep_opt_outs, value)) == ["boolean"]
