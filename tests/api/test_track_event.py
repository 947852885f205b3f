"""POST /subscribers/track-event: how each field is read, and what is stored."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from rest_framework.test import APIClient

from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent

PREFIX = "/wp-json/fluent-crm/v2"
TRACK = "/subscribers/track-event"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def event(**fields: Any) -> dict[str, Any]:
    """Return an event of ada with these fields."""
    return {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"} | fields


@pytest.mark.parametrize("field", ["event_key", "title"])
@pytest.mark.parametrize("value", [None, "", " \t\n", False, [], {}])
def test_an_empty_key_or_title_is_rejected_as_required(
    api: APIClient, ada: Subscriber, field: str, value: Any
) -> None:
    response = api.post(TRACK, event(**{field: value}))
    assert response.status_code == 422
    assert response.json() == {field: {"required": f"The {field} field is required."}}
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize("field", ["event_key", "title", "provider"])
@pytest.mark.parametrize(
    ("sent", "kept"), [(5, "5"), (True, "1"), (99.5, "99.5"), (2.0, "2"), (0, "0")]
)
def test_a_number_or_true_is_accepted_as_text(
    api: APIClient, ada: Subscriber, field: str, sent: Any, kept: str
) -> None:
    assert api.post(TRACK, event(**{field: sent})).status_code == 200
    assert getattr(TrackedEvent.objects.get(), field) == kept


@pytest.mark.parametrize("field", ["event_key", "title", "provider"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_a_list_or_object_is_rejected_as_text(
    api: APIClient, ada: Subscriber, field: str, value: Any
) -> None:
    response = api.post(TRACK, event(**{field: value}))
    assert response.status_code == 422
    assert response.json() == {field: {"string": f"The {field} must be a string."}}
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize("empty", [None, "", "  ", False])
def test_an_empty_provider_is_custom(api: APIClient, ada: Subscriber, empty: Any) -> None:
    assert api.post(TRACK, event(provider=empty)).status_code == 200
    assert TrackedEvent.objects.get().provider == "custom"


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
    api: APIClient, ada: Subscriber, sent: Any, kept: str
) -> None:
    assert api.post(TRACK, event(value=sent)).status_code == 200
    assert TrackedEvent.objects.get().value == kept


def test_a_value_of_65535_characters_is_accepted(api: APIClient, ada: Subscriber) -> None:
    assert api.post(TRACK, event(value="ü" * 65_535)).status_code == 200
    assert TrackedEvent.objects.get().value == "ü" * 65_535


def test_a_value_of_more_than_65535_characters_is_rejected(api: APIClient, ada: Subscriber) -> None:
    response = api.post(TRACK, event(value="ü" * 65_536))
    assert response.status_code == 422
    assert list(response.json()["value"]) == ["max"]
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize(
    "value", [1.5, 1.0, True, "1abc", "1e3", "-1", -1, 2**63, str(2**63), [1], {"a": 1}, "\u0661"]
)
def test_an_id_that_is_no_whole_number_is_rejected(
    api: APIClient, ada: Subscriber, value: Any
) -> None:
    response = api.post(TRACK, event(subscriber_id=value))
    assert response.status_code == 422
    assert response.json() == {"subscriber_id": {"numeric": "The subscriber_id must be a number."}}
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize("empty", [None, "", 0, "0", False])
@pytest.mark.parametrize("field", ["user_id", "email"])
def test_an_empty_user_id_or_email_is_ignored(
    api: APIClient, ada: Subscriber, field: str, empty: Any
) -> None:
    assert api.post(TRACK, event(subscriber_id=ada.id) | {field: empty}).status_code == 200
    assert TrackedEvent.objects.get().subscriber == ada


@pytest.mark.parametrize("empty", [None, "", 0, "0", False])
def test_an_empty_subscriber_id_is_ignored(api: APIClient, ada: Subscriber, empty: Any) -> None:
    assert api.post(TRACK, event(subscriber_id=empty)).status_code == 200
    assert TrackedEvent.objects.get().subscriber == ada


@pytest.mark.parametrize("value", [["ada@example.com"], {"a": 1}])
def test_an_email_that_is_a_list_or_object_is_rejected(
    api: APIClient, ada: Subscriber, value: Any
) -> None:
    response = api.post(TRACK, event(email=value))
    assert response.status_code == 422
    assert response.json() == {"email": {"email": "The email must be a valid email address."}}


@pytest.mark.parametrize("value", ["nonsense", 7, True, "  ", "a\u2028b"])
def test_a_text_that_is_no_email_is_rejected_as_such(
    api: APIClient, ada: Subscriber, value: Any
) -> None:
    response = api.post(TRACK, event(email=value))
    assert response.status_code == 422
    assert response.json() == {"email": {"email": "The email must be a valid email address."}}


@pytest.mark.parametrize("largest", [2**63 - 1, str(2**63 - 1)])
def test_the_largest_id_is_looked_up_and_not_found(
    api: APIClient, ada: Subscriber, largest: int | str
) -> None:
    response = api.post(TRACK, event(subscriber_id=largest))
    assert (response.status_code, response.json()["message"]) == (422, "Subscriber not found")


def test_a_wrong_subscriber_id_is_rejected_although_the_email_exists(
    api: APIClient, ada: Subscriber
) -> None:
    assert api.post(TRACK, event(subscriber_id=ada.id + 1000)).status_code == 422
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize("field", ["event_key", "title", "provider", "value", "email"])
def test_a_nul_is_rejected_by_field(api: APIClient, ada: Subscriber, field: str) -> None:
    response = api.post(TRACK, event(**{field: "a\0b"}))
    assert response.status_code == 422
    assert list(response.json()) == [field]
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize("value", [{"a\0": 1}, ["x", {"y": ["a\0b"]}]])
def test_a_nul_inside_a_value_is_rejected(api: APIClient, ada: Subscriber, value: Any) -> None:
    response = api.post(TRACK, event(value=value))
    assert (response.status_code, list(response.json())) == (422, ["value"])
    assert not TrackedEvent.objects.exists()


def nested(levels: int) -> list[Any]:
    """Return an empty list inside as many lists as make these levels."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_a_value_nested_ten_levels_deep_is_accepted(api: APIClient, ada: Subscriber) -> None:
    assert api.post(TRACK, event(value=nested(10))).status_code == 200
    assert TrackedEvent.objects.get().value == "[" * 10 + "]" * 10


