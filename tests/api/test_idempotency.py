"""Retries count once: the header Idempotency-Key and the field idempotency_key."""

import hashlib
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from events.models import IdempotencyKey, TrackedEvent, TrackingSwitch
from tests.api.conftest import MakePassword, basic
from tests.api.counts import counted

TRACK = "/subscribers/track-event"
FORM = "application/x-www-form-urlencoded"
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}
MISMATCH = {
    "message": "This idempotency key was used before with other content",
    "error_code": "idempotency_mismatch",
}


def track(api: APIClient, **fields: Any) -> Any:
    """Track the event without the header."""
    return api.post(TRACK, EVENT | fields)


def track_keyed(api: APIClient, key: str, **fields: Any) -> Any:
    """Track the event with the header Idempotency-Key."""
    return api.post(TRACK, EVENT | fields, headers={"Idempotency-Key": key})


def test_a_retry_counts_nothing_and_gets_the_first_response(
    api: APIClient, ada: Subscriber
) -> None:
    first = track_keyed(api, "order 1", value=1)
    track(api, value=2)
    again = track_keyed(api, "order 1", value=1)
    assert first.status_code == 200
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert counted() == (2, 2)
    assert TrackedEvent.objects.get().value == "2"


def test_a_key_in_the_body_is_the_same_key_as_in_the_header(
    api: APIClient, ada: Subscriber
) -> None:
    first = track(api, idempotency_key="order 1")
    again = track_keyed(api, "order 1")
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    form = urlencode(EVENT | {"idempotency_key": "order 1"})
    assert api.post(TRACK, form, content_type=FORM).json() == first.json()
    assert counted() == (1, 1)


def test_the_order_of_properties_makes_no_difference(api: APIClient, ada: Subscriber) -> None:
    track_keyed(api, "k", properties={"a": 1, "b": {"c": 2, "d": 3}})
    response = track_keyed(api, "k", properties={"b": {"d": 3, "c": 2}, "a": 1})
    assert response.status_code == 200
    assert counted() == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"event_key": "other"},
        {"title": "other"},
        {"value": "other"},
        {"provider": "other"},
        {"email": "bob@example.com"},
        {"repeatable": False},
        {"properties": {"a": 1}},
        {"context": {"a": 1}},
        {"occurred_at": "2024-01-17 14:27:35"},
    ],
)
def test_the_same_key_with_other_content_is_422_and_counts_nothing(
    api: APIClient, ada: Subscriber, change: dict[str, Any]
) -> None:
    create({"email": "bob@example.com"})
    track_keyed(api, "order 1")
    response = track_keyed(api, "order 1", **change)
    assert (response.status_code, response.json()) == (422, MISMATCH)
    assert counted() == (1, 1)


@pytest.mark.parametrize("key", ["x", "ü 🎁", "k" * 255, "a b/c;d=e, 'f' \"g\""])
def test_any_text_of_1_to_255_characters_is_a_key(
    api: APIClient, ada: Subscriber, key: str
) -> None:
    for _ in range(2):
        assert track(api, idempotency_key=key).status_code == 200
    assert counted() == (1, 1)


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("", "min"),
        ("  ", "min"),
        ("k" * 256, "max"),
        ("a\0", "string"),
        (["a"], "string"),
        (False, "min"),
    ],
)
def test_a_key_in_the_body_that_is_empty_too_long_or_no_text_is_422(
    api: APIClient, ada: Subscriber, key: Any, rule: str
) -> None:
    response = track(api, idempotency_key=key)
    assert (response.status_code, list(response.json())) == (422, ["idempotency_key"])
    assert list(response.json()["idempotency_key"]) == [rule]
    assert counted() == (0, 0)


@pytest.mark.parametrize("key", ["", "  ", "k" * 256])
def test_a_key_in_the_header_that_is_empty_or_too_long_is_422(
    api: APIClient, ada: Subscriber, key: str
) -> None:
    assert track_keyed(api, key).status_code == 422
    assert counted() == (0, 0)


def test_null_is_no_key(api: APIClient, ada: Subscriber) -> None:
    for _ in range(2):
        assert track(api, idempotency_key=None).status_code == 200
    assert counted() == (2, 2)


@pytest.mark.parametrize("change", [{"email": "bob@example.com"}, {"title": ""}])
def test_a_rejected_request_leaves_its_key_free(
    api: APIClient, ada: Subscriber, change: dict[str, str]
) -> None:
    assert track_keyed(api, "k", **change).status_code == 422
    assert track_keyed(api, "k").status_code == 200
    assert counted() == (1, 1)


def test_a_request_while_tracking_is_off_leaves_its_key_free(
    api: APIClient, ada: Subscriber
) -> None:
    TrackingSwitch.set_enabled(False)
    assert track_keyed(api, "k").json()["error_code"] == "not_enabled"
    TrackingSwitch.set_enabled(True)
    assert track_keyed(api, "k").status_code == 200
    assert counted() == (1, 1)


