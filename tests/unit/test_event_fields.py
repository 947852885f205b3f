"""events.tracking.fields: what an event is after its fields have been validated."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.api.errors import InvalidFields
from events.tracking.fields import EventFields, parse_event, to_object_text, to_value_text
from tests.unit.rejections import rejection, rule

NOW = datetime(2024, 7, 15, 12, tzinfo=UTC)


def parse(**fields: Any) -> EventFields:
    """Return a valid event with these further fields."""
    return parse_event({"event_key": "checkout", "title": "Order placed"} | fields)


def errors(**fields: Any) -> dict[str, dict[str, str]]:
    """Return the errors of an event with these fields."""
    with pytest.raises(InvalidFields) as raised:
        parse(**fields)
    return raised.value.detail


def test_an_event_of_key_and_title_alone() -> None:
    assert parse() == EventFields(
        event_key="checkout",
        title="Order placed",
        value="",
        provider="custom",
        subscriber_id=0,
        email="",
        user_id="",
        repeatable=True,
        properties="{}",
        context="{}",
        occurred_at=None,
        idempotency_key="",
    )


def test_an_event_of_all_fields() -> None:
    event = parse(
        value=" 99.50 EUR ",
        provider=" shop ",
        email=" ada@example.com ",
        repeatable=False,
        properties={"b": 1, "a": [2]},
        context={"url": "/cart"},
        occurred_at="2024-07-15T12:00:00Z",
        idempotency_key="order-17",
        unknown="ignored",
    )
    assert event == EventFields(
        event_key="checkout",
        title="Order placed",
        value="99.50 EUR",
        provider="shop",
        subscriber_id=0,
        email="ada@example.com",
        user_id="",
        repeatable=False,
        properties='{"a":[2],"b":1}',
        context='{"url":"/cart"}',
        occurred_at=NOW,
        idempotency_key="order-17",
    )


@pytest.mark.parametrize(
    ("names", "named"),
    [
        ({"subscriber_id": 7, "email": "no e-mail", "user_id": []}, (7, "", "")),
        ({"subscriber_id": "7", "user_id": 9}, (7, "", "")),
        ({"subscriber_id": 0, "email": "a@example.com", "user_id": []}, (0, "a@example.com", "")),
        ({"subscriber_id": "", "email": "", "user_id": "auth0|5f7c"}, (0, "", "auth0|5f7c")),
        ({"subscriber_id": None, "email": None, "user_id": 9}, (0, "", "9")),
        ({"subscriber_id": False, "email": False, "user_id": " 9 "}, (0, "", "9")),
        ({"email": "0", "user_id": 9}, (0, "", "9")),
        ({"user_id": 0}, (0, "", "")),
        ({}, (0, "", "")),
    ],
)
def test_the_first_name_that_is_not_empty_names_the_contact(
    names: dict[str, Any], named: tuple[int, str, str]
) -> None:
    event = parse(**names)
    assert (event.subscriber_id, event.email, event.user_id) == named


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("subscriber_id", "00", "required"),
        ("email", "no e-mail", "email"),
        ("email", "  ", "email"),
        ("email", 5, "email"),
        ("user_id", "  ", "required"),
        ("user_id", True, "string"),
        ("user_id", "undefined", "string"),
        ("user_id", "a" * 193, "max"),
    ],
)
def test_a_name_that_is_no_name_never_means_the_caller(field: str, value: Any, rule: str) -> None:
    assert list(errors(**{field: value})) == [field]
    assert list(errors(**{field: value})[field]) == [rule]


@pytest.mark.parametrize(
    ("field", "length"), [("event_key", 192), ("title", 192), ("provider", 50)]
)
def test_a_long_text_is_cut(field: str, length: int) -> None:
    assert getattr(parse(**{field: "ä" * 200}), field) == "ä" * length


@pytest.mark.parametrize("field", ["event_key", "title", "provider"])
def test_whitespace_in_a_line_is_folded(field: str) -> None:
    assert getattr(parse(**{field: " a \n b "}), field) == "a b"


@pytest.mark.parametrize("provider", [None, "", " ", False])
def test_an_empty_provider_is_custom(provider: Any) -> None:
    assert parse(provider=provider).provider == "custom"


def test_all_invalid_fields_are_reported_at_once() -> None:
    invalid = {
        "event_key": " ",
        "title": ["a"],
        "value": "a" * 65_536,
        "provider": {"a": 1},
        "subscriber_id": -1,
        "repeatable": [],
        "properties": [1],
        "context": "{",
        "occurred_at": "yesterday",
        "idempotency_key": " ",
    }
    assert errors(**invalid) == {
        "event_key": {"required": "The event_key field is required."},
        "title": {"string": "The title must be a string."},
        "value": {"max": "The value may not be greater than 65535 characters."},
        "provider": {"string": "The provider must be a string."},
        "subscriber_id": {"numeric": "The subscriber_id must be a number."},
        "repeatable": {"boolean": "The repeatable must be true or false."},
        "properties": {"object": "The properties must be an object."},
        "context": {"json": "The context must be JSON."},
        "occurred_at": {
            "date": "The occurred_at is not a valid date. Send YYYY-MM-DD HH:MM:SS, or ISO 8601 "
            "such as 2026-01-31T09:30:00+01:00."
        },
        "idempotency_key": {"min": "The idempotency_key must be at least 1 character."},
    }


def test_key_and_title_are_required() -> None:
    with pytest.raises(InvalidFields) as raised:
        parse_event({})
    assert raised.value.detail == {
        "event_key": {"required": "The event_key field is required."},
        "title": {"required": "The title field is required."},
    }


@pytest.mark.parametrize(
    ("sent", "default", "repeatable"),
    [
        ({}, True, True),
        ({"repeatable": None}, True, True),
        ({"repeatable": True}, True, True),
        ({"repeatable": "YES"}, True, True),
        ({"repeatable": "no"}, True, False),
        ({"repeatable": False}, True, False),
        ({"repeatable": "false"}, True, False),
        ({"repeatable": 0}, True, False),
        ({"repeatable": ""}, True, False),
        ({}, False, False),
        ({"repeatable": True}, False, False),
    ],
)
def test_an_event_is_repeatable_unless_request_or_caller_says_otherwise(
    sent: dict[str, Any], default: bool, repeatable: bool
) -> None:
    event = parse_event({"event_key": "k", "title": "t"} | sent, repeatable=default)
    assert event.repeatable is repeatable


@pytest.mark.parametrize(
    ("sent", "key"), [(None, ""), ("a", "a"), (" a ", " a "), (5, "5"), ("ä" * 255, "ä" * 255)]
)
def test_an_idempotency_key_is_kept_as_sent(sent: Any, key: str) -> None:
    assert parse(idempotency_key=sent).idempotency_key == key


@pytest.mark.parametrize(
    ("key", "rule"), [("", "min"), (" ", "min"), (False, "min"), ("a" * 256, "max"), ([], "string")]
)
def test_an_invalid_idempotency_key_is_rejected(key: Any, rule: str) -> None:
    assert list(errors(idempotency_key=key)["idempotency_key"]) == [rule]


def test_the_callers_idempotency_key_replaces_the_one_sent() -> None:
    sent = {"event_key": "k", "title": "t", "idempotency_key": "body"}
    assert parse_event(sent, idempotency_key="header").idempotency_key == "header"


def test_the_callers_idempotency_key_is_validated() -> None:
    with pytest.raises(InvalidFields) as raised:
        parse_event({"event_key": "k", "title": "t"}, idempotency_key="a" * 256)
    assert list(raised.value.detail) == ["idempotency_key"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" 99 \n", "99"),
        (99.5, "99.5"),
        (True, "1"),
        (None, ""),
        ([1, "ä"], '[1,"ä"]'),
        ({"b": 1, "a": 2}, '{"b":1,"a":2}'),
        ([], "[]"),
        ("a" * 65_535, "a" * 65_535),
        (f" {'a' * 65_535} ", "a" * 65_535),
    ],
)
def test_a_value_becomes_text(value: Any, text: str) -> None:
    assert to_value_text(value) == text


@pytest.mark.parametrize(
    ("value", "broken_rule"),
    [
        ("a" * 65_536, "max"),
        (["a" * 65_535], "max"),
        ("a\0", "string"),
        (["a\0"], "string"),
        ([[[[[[[[[[[]]]]]]]]]]], "depth"),
    ],
)
def test_an_invalid_value_is_rejected(value: Any, broken_rule: str) -> None:
    assert rule(to_value_text, value) == broken_rule


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_an_empty_object_is_stored_as_such(value: Any) -> None:
    assert to_object_text(value) == "{}"


@pytest.mark.parametrize("field", ["properties", "context"])
@pytest.mark.parametrize("value", ['{"b": 1, "a": 2}', {"b": 1, "a": 2}])
def test_an_object_may_be_sent_as_json_text(field: str, value: Any) -> None:
    assert getattr(parse(**{field: value}), field) == '{"a":2,"b":1}'


def test_an_object_of_64_kb_is_accepted() -> None:
    text = to_object_text({"a": "x" * (65_536 - len('{"a":""}'))})
    assert len(text) == 65_536


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x" * (65_537 - len('{"a":""}'))},
        {"a": "ä" * 32_765},
        # 300 digits each in PostgreSQL
        {"a": [1e300] * 220},
    ],
)
def test_an_object_over_64_kb_is_rejected(value: Any) -> None:
    message = "The field may not be greater than 64 KB."
    assert rejection(to_object_text, value) == {"max": message}


def keys(number: int) -> dict[str, int]:
    """Return an object of a number of keys."""
    return {f"k{index}": 0 for index in range(number)}


@pytest.mark.parametrize("value", [keys(300), {"a": keys(300), "b": [keys(300)]}])
def test_300_keys_in_each_object_are_accepted(value: Any) -> None:
    assert to_object_text(value).startswith("{")


@pytest.mark.parametrize(
    "value", [keys(301), {"a": keys(301)}, {"a": [1, [keys(301)]]}, {"a": {}, "b": [], **keys(299)}]
)
def test_more_keys_in_one_object_are_rejected(value: Any) -> None:
    message = "The field may not have more than 300 keys."
    assert rejection(to_object_text, value) == {"keys": message}


@pytest.mark.parametrize("value", [{"a": 2**64}, {"a": {1, 2}}, {1: "a"}])
def test_a_python_object_that_is_not_json_is_rejected(value: Any) -> None:
    assert rule(to_object_text, value) == "json"


@pytest.fixture
def frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be NOW."""
    monkeypatch.setattr("events.tracking.fields.time", NOW.timestamp)


@pytest.mark.parametrize(
    ("sent", "occurred_at"),
    [
        (None, None),
        ("", None),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2024-07-16T12:00:00Z", NOW + timedelta(days=1)),
        (NOW, NOW),
    ],
)
def test_an_event_happened_from_1970_to_a_day_ahead(
    frozen_time: None, sent: Any, occurred_at: datetime | None
) -> None:
    assert parse(occurred_at=sent).occurred_at == occurred_at


@pytest.mark.parametrize("sent", ["1969-12-31T23:59:59Z", "2024-07-16T12:00:01Z"])
def test_an_event_outside_of_that_is_rejected(frozen_time: None, sent: str) -> None:
    message = "The occurred_at must be between 1970 and a day ahead."
    assert errors(occurred_at=sent) == {"occurred_at": {"between": message}}
