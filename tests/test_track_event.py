"""POST /subscribers/track-event: the table of fields, over the real socket."""

import json
from typing import Any

import psycopg
import pytest

from tests.system.server import API, Client

TRACK = f"{API}/subscribers/track-event"


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com")


def event(**fields: Any) -> dict[str, Any]:
    return {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"} | fields


def stored(store: psycopg.Connection, column: str) -> list[Any]:
    query = f"SELECT {column} FROM events_trackedevent ORDER BY id"
    return [row[0] for row in store.execute(query)]


@pytest.mark.parametrize("field", ["event_key", "title"])
@pytest.mark.parametrize("value", [None, "", " \t\n", False, [], {}])
def test_a_key_or_title_that_is_empty_is_required(
    api: Client, store: psycopg.Connection, ada: int, field: str, value: Any
) -> None:
    answer = api.track(**event(**{field: value}))
    assert answer.status == 422
    assert answer.json() == {field: {"required": f"The {field} field is required."}}
    assert stored(store, "id") == []


@pytest.mark.parametrize("field", ["event_key", "title", "provider"])
@pytest.mark.parametrize(
    ("sent", "kept"), [(5, "5"), (True, "1"), (99.5, "99.5"), (2.0, "2"), (0, "0")]
)
def test_a_number_and_true_are_taken_as_text(
    api: Client, store: psycopg.Connection, ada: int, field: str, sent: Any, kept: str
) -> None:
    assert api.track(**event(**{field: sent})).status == 200
    assert stored(store, field) == [kept]


@pytest.mark.parametrize("field", ["event_key", "title", "provider"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_a_list_or_object_is_no_text(
    api: Client, store: psycopg.Connection, ada: int, field: str, value: Any
) -> None:
    answer = api.track(**event(**{field: value}))
    assert (answer.status, answer.json()) == (
        422,
        {field: {"string": f"The {field} must be a string."}},
    )
    assert stored(store, "id") == []


@pytest.mark.parametrize("empty", [None, "", "  ", False])
def test_an_empty_provider_is_custom(
    api: Client, store: psycopg.Connection, ada: int, empty: Any
) -> None:
    assert api.track(**event(provider=empty)).status == 200
    assert stored(store, "provider") == ["custom"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, ""),
        ("", ""),
        (False, ""),
        (12, "12"),
        (True, "1"),
        ([1, {"a": "ü"}], '[1,{"a":"ü"}]'),
        ({}, "{}"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_value_is_kept_as_text_or_json_text(
    api: Client, store: psycopg.Connection, ada: int, sent: Any, kept: str
) -> None:
    assert api.track(**event(value=sent)).status == 200
    assert stored(store, "value") == [kept]


def test_a_value_of_65535_characters_is_kept_and_one_more_is_refused(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    assert api.track(**event(value="ü" * 65_535)).status == 200
    answer = api.track(**event(value="ü" * 65_536))
    assert answer.status == 422
    assert list(answer.json()["value"]) == ["max"]
    assert stored(store, "counter") == [1]


@pytest.mark.parametrize("field", ["subscriber_id", "user_id"])
@pytest.mark.parametrize(
    "value", [1.5, 1.0, True, "1abc", "1e3", "-1", -1, 2**63, str(2**63), [1], {"a": 1}, "\u0661"]
)
def test_an_id_that_is_no_whole_number_is_refused(
    api: Client, store: psycopg.Connection, ada: int, field: str, value: Any
) -> None:
    answer = api.track(**event(**{field: value}))
    assert (answer.status, answer.json()) == (
        422,
        {field: {"numeric": f"The {field} must be a number."}},
    )
    assert stored(store, "id") == []


@pytest.mark.parametrize("field", ["subscriber_id", "user_id", "email"])
@pytest.mark.parametrize("empty", [None, "", 0, "0", False])
def test_a_name_that_is_empty_falls_through(
    api: Client, store: psycopg.Connection, ada: int, field: str, empty: Any
) -> None:
    fields = event(subscriber_id=ada)
    if field == "subscriber_id":
        fields = event()
    assert api.track(**(fields | {field: empty})).status == 200
    assert stored(store, "subscriber_id") == [ada]


@pytest.mark.parametrize("value", [["ada@example.com"], {"a": 1}])
def test_an_email_that_is_a_list_is_refused(api: Client, ada: int, value: Any) -> None:
    answer = api.track(**event(email=value))
    assert (answer.status, answer.json()) == (
        422,
        {"email": {"email": "The email must be a valid email address."}},
    )


@pytest.mark.parametrize("value", ["nonsense", 7, True, "  ", "a\u2028b"])
def test_an_email_that_is_none_names_nobody(api: Client, ada: int, value: Any) -> None:
    answer = api.track(**event(email=value))
    assert (answer.status, answer.json()["error_code"]) == (422, "subscriber_not_found")


@pytest.mark.parametrize("largest", [2**63 - 1, str(2**63 - 1)])
def test_the_largest_id_is_looked_up_and_not_found(
    api: Client, ada: int, largest: int | str
) -> None:
    answer = api.track(**event(subscriber_id=largest))
    assert (answer.status, answer.json()["message"]) == (422, "Subscriber not found")


def test_the_first_name_that_is_not_empty_decides_although_another_would_be_found(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    assert api.track(**event(subscriber_id=ada + 1000)).status == 422
    assert stored(store, "id") == []


@pytest.mark.parametrize("field", ["event_key", "title", "provider", "value", "email"])
def test_a_nul_is_refused_by_field_and_stores_nothing(
    api: Client, store: psycopg.Connection, ada: int, field: str
) -> None:
    answer = api.track(**event(**{field: "a\0b"}))
    assert answer.status == 422
    assert list(answer.json()) == [field]
    assert stored(store, "id") == []


@pytest.mark.parametrize("value", [{"a\0": 1}, ["x", {"y": ["a\0b"]}]])
def test_a_nul_inside_a_value_is_refused(
    api: Client, store: psycopg.Connection, ada: int, value: Any
) -> None:
    assert list(api.track(**event(value=value)).json()) == ["value"]
    assert stored(store, "id") == []


def test_a_value_nested_deeper_than_ten_levels_is_refused(api: Client, ada: int) -> None:
    deep: list[Any] = []
    for _ in range(9):
        deep = [deep]
    assert api.track(**event(value=deep)).status == 200
    answer = api.track(**event(value=[deep]))
    assert (answer.status, list(answer.json()["value"])) == (422, ["depth"])


def test_all_wrong_fields_are_told_at_once(api: Client) -> None:
    answer = api.track(event_key="", title=["x"], subscriber_id="x", email={"a": 1}, provider=[1])
    assert {field: list(rules) for field, rules in answer.json().items()} == {
        "event_key": ["required"],
        "title": ["string"],
        "subscriber_id": ["numeric"],
        "email": ["email"],
        "provider": ["string"],
    }


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"7", b"", b"  ", b"[1,2]"])
def test_json_that_is_no_object_has_no_fields(api: Client, body: bytes) -> None:
    answer = api("POST", TRACK, body=body, headers={"Content-Type": "application/json"})
    assert answer.status == 422
    assert set(answer.json()) == {"event_key", "title"}


def test_192_characters_are_kept_and_the_rest_is_cut(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    api.track(**event(event_key="ü" * 192, title="🎉" * 193, provider="p" * 51))
    assert stored(store, "event_key") == ["ü" * 192]
    assert stored(store, "title") == ["🎉" * 192]
    assert stored(store, "provider") == ["p" * 50]


def test_a_title_sent_back_as_it_is_shown_counts_on_the_same_event(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    api.track(**event(title="x" * 191 + "  cut after a blank"))
    shown = stored(store, "title")[0]
    api.track(**event(title=shown))
    assert stored(store, "counter") == [2]


def test_the_body_wins_over_the_query_string(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    answer = api("POST", f"{TRACK}?title=Query&value=q", event(title="Body"))
    assert answer.status == 200
    assert stored(store, "title || '/' || value") == ["Body/q"]


def test_a_multipart_form_is_taken(api: Client, store: psycopg.Connection, ada: int) -> None:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in event(value="ü").items()
    )
    answer = api(
        "POST",
        TRACK,
        body=f"{parts}--b--\r\n".encode(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status == 200
    assert stored(store, "value") == ["ü"]


@pytest.mark.parametrize("word", ["false", "0", ""])
def test_repeatable_false_in_a_form_makes_a_row_of_its_own(
    api: Client, store: psycopg.Connection, ada: int, word: str
) -> None:
    for _ in range(2):
        assert api("POST", TRACK, form=event(repeatable=word)).status == 200
    assert stored(store, "counter") == [1, 1]


@pytest.mark.parametrize("word", [True, 1, "1", "true", "yes", None])
def test_any_other_repeatable_counts_up(
    api: Client, store: psycopg.Connection, ada: int, word: Any
) -> None:
    for _ in range(2):
        assert api.track(**event(repeatable=word)).status == 200
    assert stored(store, "counter") == [2]


@pytest.mark.parametrize("path", [TRACK, f"{TRACK}/", "/subscribers/track-event"])
def test_it_answers_below_wordpress_and_at_the_root_with_and_without_a_slash(
    api: Client, ada: int, path: str
) -> None:
    assert api("POST", path, event()).json()["message"] == "Event has been tracked"


def test_every_occurrence_is_written_as_it_was_sent(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    api.track(**event(value="1", provider="first"))
    api.track(**event(value="2", provider="second"))
    api.track(**event(value="3", repeatable=False))
    rows = store.execute(
        "SELECT o.value, o.provider, o.counter, o.event_key, o.subscriber_id, o.event_id = e.id, "
        "o.occurred_at = o.received_at, o.properties, o.context FROM events_eventoccurrence o "
        "JOIN events_trackedevent e ON e.id = o.event_id ORDER BY o.id"
    ).fetchall()
    always: tuple[Any, ...] = ("checkout", ada, True, True, {}, {})
    assert rows == [
        ("1", "first", 1, *always),
        ("2", "second", 2, *always),
        ("3", "custom", 1, *always),
    ]


def test_created_by_is_the_caller_and_null_shows_0(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    api.track(**event())
    timeline = f"{API}/subscribers/{ada}/tracking-events"
    assert api("GET", timeline).json()["events"]["data"][0]["created_by"] == "1"
    store.execute("UPDATE events_trackedevent SET created_by_id = NULL")
    assert api("GET", timeline).json()["events"]["data"][0]["created_by"] == "0"


def test_the_order_of_checks_is_credentials_fields_switch_contact(api: Client) -> None:
    api("POST", f"{API}/setting/experiments", {"settings": {"event_tracking": "no"}})
    assert api("POST", TRACK, {}, auth=None).status == 401
    assert "title" in api("POST", TRACK, {"event_key": "x"}).json()
    assert api("POST", TRACK, event()).json()["error_code"] == "not_enabled"
    api("POST", f"{API}/setting/experiments", {"settings": {"event_tracking": "yes"}})
    assert api("POST", TRACK, event()).json()["error_code"] == "subscriber_not_found"


def test_equal_json_keys_the_last_one_wins(
    api: Client, store: psycopg.Connection, ada: int
) -> None:
    body = json.dumps(event())[:-1] + ', "title": "Last"}'
    api("POST", TRACK, body=body.encode(), headers={"Content-Type": "application/json"})
    assert stored(store, "title") == ["Last"]