def test_each_application_password_has_keys_of_its_own(
    admin: User, anonymous: APIClient, ada: Subscriber, make_password: MakePassword
) -> None:
    secrets = [make_password(admin, scope) for scope in ("track", "manage", "track")]

    def replayed() -> list[tuple[int, str | None]]:
        """Send the key once with each password, and return the statuses and the header."""
        responses = []
        for value, secret in enumerate(secrets):
            anonymous.credentials(HTTP_AUTHORIZATION=basic("admin", secret))
            responses.append(track_keyed(anonymous, "k", value=value))
        return [
            (response.status_code, response.headers.get("Idempotency-Replayed"))
            for response in responses
        ]

    assert replayed() == [(200, None)] * 3
    assert replayed() == [(200, "true")] * 3
    assert counted() == (3, 3)


def test_a_retry_for_a_deleted_contact_is_422(api: APIClient, ada: Subscriber) -> None:
    track_keyed(api, "k")
    api.delete(f"/subscribers/{ada.pk}")
    response = track_keyed(api, "k")
    assert (response.status_code, response.json()["error_code"]) == (422, "subscriber_not_found")
    assert counted() == (0, 0)


def test_a_retry_counts_for_a_contact_that_was_deleted_and_created_again(
    api: APIClient, ada: Subscriber
) -> None:
    track_keyed(api, "k")
    api.delete(f"/subscribers/{ada.pk}")
    create({"email": "ada@example.com"})
    assert track_keyed(api, "k").status_code == 200
    assert counted() == (1, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"email": "ada@example.com"}, {"email": "ADA@Example.com"}),
        (
            {"occurred_at": "2026-11-20T10:00:00Z"},
            {"occurred_at": "2026-11-20T11:00:00.000+01:00"},
        ),
        ({"properties": {"n": 2, "deep": [2]}}, {"properties": {"n": 2.0, "deep": [2.0]}}),
        ({"context": {"n": 2}}, {"context": {"n": 2.0}}),
        ({"properties": {"n": 1e16}}, {"properties": {"n": 10_000_000_000_000_000}}),
        ({"properties": {"n": -1e18}}, {"properties": {"n": -(10**18)}}),
        ({"properties": {"n": 1e300}}, {"properties": {"n": 1e300}}),
        ({"value": 2}, {"value": 2.0}),
    ],
)
def test_the_same_content_in_another_spelling_is_a_retry(
    api: APIClient, ada: Subscriber, first: dict[str, Any], second: dict[str, Any]
) -> None:
    keyed = {"event_key": "k", "title": "t", "email": "ada@example.com", "idempotency_key": "k"}
    assert api.post(TRACK, keyed | first).status_code == 200
    again = api.post(TRACK, keyed | second)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert counted() == (1, 1)


def test_a_key_that_an_earlier_version_claimed_is_recognized(
    api: APIClient, ada: Subscriber
) -> None:
    keyed = {
        **{"event_key": "k", "title": "t", "email": "ADA@example.com", "idempotency_key": "k"},
        **{"occurred_at": "2026-11-20T11:00:00+01:00", "properties": {"n": 2.0}},
    }
    api.post(TRACK, keyed)
    # The fields in their order of then, with the e-mail and the time as sent.
    stored = (
        b'{"event_key":"k","title":"t","value":"","provider":"custom","subscriber_id":0,'
        b'"email":"ADA@example.com","user_id":0,"repeatable":true,"properties":"{\\"n\\":2.0}",'
        b'"context":"{}","occurred_at":"2026-11-20T11:00:00+01:00","idempotency_key":"k"}'
    )
    IdempotencyKey.objects.update(content=hashlib.sha256(stored).digest())
    assert api.post(TRACK, keyed).headers["Idempotency-Replayed"] == "true"


def test_a_retry_is_recognized_after_the_contact_changed_its_email(
    api: APIClient, ada: Subscriber
) -> None:
    first = track_keyed(api, "k")
    api.put(f"/subscribers/{ada.pk}", {"email": "lovelace@example.com"})
    again = track_keyed(api, "k")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    batch = {"events": [EVENT | {"idempotency_key": "k"}]}
    response = api.post("/subscribers/track-events", batch).json()
    assert response["results"] == [{"id": first.json()["id"], "counter": "1"}]
    assert counted() == (1, 1)


def test_a_retry_with_the_new_email_of_the_contact_is_a_mismatch(
    api: APIClient, ada: Subscriber
) -> None:
    track_keyed(api, "k")
    api.put(f"/subscribers/{ada.pk}", {"email": "lovelace@example.com"})
    response = track_keyed(api, "k", email="lovelace@example.com")
    assert (response.status_code, response.json()) == (422, MISMATCH)
    assert counted() == (1, 1)
