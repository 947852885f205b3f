"""config.api.validation: what each validator accepts, converts and rejects."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from config.api.errors import InvalidFields
from config.api.validation import (
    Validator,
    clamp_id,
    is_empty,
    is_valid_id,
    multi_line,
    nullable_line,
    optional_id,
    parse_age,
    single_line,
    to_bigint,
    to_bool,
    to_coordinate,
    to_date,
    to_datetime,
    to_email,
    to_ids,
    to_list,
    to_rounded_bigint,
    to_strict_bool,
    to_strict_datetime,
    to_strings,
    to_text,
    to_url,
    validate,
)
from config.api.warnings import Warnings
from tests.unit.rejections import rejection, rule

LARGEST_ID = 9_223_372_036_854_775_807
NO_BREAK_SPACE = "\u00a0"
ARABIC_SEVEN = "\u0667"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Order placed", "Order placed"),
        (" a ", " a "),
        (None, ""),
        (False, ""),
        (True, "1"),
        (0, "0"),
        (-5, "-5"),
        (12345678901234567890, "12345678901234567890"),
        (99.5, "99.5"),
        (2.0, "2"),
        (-0.5, "-0.5"),
        (9007199254740991.0, "9007199254740991"),
        (9007199254740992.0, "9007199254740992.0"),
        (1e300, "1e+300"),
    ],
)
def test_scalars_become_text_as_php_prints_them(value: Any, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize("value", [[], ["a"], {}, {"a": 1}])
def test_a_list_or_an_object_is_no_text(value: Any) -> None:
    assert rejection(to_text, value) == {"string": "The field must be a string."}


def test_a_text_with_a_nul_character_is_rejected() -> None:
    assert rejection(to_text, "a\0b") == {"string": "The field must not contain a NUL character."}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (" Order \n placed ", "Order pla"),
        ("a\t\r\n\v\fb", "a b"),
        ("Checkout complete", "Checkout"),
        ("äöüäöüäöüäöü", "äöüäöüäöü"),
        (f"{NO_BREAK_SPACE}a", f"{NO_BREAK_SPACE}a"),
        ("  \n ", ""),
        (None, ""),
        (5, "5"),
    ],
)
def test_a_single_line_folds_whitespace_and_is_cut(value: Any, line: str) -> None:
    assert single_line(9)(value) == line


def test_a_single_line_of_exactly_the_limit_stays_whole() -> None:
    assert single_line(9)("Order pla") == "Order pla"


@pytest.mark.parametrize(
    ("value", "line"), [(None, None), ("", ""), (" Ada  K ", "Ada K"), (True, "1")]
)
def test_a_nullable_line_keeps_null(value: Any, line: str | None) -> None:
    assert nullable_line(5)(value) == line


def test_a_nullable_line_reports_a_text_that_is_cut() -> None:
    assert rejection(nullable_line(5), "Ada  King") == {"max": "The field was cut at 5 characters."}


def test_a_value_that_is_invalid_in_part_is_a_warning_where_they_are_collected() -> None:
    warnings: Warnings = []
    values = validate({"name": nullable_line(5)}, {"name": "Ada King"}, warnings=warnings)
    assert values == {"name": "Ada K"}
    message = "The name was cut at 5 characters."
    assert warnings == [{"field": "name", "rule": "max", "message": message}]


def test_a_value_that_is_invalid_in_part_is_an_error_elsewhere() -> None:
    with pytest.raises(InvalidFields) as raised:
        validate({"name": nullable_line(5)}, {"name": "Ada King"})
    assert raised.value.detail == {"name": {"max": "The name was cut at 5 characters."}}


@pytest.mark.parametrize(
    ("value", "text"), [(" a \n  b \r\n", "a \n  b"), (None, ""), ("\t", ""), (1.0, "1")]
)
def test_a_text_of_several_lines_keeps_the_whitespace_inside(value: Any, text: str) -> None:
    assert multi_line(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        ("007", 7),
        (LARGEST_ID, LARGEST_ID),
        ("9223372036854775807", LARGEST_ID),
    ],
)
def test_whole_numbers_and_digits_are_accepted_as_bigint(value: Any, number: int) -> None:
    assert to_bigint(value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(-1, LARGEST_ID + 1, 1.0, True, None),
        *("", "-1", "+1", " 7", "7.0", "1e3", "abc", ARABIC_SEVEN),
        *("9223372036854775808", "00000000000000000007"),
        *([], [7], {}),
    ],
)
def test_anything_else_is_rejected_as_bigint(value: Any) -> None:
    assert rejection(to_bigint, value) == {"numeric": "The field must be a number."}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, 0),
        ("", 0),
        (2.5, 3),
        ("2.4", 2),
        ("1.5e2", 150),
        (-0.4, 0),
        (LARGEST_ID, LARGEST_ID),
    ],
)
def test_decimals_are_rounded_half_up_to_whole_numbers(value: Any, number: int) -> None:
    assert to_rounded_bigint(value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(-1, -0.5, LARGEST_ID + 1, 1e19),
        *("abc", "NaN", "Infinity", "-Infinity", "1e9999999", "9223372036854775807.5"),
    ],
)
def test_negative_huge_and_invalid_numbers_are_not_rounded(value: Any) -> None:
    assert rule(to_rounded_bigint, value) == "numeric"


@pytest.mark.parametrize(
    ("digits", "number"),
    [("7", 7), ("0", 0), ("9223372036854775808", LARGEST_ID), ("9" * 20, LARGEST_ID)],
)
def test_an_id_in_a_url_is_at_most_the_largest_bigint(digits: str, number: int) -> None:
    assert clamp_id(digits) == number


@pytest.mark.parametrize("text", ["0", "7", "9" * 18])
def test_digits_that_fit_bigint_are_a_valid_id(text: str) -> None:
    assert is_valid_id(text)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "a", " 1", "9" * 19, ARABIC_SEVEN, "²"])
def test_other_texts_are_no_valid_id(text: str) -> None:
    assert not is_valid_id(text)


@pytest.mark.parametrize(
    ("value", "number"), [(None, 0), (False, 0), ("", 0), (0, 0), (7, 7), ("7", 7)]
)
def test_an_optional_id_is_0_where_php_has_an_empty_value(value: Any, number: int) -> None:
    assert optional_id(value) == number


@pytest.mark.parametrize("value", [True, -1, 1.5, "abc", " ", [], [7]])
def test_anything_else_is_no_optional_id(value: Any) -> None:
    assert rule(optional_id, value) == "numeric"


@pytest.mark.parametrize(
    ("value", "degrees"),
    [
        (None, None),
        ("", None),
        (52.520008, Decimal("52.52000800")),
        ("-180", Decimal("-180.00000000")),
        (180, Decimal("180.00000000")),
        ("1.123456789", Decimal("1.12345679")),
    ],
)
def test_degrees_have_eight_decimals(value: Any, degrees: Decimal | None) -> None:
    assert str(to_coordinate(value)) == str(degrees)


@pytest.mark.parametrize("value", [180.1, "-180.00000001", "abc", "NaN", "Infinity", "1e400"])
def test_degrees_beyond_180_and_other_texts_are_rejected(value: Any) -> None:
    assert rule(to_coordinate, value) == "numeric"


@pytest.mark.parametrize(
    ("value", "email"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada@Example.com\n", "Ada@Example.com"),
        ("ada@shop.local", "ada@shop.local"),
        ("ada@shop.test", "ada@shop.test"),
        ("ädä@exämple.com", "ädä@exämple.com"),
        ("ada+news@example.co.uk", "ada+news@example.co.uk"),
    ],
)
def test_an_email_is_accepted_as_sent(value: str, email: str) -> None:
    assert to_email(value) == email


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", 5, True, [], ["ada@example.com"], {}),
        *("ada", "ada@", "@example.com", "ada@example", "ada @example.com", "a@b@example.com"),
        *("Ada <ada@example.com>", "ada@example.com,bob@example.com", f"ada@{'a' * 250}.com"),
    ],
)
def test_an_invalid_email_is_rejected(value: Any) -> None:
    assert rejection(to_email, value) == {"email": "The field must be a valid email address."}


@pytest.mark.parametrize(
    "value", ["2024-02-29", " 2024-02-29 ", "2024-02-29 23:59:59", "2024-02-29T00:00:00Z"]
)
def test_a_date_ignores_the_time_after_it(value: str) -> None:
    assert to_date(value) == date(2024, 2, 29)


@pytest.mark.parametrize("converter", [to_date, to_datetime])
@pytest.mark.parametrize("value", [None, "", " \t", False, [], {}])
def test_an_empty_date_or_datetime_is_none(converter: Validator, value: Any) -> None:
    assert converter(value) is None


@pytest.mark.parametrize("value", ["2023-02-29", "29.02.2024", "tomorrow", "0", 0, True])
def test_an_invalid_date_is_rejected(value: Any) -> None:
    message = "The field is not a valid date. Send YYYY-MM-DD."
    assert rejection(to_date, value) == {"date": message}


@pytest.mark.parametrize("validator", [to_date, to_datetime])
@pytest.mark.parametrize(
    "value",
    [
        *("20240229", 20240229, 2024, "2024", "2024-02", "202402", "2024-060", "2024-W09-4"),
        *("1709164800", 1709164800, "1709164800000", 1709164800000, 1612111200000),
        *("2024-2-29", "24-02-29", "2024-02-29 foo", "2024-02-29x10:00:00", "2024-02-29 10"),
        *("20240229T100000Z", "2024-02-29T100000Z", "2024-02-29 25:00", "2024-02-29 10:00 foo"),
        "\uff12\uff10\uff12\uff14-02-29",
    ],
)
def test_a_date_in_another_form_than_the_message_names_is_rejected(
    validator: Validator, value: Any
) -> None:
    assert rule(validator, value) == "date"


@pytest.mark.parametrize("validator", [to_date, to_datetime])
def test_a_date_of_zeros_is_rejected_where_none_would_mean_more(validator: Validator) -> None:
    assert rule(validator, "0000-00-00 00:00:00") == "date"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-01-15 12:00:00", datetime(2024, 1, 15, 11, tzinfo=UTC)),
        ("2024-07-15 12:00:00", datetime(2024, 7, 15, 10, tzinfo=UTC)),
        ("2024-07-15", datetime(2024, 7, 14, 22, tzinfo=UTC)),
        ("2024-07-15T12:00:00Z", datetime(2024, 7, 15, 12, tzinfo=UTC)),
        ("2024-07-15T12:00:00.5-04:00", datetime(2024, 7, 15, 16, 0, 0, 500000, tzinfo=UTC)),
        (" 2024-07-15T12:00Z\n", datetime(2024, 7, 15, 12, tzinfo=UTC)),
        ("0002-01-01T00:00:00Z", datetime(2, 1, 1, tzinfo=UTC)),
        ("9998-12-31T23:59:59Z", datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_datetime_without_an_offset_is_in_time_zone(
    berlin: None, value: str, moment: datetime
) -> None:
    assert to_datetime(value) == moment


@pytest.mark.parametrize(
    "value",
    [
        *("2024-13-01 00:00:00", "2024-01-01 25:00:00", "tomorrow", "0", 0, True),
        *("0001-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "0001-01-01 00:00:00"),
    ],
)
def test_invalid_datetimes_and_extreme_years_are_rejected(berlin: None, value: Any) -> None:
    assert rule(to_datetime, value) == "date"


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_strict_datetime_is_none(value: Any) -> None:
    assert to_strict_datetime(value) is None


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-07-15 12:00", datetime(2024, 7, 15, 10, tzinfo=UTC)),
        (" 2024-07-15T12:00:30Z ", datetime(2024, 7, 15, 12, 0, 30, tzinfo=UTC)),
        (datetime(2024, 7, 15, 12, tzinfo=UTC), datetime(2024, 7, 15, 12, tzinfo=UTC)),
        (datetime(2024, 7, 15, 12), datetime(2024, 7, 15, 10, tzinfo=UTC)),  # noqa: DTZ001
    ],
)
def test_a_strict_datetime_has_at_least_hours_and_minutes(
    berlin: None, value: Any, moment: datetime
) -> None:
    assert to_strict_datetime(value) == moment


@pytest.mark.parametrize(
    "value",
    ["2024-07-15", 1_700_000_000, True, False, [], {}, "20240715T120000", "2024-13-15 00:00"],
)
def test_numbers_and_dates_without_a_time_are_no_strict_datetime(value: Any) -> None:
    assert rule(to_strict_datetime, value) == "date"


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("12h", timedelta(hours=12)),
        ("400d", timedelta(days=400)),
        ("3w", timedelta(days=21)),
        ("0d", timedelta(0)),
        ("99999d", timedelta(days=99999)),
    ],
)
def test_an_age_is_a_number_of_hours_days_or_weeks(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize(
    "text", ["", "d", "5", "5m", "5 d", "-5d", "1.5d", "100000d", "5d5h", "5D"]
)
def test_any_other_age_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        parse_age(text)


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (None, []),
        ("", []),
        ([], []),
        ("a", ["a"]),
        (0, [0]),
        (False, [False]),
        ([1, "b"], [1, "b"]),
    ],
)
def test_one_value_alone_is_a_list_of_it(value: Any, items: list[Any]) -> None:
    assert to_list(value) == items


@pytest.mark.parametrize(
    "value", [{}, {"a": 1}, {"0": "a", "b": 1}, {"": 1}, {"-1": 1}, {"\u0661": 1}]
)
def test_an_object_is_no_list(value: Any) -> None:
    assert rejection(to_list, value) == {"array": "The field must be an array."}


def test_an_object_whose_keys_are_digits_is_a_list_of_php() -> None:
    assert to_list({"0": "Buyer", "2": {"38": 2}}) == ["Buyer", {"38": 2}]


def test_a_list_of_1000_items_is_accepted() -> None:
    assert len(to_list([0] * 1000)) == 1000


def test_a_list_of_more_than_1000_items_is_rejected() -> None:
    assert rejection(to_list, [0] * 1001) == {"max": "The field may not have more than 1000 items."}


@pytest.mark.parametrize(
    ("value", "ids"), [([3, "2", 3], [3, 2, 3]), ("7", [7]), ([None, "", 0, False, 5], [5])]
)
def test_ids_keep_their_order_and_ignore_empty_ones(value: Any, ids: list[int]) -> None:
    assert to_ids(value) == ids


def test_one_invalid_id_rejects_the_list() -> None:
    assert rule(to_ids, [1, "abc"]) == "numeric"


@pytest.mark.parametrize(
    ("value", "lines"), [(" VIP  customer ", ["VIP customer"]), ([7, None], ["7", ""])]
)
def test_strings_are_single_lines(value: Any, lines: list[str]) -> None:
    assert to_strings(value) == lines


def test_strings_are_cut_at_192_characters() -> None:
    assert to_strings("a" * 193) == ["a" * 192]


@pytest.mark.parametrize(
    "value", [None, "", "http://example.com", "https://example.com/a?b", "/uploads/ada.png"]
)
def test_a_url_with_http_or_an_absolute_path_is_accepted(value: str | None) -> None:
    assert to_url(50)(value) == value


@pytest.mark.parametrize(
    "value", ["javascript:alert(1)", "example.com", "ftp://example.com", "data:,a", 5]
)
def test_other_urls_are_rejected(value: Any) -> None:
    assert rejection(to_url(50), value) == {"url": "The field format is invalid."}


TRUE = [True, 1, 1.0, "1", "true", "True", "ON", " yes ", "YES"]
FALSE = [False, 0, "0", "false", "False", "no", "OFF"]
OTHER = [None, "", " ", "maybe", "ja", "2", 2, -1, 0.5, "null", "11"]


@pytest.mark.parametrize("validator", [to_bool, to_strict_bool])
@pytest.mark.parametrize("value", TRUE)
def test_fluentcrms_words_for_true_are_true_in_any_case(value: Any, validator: Validator) -> None:
    assert validator(value) is True


@pytest.mark.parametrize("value", [*FALSE, *OTHER])
def test_every_other_word_is_false(value: Any) -> None:
    assert to_bool(value) is False


@pytest.mark.parametrize("value", FALSE)
def test_the_words_for_false_are_false_where_others_are_rejected(value: Any) -> None:
    assert to_strict_bool(value) is False


@pytest.mark.parametrize("value", OTHER)
def test_another_word_is_rejected_where_neither_is_safe_to_assume(value: Any) -> None:
    assert rule(to_strict_bool, value) == "boolean"


@pytest.mark.parametrize("validator", [to_bool, to_strict_bool])
@pytest.mark.parametrize("value", [[], [1], {}, {"a": 1}])
def test_a_list_or_an_object_is_no_boolean(value: Any, validator: Validator) -> None:
    assert rejection(validator, value) == {"boolean": "The field must be true or false."}


@pytest.mark.parametrize("value", [None, False, "", " \t\n\r\v\f", [], {}])
def test_php_treats_these_values_as_empty(value: Any) -> None:
    assert is_empty(value)


@pytest.mark.parametrize("value", [0, 0.0, True, "0", "a", NO_BREAK_SPACE, [0], {"a": None}])
def test_other_values_are_not_empty(value: Any) -> None:
    assert not is_empty(value)


def test_validate_converts_known_fields_and_ignores_others() -> None:
    data = {"id": "7", "name": " Ada ", "other": 1}
    assert validate({"id": to_bigint, "name": to_strings}, data) == {"id": 7, "name": ["Ada"]}


def test_a_missing_field_is_missing_in_the_result() -> None:
    assert validate({"id": to_bigint, "name": to_text}, {"id": 7}) == {"id": 7}


def test_validate_reports_every_invalid_field_at_once() -> None:
    validators = {"id": to_bigint, "email": to_email, "title": to_text}
    with pytest.raises(InvalidFields) as raised:
        validate(validators, {"id": "x", "email": "y", "title": "  "}, required=("title", "slug"))
    assert raised.value.detail == {
        "title": {"required": "The title field is required."},
        "slug": {"required": "The slug field is required."},
        "id": {"numeric": "The id must be a number."},
        "email": {"email": "The email must be a valid email address."},
    }


def test_a_required_field_that_is_empty_is_not_validated_further() -> None:
    with pytest.raises(InvalidFields) as raised:
        validate({"tags": to_bigint}, {"tags": []}, required=("tags",))
    assert raised.value.detail == {"tags": {"required": "The tags field is required."}}
