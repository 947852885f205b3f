"""crm.admin.segment_form: filters as JSON that admin users can read and edit."""

import json
from typing import Any

import pytest

from config.api.errors import InvalidFields
from crm.admin.segment_form import FiltersField, filters_as_json, filters_from_json

NAME = ["subscriber", "first_name"]
IS_ADA = {"source": NAME, "operator": "=", "value": "Ädä"}
IS_EMPTY = {"source": NAME, "operator": "is_null"}


def test_each_condition_has_a_line_of_its_own() -> None:
    assert filters_as_json([[IS_ADA, IS_EMPTY], [IS_EMPTY]]) == (
        "[\n"
        "  [\n"
        '    {"source":["subscriber","first_name"],"operator":"=","value":"Ädä"},\n'
        '    {"source":["subscriber","first_name"],"operator":"is_null"}\n'
        "  ],\n"
        "  [\n"
        '    {"source":["subscriber","first_name"],"operator":"is_null"}\n'
        "  ]\n"
        "]"
    )


@pytest.mark.parametrize(
    ("groups", "text"), [([], "[]"), ([[]], "[[]]"), (None, "null"), ([["ä"], []], '[["ä"], []]')]
)
def test_a_filter_with_an_empty_group_is_plain_json(groups: Any, text: str) -> None:
    assert filters_as_json(groups) == text


def test_the_json_of_a_filter_can_be_read_again() -> None:
    groups = [[IS_ADA, IS_EMPTY], [IS_EMPTY]]
    assert filters_from_json(filters_as_json(groups)) == groups


@pytest.mark.parametrize("text", ["", "[", "nonsense", "[[],]", "{'a': 1}"])
def test_a_text_that_is_not_json_is_rejected(text: str) -> None:
    with pytest.raises(InvalidFields) as raised:
        filters_from_json(text)
    assert raised.value.detail == {
        "filters": {"json": "The filters must be JSON: a list of lists of conditions."}
    }


@pytest.mark.parametrize("text", ["[not json", '[[{"source": 1}]]'])
def test_the_form_shows_a_rejected_text_unchanged(text: str) -> None:
    assert FiltersField().prepare_value(text) == text


def test_the_form_shows_a_filter_as_json() -> None:
    assert json.loads(FiltersField().prepare_value([[IS_EMPTY]])) == [[IS_EMPTY]]