def test_a_value_nested_deeper_than_ten_levels_is_rejected(api: APIClient, ada: Subscriber) -> None:
    response = api.post(TRACK, event(value=nested(11)))
    assert (response.status_code, list(response.json()["value"])) == (422, ["depth"])


def test_all_wrong_fields_are_named_at_once(api: APIClient) -> None:
    wrong = {"event_key": "", "title": ["x"], "email": {"a": 1}}
    response = api.post(TRACK, {**wrong, "provider": [1]})
    assert response.status_code == 422
    assert {field: list(rules) for field, rules in response.json().items()} == {
        "event_key": ["required"],
        "title": ["string"],
        "email": ["email"],
        "provider": ["string"],
    }


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"7", b"", b"  ", b"[1,2]"])
def test_json_that_is_no_object_has_no_fields(api: APIClient, body: bytes) -> None:
    response = api.post(TRACK, body, content_type=JSON)
    assert response.status_code == 422
    assert set(response.json()) == {"event_key", "title"}


@pytest.mark.parametrize(
    ("field", "sent", "kept"),
    [
        ("event_key", "ü" * 192, "ü" * 192),
        ("event_key", "ü" * 193, "ü" * 192),
        ("title", "🎉" * 193, "🎉" * 192),
        ("provider", "p" * 51, "p" * 50),
    ],
)
def test_a_text_that_is_too_long_is_cut(
    api: APIClient, ada: Subscriber, field: str, sent: str, kept: str
) -> None:
    assert api.post(TRACK, event(**{field: sent})).status_code == 200
    assert getattr(TrackedEvent.objects.get(), field) == kept


def test_a_title_that_was_cut_counts_on_the_same_event_when_sent_again(
    api: APIClient, ada: Subscriber
) -> None:
    api.post(TRACK, event(title="x" * 191 + "  cut after a blank"))
    shown = TrackedEvent.objects.get().title
    api.post(TRACK, event(title=shown))
    assert TrackedEvent.objects.get().counter == 2


def test_the_body_wins_over_the_query_string(api: APIClient, ada: Subscriber) -> None:
    response = api.post(f"{TRACK}?title=Query&value=q", event(title="Body"))
    assert response.status_code == 200
    stored = TrackedEvent.objects.get()
    assert (stored.title, stored.value) == ("Body", "q")


def test_a_multipart_form_is_accepted(api: APIClient, ada: Subscriber) -> None:
    assert api.post(TRACK, event(value="ü"), format="multipart").status_code == 200
    stored = TrackedEvent.objects.get()
    assert (stored.event_key, stored.title, stored.value) == ("checkout", "Order placed", "ü")


@pytest.mark.parametrize("word", ["false", "False", "no", "0", ""])
def test_repeatable_false_in_a_form_makes_a_row_of_its_own(
    api: APIClient, ada: Subscriber, word: str
) -> None:
    form = urlencode(event(repeatable=word))
    assert api.post(TRACK, form, content_type=FORM).status_code == 200
    assert api.post(TRACK, form, content_type=FORM).status_code == 200
    assert [stored.counter for stored in TrackedEvent.objects.all()] == [1, 1]


