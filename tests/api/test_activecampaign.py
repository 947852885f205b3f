"""ActiveCampaign's protocol: the event call, its credential, and the API's switch and names."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from crm.models import Subscriber
from events.models import EventName, EventOccurrence, TrackedEvent, TrackingSwitch
from events.tracking import track
from tests.api.counts import counted

SPAWNED = {"success": 1, "message": "Event spawned"}
WRONG_CREDENTIAL = "The account ID or the event key is wrong."
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
SWITCH = "/api/3/eventTracking"
NAMES = "/api/3/eventTrackingEvents"


def tracking_keys(*arguments: str) -> dict[str, str]:
    """Run the management command and return the pair on its last line."""
    out = StringIO()
    call_command("tracking_keys", *arguments, stdout=out)
    return dict(part.split("=") for part in out.getvalue().splitlines()[-1].split())


@pytest.fixture
def pair(db: None) -> dict[str, str]:
    """The credential of the event call: actid and key."""
    return tracking_keys()


def call(client: APIClient, fields: Mapping[str, str], path: str = "/event", **headers: str) -> Any:
    """Send a form to the event call."""
    return client.post(path, urlencode(fields), content_type=FORM, headers=headers)


def multipart(client: APIClient, fields: Mapping[str, str]) -> Any:
    """Send the same form as multipart/form-data."""
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return client.post("/event", f"{parts}--x--\r\n".encode(), content_type=MULTIPART)


def visit(**fields: Any) -> str:
    """Return the JSON of a visit by ada@example.com."""
    return json.dumps({"email": "ada@example.com"} | fields)


def assert_failed(response: Any, message: str) -> None:
    """Check that the event call failed with this message."""
    assert (response.status_code, response.json()) == (200, {"success": 0, "message": message})


def assert_nothing_is_stored() -> None:
    """Check that there is no event, no occurrence and no name."""
    assert counted() == (0, 0)
    assert not EventName.objects.exists()


def test_an_event_is_counted_on_the_contact_of_the_visit(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    fields = {"event": "my_custom_event", "eventdata": "12345", "api_key": "anything"}
    context = {
        **{"url": "https://shop.example/?a=1&b=ü", "referrer": "r", "ip4": "192.0.2.1"},
        **{"ip6": "2001:db8::1", "ua": "Mozilla/5.0", "browser": "b", "platform": "p"},
        **{"device": "d", "utm_source": "s", "utm_campaign": "c", "utm_medium": "m"},
        **{"utm_term": "t", "utm_content": "co"},
    }
    response = call(anonymous, pair | fields | {"visit": visit(**context, other="x")})
    assert (response.status_code, response.json()) == (200, SPAWNED)
    assert response.headers["Content-Type"] == "application/json"
    event = TrackedEvent.objects.get()
    assert (event.subscriber_id, event.event_key, event.title) == (
        *(ada.pk, "my_custom_event", "my_custom_event"),
    )
    assert (event.value, event.provider) == ("12345", "activecampaign")
    assert (event.counter, event.created_by_id) == (1, None)
    occurrence = event.occurrences.get()
    assert (occurrence.context, occurrence.properties) == (context, {})


PLAIN = {"event": "seen", "eventdata": "é & ü"}
BRACKETS = PLAIN | {"visit[email]": "ADA@example.com", "visit[ip4]": "192.0.2.1"}


def assert_seen(response: Any) -> None:
    """Check that the event of PLAIN was counted once, with the IP address of the visit."""
    assert (response.status_code, response.json()) == (200, SPAWNED)
    row = EventOccurrence.objects.values_list("event_key", "value", "context").get()
    assert row == ("seen", "é & ü", {"ip4": "192.0.2.1"})


def test_the_visit_may_be_json_in_a_form(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    assert_seen(call(anonymous, pair | PLAIN | {"visit": visit(ip4="192.0.2.1")}))


def test_the_visit_may_be_brackets_in_a_form(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    assert_seen(call(anonymous, pair | BRACKETS))


def test_the_visit_may_be_brackets_in_multipart_form_data(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    assert_seen(multipart(anonymous, pair | BRACKETS))


def test_all_fields_may_be_in_the_query_string(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    assert_seen(anonymous.post(f"/event?{urlencode(pair | BRACKETS)}"))


def test_a_field_of_the_body_overrides_the_query_string(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    path = f"/event/?{urlencode({'event': 'overridden'})}"
    assert_seen(call(anonymous, pair | BRACKETS, path))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/xml"])
def test_a_body_of_another_content_type_is_415(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber, content_type: str
) -> None:
    body = json.dumps(pair | {"event": "e", "visit": visit()}).encode()
    assert anonymous.post("/event", body, content_type=content_type).status_code == 415


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("actid", "An account ID must be provided."),
        ("key", "An event key must be provided."),
        ("event", "An event name must be provided."),
    ],
)
@pytest.mark.parametrize("value", [None, "", " "])
def test_a_missing_field_is_named_in_one_sentence(
    anonymous: APIClient,
    pair: dict[str, str],
    ada: Subscriber,
    field: str,
    message: str,
    value: str | None,
) -> None:
    fields = pair | {"event": "e", "visit": visit()}
    del fields[field]
    assert_failed(call(anonymous, fields if value is None else fields | {field: value}), message)
    assert_nothing_is_stored()


@pytest.mark.parametrize(
    "wrong",
    [
        {"actid": "1"},
        {"key": "ü"},
        {"key": "{key}0"},
        {"key": "{key:.39}"},
        {"actid": "{key}", "key": "{actid}"},
        {"key": "%"},
    ],
)
def test_a_wrong_account_id_or_event_key_is_rejected_with_one_message(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber, wrong: dict[str, str]
) -> None:
    credential = pair | {name: value.format(**pair) for name, value in wrong.items()}
    assert len(pair["key"]) == 40
    assert credential != pair
    assert_failed(call(anonymous, credential | {"event": "e", "visit": visit()}), WRONG_CREDENTIAL)
    assert counted() == (0, 0)


@pytest.mark.parametrize("fields", [{"visit": visit()}, {}])
def test_neither_event_nor_name_is_stored_while_tracking_is_off(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber, fields: dict[str, str]
) -> None:
    TrackingSwitch.set_enabled(False)
    response = call(anonymous, pair | {"event": "e"} | fields)
    assert_failed(response, "Event tracking is not enabled.")
    assert_nothing_is_stored()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (visit(email="nobody@example.com"), "There is no contact with this email address."),
        (visit(email="nonsense"), "A valid email address must be provided."),
        (visit(email="[object Object]"), "A valid email address must be provided."),
        (visit(email="undefined"), "A valid email address must be provided."),
        (visit(email="null"), "A valid email address must be provided."),
        (visit(email=["ada@example.com"]), "The email in visit must be a text."),
        (visit(ip4={"a": 1}), "The ip4 in visit must be a text."),
        ("[object Object]", "The visit must be an object or its JSON."),
        ("{broken", "The visit must be an object or its JSON."),
        ("5", "The visit must be an object."),
        ('["ada@example.com"]', "The visit must be an object."),
        (visit(url="x" * 70_000), "The visit may not be greater than 64 KB."),
        (visit(url="\0"), "The url in visit must be a text."),
    ],
)
def test_an_invalid_visit_or_an_unknown_contact_fails_and_stores_nothing(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber, sent: str, message: str
) -> None:
    assert_failed(call(anonymous, pair | {"event": "e", "visit": sent}), message)
    assert_nothing_is_stored()


@pytest.mark.parametrize("sent", [None, "", "{}", "[]", "null", '{"email":""}', '{"ip4":"x"}'])
def test_an_event_without_an_email_is_stored_as_a_name_once(
    anonymous: APIClient, pair: dict[str, str], sent: str | None
) -> None:
    fields = pair | {"event": "  my   event "} | ({} if sent is None else {"visit": sent})
    for _ in range(2):
        assert call(anonymous, fields).json() == SPAWNED
    assert EventName.objects.get().name == "my event"
    assert counted() == (0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eventdata": "x" * 65_536}, "The eventdata may not be greater than 65535 characters."),
        ({"event[a]": "b"}, "The event must be a string."),
    ],
    ids=["too long", "no string"],
)
def test_an_invalid_event_or_value_fails_with_its_name(
    anonymous: APIClient,
    pair: dict[str, str],
    ada: Subscriber,
    change: dict[str, str],
    message: str,
) -> None:
    fields = pair | {"event": "e", "visit": visit()}
    assert_failed(call(anonymous, fields | change), message)


TOO_MANY = {f"f{number}": "" for number in range(1200)}


@pytest.mark.parametrize("send", [call, multipart])
def test_a_form_with_too_many_fields_fails(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber, send: Any
) -> None:
    fields = pair | {"event": "e", "visit": visit()} | TOO_MANY
    assert_failed(send(anonymous, fields), "The request could not be understood.")


def test_a_form_that_is_not_utf_8_fails(anonymous: APIClient, db: None) -> None:
    response = anonymous.post("/event", b"actid=%ff", content_type=FORM)
    assert_failed(response, "The request could not be understood.")


def test_a_retry_with_an_idempotency_key_counts_once(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    fields = pair | {"event": "e", "visit": visit()}
    first = call(anonymous, fields, **{"Idempotency-Key": "a"})
    again = call(anonymous, fields, **{"Idempotency-Key": "a"})
    assert (first.json(), again.json()) == (SPAWNED, SPAWNED)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert call(anonymous, fields | {"idempotency_key": "a"}).json() == SPAWNED
    assert counted() == (1, 1)


def test_an_idempotency_key_with_other_content_fails(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    fields = pair | {"event": "e", "visit": visit()}
    call(anonymous, fields, **{"Idempotency-Key": "a"})
    response = call(anonymous, fields | {"eventdata": "1"}, **{"Idempotency-Key": "a"})
    assert_failed(response, "This idempotency key was used before with other content")
    assert counted() == (1, 1)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "The idempotency_key must be at least 1 character."),
        ("k" * 256, "The idempotency_key may not be greater than 255 characters."),
    ],
)
@pytest.mark.parametrize("fields", [{"visit": visit()}, {}], ids=["a contact", "a name"])
def test_an_invalid_idempotency_key_fails(
    anonymous: APIClient,
    pair: dict[str, str],
    ada: Subscriber,
    fields: dict[str, str],
    key: str,
    message: str,
) -> None:
    response = call(anonymous, pair | {"event": "e"} | fields, **{"Idempotency-Key": key})
    assert_failed(response, message)
    assert_nothing_is_stored()


def test_the_command_prints_the_same_pair_until_it_is_rotated(pair: dict[str, str]) -> None:
    assert tracking_keys() == pair
    rotated = tracking_keys("--rotate")
    assert tracking_keys() == rotated
    assert rotated["actid"] == pair["actid"]
    assert rotated["key"] != pair["key"]


def test_a_rotated_key_replaces_the_old_one(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    event = {"event": "e", "visit": visit()}
    rotated = tracking_keys("--rotate")
    assert_failed(call(anonymous, pair | event), WRONG_CREDENTIAL)
    assert call(anonymous, rotated | event).json() == SPAWNED


# ---- The API, version 3


@pytest.mark.parametrize(("enabled", "word"), [(True, "yes"), (False, "no")])
def test_the_switch_is_the_one_of_fluentcrm(
    token: APIClient, api: APIClient, enabled: bool, word: str
) -> None:
    TrackingSwitch.set_enabled(not enabled)
    body = {"eventTracking": {"enabled": enabled}}
    response = token.put(SWITCH, body)
    assert (response.status_code, response.json()) == (200, body)
    assert token.get(SWITCH).json() == body
    settings = api.get("/setting/experiments").json()["settings"]
    assert settings["event_tracking"] == word


@pytest.mark.parametrize("word", ["on", "Yes", "TRUE", "1", 1])
def test_the_switch_reads_the_words_of_every_switch(token: APIClient, word: Any) -> None:
    TrackingSwitch.set_enabled(False)
    response = token.put(SWITCH, {"eventTracking": {"enabled": word}})
    assert response.json() == {"eventTracking": {"enabled": True}}


def test_the_switch_is_on_until_it_is_set(token: APIClient, api: APIClient) -> None:
    assert token.get(SWITCH).json() == {"eventTracking": {"enabled": True}}
    settings = api.get("/setting/experiments").json()["settings"]
    assert settings["event_tracking"] == "yes"


@pytest.mark.parametrize(
    "body",
    [{}, {"enabled": False}, {"eventTracking": {}}, {"eventTracking": {"enabled": "maybe"}}, [1]],
)
def test_an_invalid_switch_is_422_and_changes_nothing(token: APIClient, body: Any) -> None:
    response = token.put(SWITCH, body)
    [error] = response.json()["errors"]
    assert (response.status_code, error["source"]) == (422, {"pointer": "/data/attributes/enabled"})
    assert TrackingSwitch.is_enabled()


def test_the_catalogue_has_the_names_of_every_protocol(
    anonymous: APIClient, api: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    call(anonymous, pair | {"event": "b", "visit": visit()})
    call(anonymous, pair | {"event": "d"})
    event = {"event_key": "c", "title": "t", "email": "ada@example.com"}
    api.post("/subscribers/track-event", event | {"event_key": "a"})
    api.post("/subscribers/track-events", {"events": [event, event]})
    rejected = event | {"event_key": "rejected", "email": "nobody@example.com"}
    assert api.post("/subscribers/track-event", rejected).status_code == 422
    assert api.get(NAMES).json() == {
        "eventTrackingEvents": [{"name": name} for name in "abcd"],
        "meta": {"total": 4},
    }


def test_the_catalogue_has_a_limit_and_an_offset(api: APIClient, ada: Subscriber) -> None:
    for name in "abcd":
        track({"event_key": name, "title": "t", "subscriber_id": ada.pk})
    assert api.get(f"{NAMES}?limit=2&offset=1").json() == {
        "eventTrackingEvents": [{"name": "b"}, {"name": "c"}],
        "meta": {"total": 4},
    }


@pytest.mark.parametrize("times", [1, 2])
def test_a_name_is_201_also_if_it_is_known(token: APIClient, times: int) -> None:
    body = {"eventTrackingEvent": {"name": "Lesson 3/ü?"}}
    for _ in range(times):
        response = token.post(NAMES, body)
    assert (response.status_code, response.json()) == (201, body)
    assert EventName.objects.count() == 1


def test_a_name_is_deleted_at_the_singular_of_older_clients(token: APIClient) -> None:
    token.post(NAMES, {"eventTrackingEvent": {"name": "checkout"}})
    response = token.delete("/api/3/eventTrackingEvent/checkout")
    assert (response.status_code, response.json()) == (200, {})
    assert not EventName.objects.exists()


def test_an_email_that_was_encoded_twice_is_decoded_once_more(
    anonymous: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    query = f"{urlencode(pair | {'event': 'e'})}&visit%5Bemail%5D=ada%2540example.com"
    assert anonymous.post(f"/event?{query}", content_type=FORM).json() == SPAWNED
    assert ada.tracked_events.count() == 1


def test_a_deleted_name_leaves_its_events_and_returns_with_the_next_one(
    token: APIClient, ada: Subscriber
) -> None:
    event = {"event_key": "Lesson 3/ü?", "title": "t", "subscriber_id": ada.pk}
    track(event)
    path = f"{NAMES}/{quote('Lesson  3/ü?', safe='')}/"
    response = token.delete(path)
    assert (response.status_code, response.json()) == (200, {})
    assert token.get(NAMES).json()["meta"]["total"] == 0
    assert counted() == (1, 1)
    response = token.delete(path)
    assert (response.status_code, response.json()) == (404, {"message": "Event name not found"})
    track(event)
    assert token.get(NAMES).json()["eventTrackingEvents"] == [{"name": "Lesson 3/ü?"}]


def test_a_name_with_a_nul_byte_is_404(token: APIClient) -> None:
    assert token.delete(f"{NAMES}/%00").status_code == 404


def test_a_slash_at_the_end_of_a_name_belongs_to_it(token: APIClient) -> None:
    for name in ("a", "a/"):
        token.post(NAMES, {"eventTrackingEvent": {"name": name}})
    assert token.delete(f"{NAMES}/a%2F").status_code == 200
    assert token.get(NAMES).json()["eventTrackingEvents"] == [{"name": "a"}]


def test_a_new_name_that_is_cut_is_told(token: APIClient) -> None:
    body = token.post(NAMES, {"eventTrackingEvent": {"name": "e" * 193}}).json()
    assert body["eventTrackingEvent"] == {"name": "e" * 192}
    assert body["warnings"][0]["message"] == "The name was cut at 192 characters."


def test_a_name_that_is_cut_is_deleted_as_it_was_sent(token: APIClient) -> None:
    token.post(NAMES, {"eventTrackingEvent": {"name": "e" * 193}})
    assert token.delete(f"{NAMES}/{'e' * 193}").status_code == 200
    assert not EventName.objects.exists()


@pytest.mark.parametrize("body", [{}, {"eventTrackingEvent": {"name": " "}}, {"name": "x"}])
def test_a_missing_name_is_422(token: APIClient, body: Any) -> None:
    response = token.post(NAMES, body)
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"]) == (422, "required")
    assert error["source"] == {"pointer": "/data/attributes/name"}


@pytest.mark.parametrize("secret", ["", "x", "ü", "wrong wrong wrong wrong "])
def test_a_wrong_token_is_401(anonymous: APIClient, secret: str) -> None:
    anonymous.credentials(HTTP_API_TOKEN=secret.encode().decode("latin-1"))
    assert anonymous.get(SWITCH).status_code == 401


def test_what_is_not_stored_as_sent_is_told(
    client: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    sent = visit(timestamp=1_700_000_000)
    fields = {**pair, "event": "e" * 193, "visit": sent, "timestamp": "1700000000"}
    body = call(client, fields).json()
    assert body["success"] == 1
    assert [warning["field"] for warning in body["warnings"]] == ["timestamp", "event", "visit"]


def test_an_event_has_the_time_that_was_sent(
    client: APIClient, pair: dict[str, str], ada: Subscriber
) -> None:
    fields = {**pair, "event": "e", "visit": visit(), "occurred_at": "2020-01-02T03:04:05Z"}
    assert call(client, fields).json() == SPAWNED
    assert EventOccurrence.objects.get().occurred_at == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("sent", ["", '{"email":"ada@example.com"}'])
def test_an_event_with_an_invalid_time_fails(
    client: APIClient, pair: dict[str, str], ada: Subscriber, sent: str
) -> None:
    body = call(client, {**pair, "event": "e", "visit": sent, "occurred_at": "1577934245"}).json()
    assert (body["success"], body["message"][:41]) == (
        0,
        "The occurred_at is not a valid date. Send",
    )
    assert_nothing_is_stored()
