"""crm.filters.describe: errors of filters in sentences, and sentences that need no titles."""

from typing import Any

import pytest

from crm.filters.describe import FilterDescriber, error_sentences, humanize_errors

NAME = ["subscriber", "first_name"]
COUNT = ["event_tracking", "event_tracking_key_count"]
NOT_DONE = ["event_tracking", "event_tracking_not_done"]
SINCE_LAST = ["event_tracking", "event_tracking_since_last"]


def condition(source: list[str], operator: str, **fields: Any) -> dict[str, Any]:
    """Return a condition."""
    return {"source": source, "operator": operator, **fields}


def describe(*groups: list[dict[str, Any]]) -> str:
    """Return the sentence about a filter."""
    return FilterDescriber(lambda _: True).describe(list(groups))


@pytest.mark.parametrize(
    ("path", "message", "sentence"),
    [
        (
            "filters.0.1.value",
            "The filters.0.1.value field is required.",
            "The value field is required.",
        ),
        (
            "filters.0.1.extra_value",
            "The filters.0.1.extra_value field is required.",
            "The event key field is required.",
        ),
        (
            "filters.2.0.operator",
            "The filters.2.0.operator must be one of: =, !=.",
            "The operator must be one of: =, !=.",
        ),
        ("filters.0.3", "The filters.0.3 must be an object.", "The condition must be an object."),
        ("filters", "The filters must be a list of lists.", "The filters must be a list of lists."),
    ],
)
def test_a_noun_replaces_the_path_in_an_error(path: str, message: str, sentence: str) -> None:
    assert humanize_errors({path: {"rule": message}}) == {path: sentence}


def test_each_error_is_a_sentence_with_the_number_of_its_condition() -> None:
    messages = {
        "filters": "The filters must be a list of lists.",
        "filters.0.1.value": "The value field is required.",
        "filters.9.0": "The condition must be an object.",
    }
    assert list(error_sentences(messages)) == [
        "The filters must be a list of lists.",
        "Group 1, condition 2: The value field is required.",
        "Group 10, condition 1: The condition must be an object.",
    ]


@pytest.mark.parametrize("groups", [[], [[]], [[], []]])
def test_a_filter_without_conditions_matches_all_contacts(groups: list[Any]) -> None:
    assert describe(*groups) == "All contacts"


def test_conditions_are_joined_by_and_groups_by_or() -> None:
    is_ada = condition(NAME, "=", value="Ada")
    is_empty = condition(NAME, "is_null")
    assert describe([is_ada, is_empty], [is_empty]) == (
        "First Name equal “<bdi>Ada</bdi>”, and First Name empty; or First Name empty"
    )


def test_a_sentence_mentions_the_event_key_and_a_plain_number() -> None:
    bought = condition(COUNT, ">", value=5, extra_value="purchase")
    assert describe([bought]) == ("Event Occurrence Count of “<bdi>purchase</bdi>” greater than 5")


def test_a_sentence_has_the_number_of_days_before_its_noun() -> None:
    quiet = condition(NOT_DONE, "days_within", value="14", extra_value="login")
    assert describe([quiet]) == "Has Not Done Event “<bdi>login</bdi>” within 14 days"


def test_a_sentence_has_the_number_of_hours_before_its_noun() -> None:
    quiet = condition(NOT_DONE, "hours_within", value=36, extra_value="login")
    assert describe([quiet]) == "Has Not Done Event “<bdi>login</bdi>” within 36 hours"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ""),
        ({"within_hours": 36}, "in 36 hours "),
        ({"within_days": 0, "same": ""}, "in 0 days "),
        (
            {"within_days": 7, "same": "cart_id"},
            "with the same “<bdi>cart_id</bdi>” in 7 days ",
        ),
    ],
)
def test_a_sentence_mentions_the_optional_fields_that_a_condition_has(
    more: dict[str, Any], words: str
) -> None:
    left = condition(SINCE_LAST, "not_done", value="checkout", extra_value="cart_updated", **more)
    assert describe([left]) == (
        f"Since Last Event “<bdi>cart_updated</bdi>” {words}has not done “<bdi>checkout</bdi>”"
    )


def test_html_in_a_value_is_escaped() -> None:
    sentence = describe([condition(NAME, "=", value="<b>&")])
    assert sentence == "First Name equal “<bdi>&lt;b&gt;&amp;</bdi>”"


def test_a_long_value_is_cut() -> None:
    sentence = describe([condition(NAME, "=", value="a" * 61)])
    assert sentence == f"First Name equal “<bdi>{'a' * 60}…</bdi>”"


def test_a_value_of_60_characters_is_not_cut() -> None:
    assert "…" not in describe([condition(NAME, "=", value="a" * 60)])


def test_of_many_values_five_are_shown() -> None:
    sentence = describe([condition(NAME, "in", value=["a", "b", "c", "d", "e", "f", "g"])])
    assert sentence.endswith("“<bdi>d</bdi>”, “<bdi>e</bdi>”, 2 more")


def test_of_many_conditions_six_are_shown() -> None:
    sentence = describe([condition(NAME, "is_null")] * 8)
    assert sentence == "First Name empty, and " * 6 + "2 conditions more"


def test_of_many_groups_six_are_shown() -> None:
    sentence = describe(*[[condition(NAME, "is_null")]] * 9)
    assert sentence == "First Name empty; or " * 6 + "3 groups more"


def test_an_invalid_filter_is_described_by_its_errors() -> None:
    assert describe([condition(NAME, "=")]) == (
        "Not valid: Group 1, condition 1: The value field is required."
    )
