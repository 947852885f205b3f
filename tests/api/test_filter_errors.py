"""Advanced filters with mistakes: each is 422 at its place."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.api.filters import (
    ANY_PROPERTY,
    ANY_PROVIDER,
    ANY_VALUE,
    COUNT,
    CREATED,
    FIRST_NAME,
    KEY,
    LAST_SEEN,
    LISTS,
    PROPERTY,
    SINCE_FIRST,
    SINCE_LAST,
    TAGS,
    TOTAL,
    USER_ID,
    VALUE,
    WITHIN,
    ask,
    condition,
)

# A condition, where its mistake is, and what the message says.
REJECTED: list[tuple[str, Any, str, str]] = [
    ("a string for an object", "x", "", "must be an object"),
    ("a list for an object", [], "", "must be an object"),
    ("no source", {"operator": "=", "value": "x"}, ".source", "provider and property"),
    ("a source of one", condition(["subscriber"], "=", "x"), ".source", "provider and property"),
    (
        "a source of three",
        condition([*FIRST_NAME, "x"], "=", "x"),
        ".source",
        "provider and property",
    ),
    ("a source as text", condition("subscriber", "=", "x"), ".source", "provider and property"),
    ("numbers in the source", condition([1, 2], "=", "x"), ".source", "provider and property"),
    (
        "an unknown provider",
        condition(["woo", "x"], "=", "x"),
        ".source",
        "must be one of: subscriber, segment, custom_fields, event_tracking.",
    ),
    (
        "an unknown property",
        condition(["segment", "tag"], "in", [1]),
        ".source",
        "must be one of: status, contact_type, tags, lists.",
    ),
    (
        "an unknown operator",
        condition(COUNT, ">=", 3, extra_value="buy"),
        ".operator",
        "must be one of: =, !=, >, <.",
    ),
    ("an operator of another property", condition(KEY, "=", "buy"), ".operator", "in, not_in"),
    (
        "no operator",
        {"source": FIRST_NAME, "value": "x"},
        ".operator",
        "must be one of: =, !=, contains",
    ),
    ("a list for an operator", condition(FIRST_NAME, ["="], "x"), ".operator", "must be one of"),
    ("an operator in capitals", condition(KEY, "IN", ["x"]), ".operator", "must be one of"),
    ("no value", {"source": FIRST_NAME, "operator": "="}, ".value", "is required"),
    ("null", condition(FIRST_NAME, "=", None), ".value", "is required"),
    ("the empty string", condition(FIRST_NAME, "!=", ""), ".value", "is required"),
    ("blanks", condition(FIRST_NAME, "=", " \n"), ".value", "is required"),
    (
        "the empty string to contain",
        condition(FIRST_NAME, "not_contains", ""),
        ".value",
        "is required",
    ),
    ("the empty list", condition(FIRST_NAME, "not_in", []), ".value", "is required"),
    (
        "a list with the empty string",
        condition(FIRST_NAME, "not_in", ["x", ""]),
        ".value",
        "empty items",
    ),
    ("an object as text", condition(FIRST_NAME, "=", {}), ".value", "must be a string"),
    ("a list as text", condition(FIRST_NAME, "=", ["x"]), ".value", "must be a string"),
    ("true as text", condition(FIRST_NAME, "=", True), ".value", "must be a string"),
    ("NUL", condition(FIRST_NAME, "=", "a\0"), ".value", "NUL"),
    ("an object in a list", condition(FIRST_NAME, "in", [{}]), ".value", "must be a string"),
    ("a text for keys", condition(KEY, "in", "buy"), ".value", "must be an array"),
    ("an object for keys", condition(KEY, "in", {"a": "buy"}), ".value", "must be an array"),
    ("a key of blanks", condition(KEY, "not_in", [" "]), ".value", "empty items"),
    ("1,001 keys", condition(KEY, "in", ["x"] * 1001), ".value", "more than 1000 items"),
    ("a mistyped status", condition(["subscriber", "status"], "!=", "subscribd"), ".value", "one"),
    (
        "a mistyped status in a list",
        condition(["segment", "status"], "not_in", ["x"]),
        ".value",
        "one of",
    ),
    ("a tag's name", condition(TAGS, "not_in", ["vip"]), ".value", "must be a number"),
    ("a tag alone", condition(TAGS, "in", 1), ".value", "must be an array"),
    (
        "a tag that does not exist",
        condition(TAGS, "not_in", [2**63 - 1, 2**63 - 1]),
        ".value",
        "names labels that do not exist: tag 9223372036854775807.",
    ),
    (
        "lists that do not exist",
        condition(LISTS, "in_all", [8, 7]),
        ".value",
        "names labels that do not exist: list 7, list 8.",
    ),
    ("half a tag", condition(TAGS, "in", [1.5]), ".value", "must be a number"),
    ("a list as a user", condition(USER_ID, "!=", ["x"]), ".value", "must be a string"),
    ("no date", condition(CREATED, "before", "soon"), ".value", "valid date"),
    *(
        (f"{value} as a time", condition(CREATED, "after", value), ".value", "valid date")
        for value in (20261122, "20261122", "2026-W47-7", "2026-11-22 soon", "2026-11-22 25:99")
    ),
    *(
        (f"{value} as a day", condition(CREATED, "date_equal", value), ".value", "valid date")
        for value in ("9999-12-31", "2026-11-22 nonsense", "2026-1-2", "2026-02-30")
    ),
    ("a time", condition(CREATED, "date_equal", "2026-01-01 10:00:00"), ".value", "valid date"),
    ("no day", condition(["subscriber", "date_of_birth"], "after", "x"), ".value", "valid date"),
    (
        "a number of days as text",
        condition(LAST_SEEN, "days_within", "x", extra_value="buy"),
        ".value",
        "a number",
    ),
    (
        "negative days",
        condition(LAST_SEEN, "days_before", -1, extra_value="buy"),
        ".value",
        "a number",
    ),
    (
        "more than 36500 days",
        condition(LAST_SEEN, "days_before", 36501, extra_value="b"),
        ".value",
        "0 to 36500",
    ),
    ("a count as text", condition(COUNT, ">", "many", extra_value="buy"), ".value", "a number"),
    ("half a count", condition(COUNT, "=", 1.5, extra_value="buy"), ".value", "a number"),
    ("a count of 2^63", condition(COUNT, "<", 2**63, extra_value="buy"), ".value", "a number"),
    ("a count in a list", condition(COUNT, ">", [1], extra_value="buy"), ".value", "a number"),
    ("a negative count", condition(TOTAL, ">", -1, extra_value="buy"), ".value", "a number"),
    ("true for a count", condition(TOTAL, "=", True, extra_value="buy"), ".value", "a number"),
    ("a number in a list", condition(VALUE, ">", [1], extra_value="buy"), ".value", "a number"),
    ("no number", condition(VALUE, ">", "12abc", extra_value="buy"), ".value", "a number"),
    ("not a number", condition(VALUE, "<", "NaN", extra_value="buy"), ".value", "a number"),
    ("infinity", condition(VALUE, "<", "Infinity", extra_value="buy"), ".value", "a number"),
    ("a huge number", condition(VALUE, "<", "1e9999", extra_value="buy"), ".value", "a number"),
    ("a long number", condition(VALUE, "<", "1" * 101, extra_value="buy"), ".value", "a number"),
    ("no key", condition(COUNT, ">", 3), ".extra_value", "is required"),
    ("an empty key", condition(VALUE, "=", "x", extra_value=" "), ".extra_value", "is required"),
    (
        "a list of keys",
        condition(LAST_SEEN, "after", "2026-01-01", extra_value=["b"]),
        ".extra_value",
        "",
    ),
    (
        "days without a meaning",
        condition(TOTAL, ">", 1, extra_value="buy", within_days=1),
        ".within_days",
        "has no meaning for event_tracking_total",
    ),
    ("a path without a meaning", condition(KEY, "in", ["b"], path="a"), ".path", "no meaning"),
    (
        "a field that no property has",
        condition(WITHIN, ">", 1, extra_value="buy", within_days=1, within_weeks=2),
        ".within_weeks",
        "The advanced_filters.0.0.within_weeks has no meaning for event_tracking_count_within.",
    ),
    (
        "days and hours",
        condition(WITHIN, ">", 1, extra_value="buy", within_days=1, within_hours=2),
        ".within_hours",
        "The advanced_filters.0.0.within_hours cannot be combined with a number of days.",
    ),
    (
        "hours and days of a property",
        condition(ANY_VALUE, "=", "a", extra_value="buy", within_days=0, within_hours=2),
        ".within_hours",
        "cannot be combined",
    ),
    (
        "hours and days since an event",
        condition(SINCE_LAST, "done", "pay", extra_value="buy", within_days=1, within_hours=2),
        ".within_hours",
        "cannot be combined",
    ),
    *(
        (
            f"{hours!r} hours",
            condition(SINCE_LAST, "not_done", "pay", extra_value="buy", within_hours=hours),
            ".within_hours",
            "number",
        )
        for hours in (0, -1, 1.5, 876_001, "36h", True, [36], {"hours": 36}, "\0")
    ),
    (
        "hours of a last time",
        condition(LAST_SEEN, "hours_before", 0, extra_value="buy"),
        ".value",
        "The advanced_filters.0.0.value must be a number of hours from 1 to 876000.",
    ),
    (
        "an event since itself",
        condition(SINCE_LAST, "done", " buy", extra_value="buy "),
        ".value",
        "must be another event key",
    ),
    ("since no event", condition(SINCE_FIRST, "not_done", "pay"), ".extra_value", "is required"),
    ("nothing since", condition(SINCE_FIRST, "not_done", extra_value="buy"), ".value", "required"),
    ("several since", condition(SINCE_LAST, "done", ["a"], extra_value="buy"), ".value", "string"),
    (
        "an operator of no since",
        condition(SINCE_LAST, "=", "a", extra_value="buy"),
        ".operator",
        "must be one of: done, not_done.",
    ),
    *(
        (
            f"{what} as the same property",
            condition(SINCE_LAST, "not_done", "pay", extra_value="buy", same=same),
            ".same",
            says,
        )
        for what, same, says in (
            ("half a path", "cart.", "dots"),
            ("a list", ["cart_id"], "string"),
            ("an object", {}, "string"),
            ("false", False, "string"),
            ("NUL", "a\0", "NUL"),
            ("1,001 characters", "a" * 1001, "more than 1000 characters"),
        )
    ),
    (
        "a same without a meaning",
        condition(ANY_VALUE, "=", "a", extra_value="buy", same="a"),
        ".same",
        "no meaning",
    ),
    (
        "a path of 1,001",
        condition(ANY_PROPERTY, "exists", extra_value="b", path="a" * 1001),
        ".path",
        "more than 1000 characters",
    ),
    (
        "an empty provider",
        condition(ANY_PROVIDER, "not_in", [""], extra_value="b"),
        ".value",
        "empty items",
    ),
    (
        "hours without a meaning",
        condition(TOTAL, ">", 1, extra_value="buy", within_hours=1),
        ".within_hours",
        "no meaning",
    ),
    ("a field of false", condition(FIRST_NAME, "=", "Ada", negate=False), ".negate", "no meaning"),
    ("a field of 0", condition(FIRST_NAME, "=", "Ada", negate=0), ".negate", "no meaning"),
    (
        "neither days nor hours",
        condition(WITHIN, ">", 3, extra_value="buy", within_hours=""),
        ".within_days",
        "field is required, or a number of hours.",
    ),
    ("no path", condition(PROPERTY, "exists", extra_value="buy"), ".path", "is required"),
    ("half a path", condition(PROPERTY, "exists", extra_value="b", path="a."), ".path", "dots"),
    (
        "a path of 11",
        condition(PROPERTY, "exists", extra_value="b", path="a" + ".a" * 10),
        ".path",
        "",
    ),
    ("a property as object", condition(PROPERTY, "=", {}, extra_value="b", path="a"), ".value", ""),
]


@pytest.mark.parametrize(
    ("sent", "place", "says"), [pytest.param(*row, id=name) for name, *row in REJECTED]
)
def test_a_condition_with_a_mistake_is_rejected_at_its_place(
    api: APIClient, sent: Any, place: str, says: str
) -> None:
    response = ask(api, [[sent]])
    assert response.status_code == 422, response.content
    [(where, rules)] = response.json().items()
    assert where == f"advanced_filters.0.0{place}"
    [text] = rules.values()
    assert text.startswith("The ")
    assert says in text


@pytest.mark.parametrize(
    "filters",
    ["", " ", "x", "[[", "null", "1", "{}", '"x"', "[1]", "[null]", "[[],{}]", '{"a":[]}', "[[]]]"],
)
def test_a_filter_that_is_no_list_of_lists_is_rejected(api: APIClient, filters: str) -> None:
    response = ask(api, filters)
    assert (response.status_code, list(response.json())) == (422, ["advanced_filters"])


def test_a_response_names_every_mistake_of_a_filter(api: APIClient) -> None:
    right = condition(FIRST_NAME, "=", "Ada")
    wrong = condition(FIRST_NAME, "~", "x")
    response = ask(api, [[right, wrong], [], [wrong, condition(COUNT, ">", "x")]])
    assert response.status_code == 422
    assert list(response.json()) == [
        "advanced_filters.0.1.operator",
        "advanced_filters.2.0.operator",
        "advanced_filters.2.1.extra_value",
        "advanced_filters.2.1.value",
    ]


BOUGHT = condition(KEY, "in", ["buy"])


def test_fifty_conditions_are_accepted(api: APIClient) -> None:
    assert ask(api, [[BOUGHT] * 25, [BOUGHT] * 25]).status_code == 200


def test_more_than_fifty_conditions_are_rejected(api: APIClient) -> None:
    response = ask(api, [[BOUGHT] * 25, [BOUGHT] * 26])
    assert response.status_code == 422
    assert response.json() == {
        "advanced_filters": {"max": "The advanced_filters may not have more than 50 conditions."}
    }
