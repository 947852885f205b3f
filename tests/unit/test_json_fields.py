"""config.api.json_fields: depth, texts and stored size of JSON in requests."""

import math
from typing import Any

import orjson
import pytest

from config.api.json_fields import (
    check_json,
    checked_json,
    json_text_or,
    stored_size,
    to_fields,
    to_json_object,
    to_shallow_list,
)
from config.api.validation import Validator, to_bigint
from tests.unit.rejections import rejection, rule

CHECKS = pytest.mark.parametrize("check", [check_json, checked_json])


def nested_objects(levels: int) -> dict[str, Any]:
    """Return objects inside objects, `levels` deep."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def nested_lists(levels: int) -> list[Any]:
    """Return lists inside lists, `levels` deep."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_phps_empty_values_are_the_empty_object(value: Any) -> None:
    assert to_json_object(value) == {}


def test_an_object_is_accepted_unchanged() -> None:
    value = {"a": [1, None, {"b": "c"}], "": True}
    assert to_json_object(value) == {"a": [1, None, {"b": "c"}], "": True}


@pytest.mark.parametrize("value", [[1], "a", " ", 1, True, 0.5])
def test_other_values_are_no_json_object(value: Any) -> None:
    assert rejection(to_json_object, value) == {"object": "The field must be an object."}


@CHECKS
@pytest.mark.parametrize("value", [nested_objects(10), nested_lists(10), [nested_objects(9), "a"]])
def test_json_of_ten_levels_is_accepted(check: Validator, value: Any) -> None:
    check(value)


@CHECKS
@pytest.mark.parametrize(
    "value", [nested_objects(11), nested_lists(11), [nested_objects(10)], nested_lists(300)]
)
def test_json_of_more_than_ten_levels_is_rejected(check: Validator, value: Any) -> None:
    message = "The field may not be nested deeper than 10 levels."
    assert rejection(check, value) == {"depth": message}


@CHECKS
@pytest.mark.parametrize("value", ["\0", {"a\0": 1}, {"a": ["b", "c\0"]}])
def test_a_nul_in_a_text_or_key_is_rejected(check: Validator, value: Any) -> None:
    message = "The field must not contain a NUL character."
    assert rejection(check, value) == {"string": message}


@CHECKS
@pytest.mark.parametrize("value", [{"a": math.nan}, [-math.inf]])
def test_a_number_that_json_does_not_have_is_rejected(check: Validator, value: Any) -> None:
    message = "The field must not contain NaN or infinity."
    assert rejection(check, value) == {"numeric": message}


@pytest.mark.parametrize(
    "value",
    [{"a": [[]] * 10, "b": None}, {"a": "null [[[[[[[[[[[[ {{{{{{{{{{{{"}, {"a": "\\u0000"}],
)
def test_values_whose_text_has_what_is_looked_for_are_accepted(value: Any) -> None:
    check_json(value)
    assert checked_json(value) == orjson.dumps(value)


def test_what_json_does_not_have_is_rejected() -> None:
    assert rejection(checked_json, {"a": {1}}) == {"json": "The field must be JSON."}


@pytest.mark.parametrize("value", ["7", '"7"', 7])
def test_json_text_is_parsed_before_it_is_validated(value: Any) -> None:
    assert json_text_or(to_bigint)(value) == 7


def test_text_that_is_not_json_is_rejected() -> None:
    assert rejection(json_text_or(to_bigint), "{7") == {"json": "The field must be JSON."}


@pytest.mark.parametrize("value", ["", "  ", None])
def test_blank_text_is_not_parsed_as_json(value: Any) -> None:
    assert rule(json_text_or(to_bigint), value) == "numeric"


def test_the_value_of_json_text_is_validated() -> None:
    assert rule(json_text_or(to_json_object), "[1]") == "object"


@pytest.mark.parametrize("item", [nested_lists(99), nested_objects(99), "a"])
def test_a_list_of_a_hundred_levels_is_accepted(item: Any) -> None:
    assert to_shallow_list([item]) == [item]


@pytest.mark.parametrize("item", [nested_lists(101), nested_objects(101)])
def test_a_deeper_list_is_rejected(item: Any) -> None:
    message = "The field may not be nested deeper than 100 levels."
    assert rejection(to_shallow_list, [item]) == {"depth": message}


def test_a_shallow_list_may_not_be_an_object() -> None:
    assert rule(to_shallow_list, {"a": 1}) == "array"


@pytest.mark.parametrize("value", [None, "", [], {}, 0, False])
def test_phps_empty_values_have_no_fields(value: Any) -> None:
    assert to_fields(value) == {}


def test_the_fields_of_an_object_are_returned() -> None:
    assert to_fields({"email": "ada@example.com"}) == {"email": "ada@example.com"}


@pytest.mark.parametrize("value", ["a", [1], 1, True])
def test_other_values_have_no_fields_and_are_rejected(value: Any) -> None:
    assert rule(to_fields, value) == "object"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"a": 1}, 7),
        ({"a": "é"}, 10),
        ({"a": 1.5}, 9),
        # 1 and 308 zeros
        ({"a": 1e308}, 315),
        # 0. and 307 zeros before the 1; a text is stored as it is
        ({"a": [1e-308, "1e308"]}, 326),
        ([{"a": 1e20}, {"a": 1e20}], 57),
    ],
)
def test_the_stored_size_counts_the_digits_of_exponents(value: Any, size: int) -> None:
    assert stored_size(value, orjson.dumps(value)) == size