@pytest.mark.parametrize("word", [True, 1, "1", "True", "yes", None])
def test_repeatable_true_or_null_counts_up(api: APIClient, ada: Subscriber, word: Any) -> None:
    assert api.post(TRACK, event(repeatable=word)).status_code == 200
    assert api.post(TRACK, event(repeatable=word)).status_code == 200
    assert TrackedEvent.objects.get().counter == 2


@pytest.mark.parametrize("path", [PREFIX + TRACK, f"{PREFIX}{TRACK}/", TRACK, f"{TRACK}/"])
def test_the_url_may_have_the_prefix_of_wordpress_and_a_slash_at_its_end(
    api: APIClient, ada: Subscriber, path: str
) -> None:
    assert api.post(path, event()).json()["message"] == "Event has been tracked"


def test_every_occurrence_is_stored_as_it_was_sent(api: APIClient, ada: Subscriber) -> None:
    api.post(TRACK, event(value="1", provider="first"))
    api.post(TRACK, event(value="2", provider="second"))
    api.post(TRACK, event(value="3", repeatable=False))
    columns = ("value", "provider", "counter", "event__counter", "event__repeatable")
    always: tuple[Any, ...] = ("checkout", ada.id, {}, {})
    rows = EventOccurrence.objects.filter(occurred_at=F("received_at")).order_by("id")
    found = rows.values_list(*columns, "event_key", "subscriber_id", "properties", "context")
    assert list(found) == [
        ("1", "first", 1, 2, True, *always),
        ("2", "second", 2, 2, True, *always),
        ("3", "custom", 1, 1, False, *always),
    ]


def created_by(api: APIClient, contact: Subscriber) -> str:
    """Return who created the only event of a contact, as the API shows it."""
    page = api.get(f"/subscribers/{contact.id}/tracking-events").json()["events"]
    shown: str = page["data"][0]["created_by"]
    return shown


def test_an_event_is_created_by_its_caller(api: APIClient, admin: User, ada: Subscriber) -> None:
    api.post(TRACK, event())
    assert created_by(api, ada) == str(admin.id)


def test_an_event_that_no_user_created_shows_0(api: APIClient, ada: Subscriber) -> None:
    api.post(TRACK, event())
    TrackedEvent.objects.update(created_by=None)
    assert created_by(api, ada) == "0"


@pytest.fixture
def switched_off(api: APIClient) -> None:
    """Tracking is switched off."""
    api.post("/setting/experiments", {"settings": {"event_tracking": "no"}})


def test_credentials_are_checked_before_the_fields(
    switched_off: None, anonymous: APIClient
) -> None:
    assert anonymous.post(TRACK, {}).status_code == 401


def test_fields_are_checked_before_the_switch(switched_off: None, api: APIClient) -> None:
    response = api.post(TRACK, {"event_key": "x"})
    assert (response.status_code, list(response.json())) == (422, ["title"])


def test_the_switch_is_checked_before_the_contact(switched_off: None, api: APIClient) -> None:
    response = api.post(TRACK, event())
    assert (response.status_code, response.json()["error_code"]) == (422, "not_enabled")


def test_the_contact_is_checked_last(api: APIClient) -> None:
    response = api.post(TRACK, event())
    assert (response.status_code, response.json()["error_code"]) == (422, "subscriber_not_found")


def test_the_last_of_equal_json_keys_wins(api: APIClient, ada: Subscriber) -> None:
    body = json.dumps(event())[:-1] + ', "title": "Last"}'
    assert api.post(TRACK, body.encode(), content_type=JSON).status_code == 200
    assert TrackedEvent.objects.get().title == "Last"


@pytest.mark.parametrize("body", ['{"event_key":"a"}', ' [{"event_key":"a"}]'])
def test_json_that_is_sent_as_a_form_is_told_so(api: APIClient, body: str) -> None:
    response = api.post(TRACK, body, content_type="application/x-www-form-urlencoded")
    assert response.status_code == 400
    assert "Content-Type: application/json" in response.json()["message"]


@pytest.mark.parametrize("field", ["timestamp", "time", "created_at", "counter"])
def test_a_field_that_another_program_means_is_told(
    api: APIClient, ada: Subscriber, field: str
) -> None:
    response = api.post(TRACK, event(**{field: "47"}))
    assert response.status_code == 200
    assert [warning["field"] for warning in response.json()["warnings"]] == [field]


@pytest.mark.parametrize(("field", "limit"), [("event_key", 192), ("title", 192), ("provider", 50)])
def test_a_text_that_is_cut_is_told(
    api: APIClient, ada: Subscriber, field: str, limit: int
) -> None:
    event = {"event_key": "k", "title": "t", "email": "ada@example.com", field: "a" * (limit + 1)}
    response = api.post("/subscribers/track-event", event)
    message = f"The {field} was cut at {limit} characters."
    assert response.json()["warnings"] == [{"field": field, "rule": "max", "message": message}]
    assert getattr(TrackedEvent.objects.get(), field) == "a" * limit
