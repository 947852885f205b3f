"""POST /subscribers/track-events: up to 1,000 events in one request."""

import json
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from events.models import EventName, EventOccurrence, TrackedEvent, TrackingSwitch
from tests.api.counts import counted

SINGLE = "/subscribers/track-event"
BATCH = "/subscribers/track-events"
ADA = {"event_key": "k", "title": "t", "email": "ada@example.com"}
BOB = ADA | {"email": "bob@example.com"}
UNKNOWN = {"email": "nobody@example.com"}
NOT_FOUND = {
    "status": 422,
    "message": "Subscriber not found",
    "error_code": "subscriber_not_found",
}


@pytest.fixture(autouse=True)
def bob(ada: Subscriber) -> Subscriber:
    """The contact bob@example.com, besides ada@example.com."""
    return create({"email": "bob@example.com", "status": "subscribed"})


def send(api: APIClient, *events: Any, query: str = "", **headers: str) -> Any:
    """Send a batch as JSON."""
    return api.post(BATCH + query, {"events": list(events)}, headers=headers)


def send_lines(api: APIClient, body: bytes) -> Any:
    """Send a batch as lines of JSON."""
    return api.post(BATCH, body, content_type="application/x-ndjson")


def test_every_event_is_answered_in_the_order_sent(api: APIClient, ada: Subscriber) -> None:
    response = send(api, ADA, BOB | {"event_key": "a"}, ADA, BOB, {"subscriber_id": ada.pk} | ADA)
    assert response.status_code == 200
    body = response.json()
    assert list(body) == ["tracked", "failed", "results"]
    assert (body["tracked"], body["failed"]) == (5, 0)
    first, second, third, fourth, fifth = body["results"]
    assert list(first) == ["id", "counter"]
    assert (first["counter"], third["counter"], fifth["counter"]) == ("1", "2", "3")
    assert first["id"] == third["id"] == fifth["id"]
    # New events get their ids in the order sent: the newest has the highest.
    assert first["id"] < second["id"] < fourth["id"]
    assert counted() == (5, 5)
    rows = EventOccurrence.objects.order_by("id").values_list("event_id", "counter")
    assert [(event, str(count)) for event, count in rows] == [
        (result["id"], result["counter"]) for result in body["results"]
    ]


def test_an_event_of_a_batch_has_every_field_of_the_single_call(api: APIClient) -> None:
    fields = {
        "value": {"a": [1]},
        "provider": "shop",
        "properties": {"p": "ü"},
        "context": {"ip": "x"},
        "occurred_at": "2024-01-17 14:27:35",
        "repeatable": False,
    }
    api.post(SINGLE, ADA | fields)
    send(api, ADA | fields)
    rows = EventOccurrence.objects.order_by("event_id").values(
        *("value", "provider", "counter", "properties", "context", "occurred_at"),
        *("subscriber_id", "event_key"),
        *("event__subscriber_id", "event__event_key", "event__title", "event__value"),
        *("event__provider", "event__counter", "event__repeatable", "event__created_by_id"),
        *("event__created_at", "event__updated_at"),
    )
    single, batch = rows
    assert single == batch


INVALID: list[Any] = [
    {"event_key": "", "title": None},
    ADA | UNKNOWN,
    {"event_key": "k", "title": "t"},
    ADA | {"subscriber_id": "1abc"},
    ADA | {"properties": {"a": "\0"}},
    5,
    None,
    [ADA],
]


def test_valid_events_are_stored_although_others_are_rejected(api: APIClient) -> None:
    response = send(api, ADA, *INVALID, BOB)
    assert response.status_code == 200
    assert (response.json()["tracked"], response.json()["failed"]) == (2, len(INVALID))
    assert counted() == (2, 2)


@pytest.mark.parametrize("event", INVALID, ids=str)
def test_a_rejected_event_has_the_error_of_the_single_call(api: APIClient, event: Any) -> None:
    [_, result, _] = send(api, ADA, event, BOB).json()["results"]
    # As text, because APIClient sends no body for None.
    single = api.post(SINGLE, json.dumps(event), content_type="application/json")
    assert result == {"status": single.status_code, **single.json()}


def test_an_atomic_batch_with_an_error_stores_nothing(api: APIClient) -> None:
    response = send(api, ADA, ADA | UNKNOWN, BOB | {"title": ""}, BOB, query="?atomic=1")
    assert response.status_code == 422
    body = response.json()
    assert (body["tracked"], body["failed"]) == (0, 2)
    assert [result["status"] for result in body["results"]] == [424, 422, 422, 424]
    assert body["results"][1] == NOT_FOUND
    assert counted() == (0, 0)
    assert not EventName.objects.exists()


@pytest.mark.parametrize("word", ["yes", "TRUE", "on"])
def test_a_batch_is_atomic_by_any_word_for_true(api: APIClient, word: str) -> None:
    assert send(api, ADA, ADA | UNKNOWN, query=f"?atomic={word}").status_code == 422


@pytest.mark.parametrize("field", ["atomic", "Atomic"])
def test_a_batch_is_atomic_by_a_field_of_its_body(api: APIClient, field: str) -> None:
    response = api.post(BATCH, {"events": [ADA, ADA | UNKNOWN], field: True})
    assert (response.status_code, response.json()["tracked"]) == (422, 0)


def test_a_batch_is_atomic_by_the_parameter_in_any_case(api: APIClient) -> None:
    assert send(api, ADA, ADA | UNKNOWN, query="?Atomic=1").status_code == 422


def test_an_idempotency_key_of_the_body_of_a_batch_is_422(api: APIClient) -> None:
    response = api.post(BATCH, {"events": [ADA], "idempotency_key": "k"})
    assert (response.status_code, list(response.json())) == (422, ["idempotency_key"])


def test_an_atomic_batch_without_an_error_stores_everything(api: APIClient) -> None:
    response = send(api, ADA, BOB, query="?atomic=1")
    assert (response.status_code, response.json()["tracked"]) == (200, 2)
    assert counted() == (2, 2)


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?atomic=1", 422)])
def test_a_batch_of_invalid_events_is_answered_for_each(
    api: APIClient, query: str, status: int
) -> None:
    response = send(api, ADA | {"title": ""}, 5, query=query)
    assert response.status_code == status
    assert (response.json()["tracked"], response.json()["failed"]) == (0, 2)
    assert [result["status"] for result in response.json()["results"]] == [422, 422]


def test_a_batch_that_is_rolled_back_leaves_its_keys_free(api: APIClient) -> None:
    keyed = ADA | {"idempotency_key": "a"}
    assert send(api, keyed, ADA | UNKNOWN, query="?atomic=1").status_code == 422
    response = send(api, keyed, query="?atomic=true")
    assert response.status_code == 200
    assert "Idempotency-Replayed" not in response.headers
    assert counted() == (1, 1)


@pytest.mark.parametrize("word", ["maybe", "2", "ja"])
@pytest.mark.parametrize("name", ["atomic", "atomic[]"])
def test_atomic_with_another_word_than_true_or_false_is_422(
    api: APIClient, name: str, word: str
) -> None:
    response = send(api, ADA, query=f"?{name}={word}")
    assert (response.status_code, list(response.json())) == (422, ["atomic"])


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({}, "required"),
        ({"events": []}, "required"),
        ({"events": None}, "required"),
        ({"events": {"a": 1}}, "array"),
        ({"events": "x"}, "array"),
        ({"events": [ADA] * 1001}, "max"),
        ([ADA], "required"),
    ],
    ids=["no field", "none", "null", "an object", "a string", "1001", "a list"],
)
def test_a_batch_without_events_or_with_more_than_1000_is_422(
    api: APIClient, body: Any, rule: str
) -> None:
    response = api.post(BATCH, body)
    assert (response.status_code, list(response.json()["events"])) == (422, [rule])
    assert counted() == (0, 0)


def test_blank_lines_alone_are_422(api: APIClient) -> None:
    response = send_lines(api, b"\n\n")
    assert (response.status_code, list(response.json()["events"])) == (422, ["required"])
    assert counted() == (0, 0)


LINE = json.dumps(ADA).encode() + b"\n"


def test_a_thousand_lines_are_accepted_and_blank_ones_do_not_count(api: APIClient) -> None:
    assert send_lines(api, b"\n \n" + LINE * 1000 + b"\n").json()["tracked"] == 1000
    assert counted() == (1000, 1000)


def test_a_thousand_and_one_lines_are_422(api: APIClient) -> None:
    response = send_lines(api, LINE * 1001)
    assert (response.status_code, list(response.json()["events"])) == (422, ["max"])
    assert counted() == (0, 0)


def test_a_thousand_events_of_one_key_count_1000_in_one_row(api: APIClient) -> None:
    response = send(api, *(ADA | {"value": number} for number in range(1000)))
    counters = [result["counter"] for result in response.json()["results"]]
    assert counters == [str(number + 1) for number in range(1000)]
    event = TrackedEvent.objects.get()
    assert (event.counter, event.value) == (1000, "999")
    assert counted() == (1000, 1000)


def test_merged_events_have_the_latest_value_and_the_first_provider(api: APIClient) -> None:
    days = {"b": "2024-01-02", "c": "2024-01-03", "a": "2024-01-01"}
    send(
        api,
        *(
            ADA | {"value": value, "provider": f"p{value}", "occurred_at": f"{day} 12:00:00"}
            for value, day in days.items()
        ),
    )
    event = TrackedEvent.objects.get()
    assert (event.value, event.provider, event.counter) == ("c", "pb", 3)
    assert (event.created_at.date(), event.updated_at.date()) == (
        date(2024, 1, 1),
        date(2024, 1, 3),
    )


def test_events_that_do_not_repeat_have_rows_of_their_own(api: APIClient) -> None:
    unrepeatable = ADA | {"repeatable": False}
    results = send(api, ADA, unrepeatable, unrepeatable, ADA).json()["results"]
    assert [result["counter"] for result in results] == ["1", "1", "1", "2"]
    assert len({result["id"] for result in results}) == 3
    assert counted() == (4, 4)


def test_id_email_user_and_caller_name_the_same_contact(api: APIClient, admin: User) -> None:
    contact = create({"email": "ADMIN@example.com", "user_id": "auth0|5f7c"})
    names: list[dict[str, Any]] = [
        {"subscriber_id": contact.pk},
        {"email": "admin@EXAMPLE.com"},
        {"user_id": "auth0|5f7c"},
        {},
    ]
    nameless = {"event_key": "k", "title": "t"}
    results = send(api, *(nameless | name for name in names)).json()["results"]
    assert [result.get("counter") for result in results] == ["1", "2", "3", "4"]


KEYED = [(ADA, BOB)[n % 2] | {"idempotency_key": f"k{n}", "value": n} for n in range(10)]


def test_a_batch_sent_twice_counts_once_and_gets_the_same_response(api: APIClient) -> None:
    first = send(api, *KEYED)
    assert "Idempotency-Replayed" not in first.headers
    again = send(api, *KEYED)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert counted() == (10, 10)


def test_a_retried_batch_with_a_new_event_is_not_marked_as_replayed(api: APIClient) -> None:
    first = send(api, *KEYED)
    more = send(api, *KEYED, ADA)
    assert "Idempotency-Replayed" not in more.headers
    assert more.json()["results"][:10] == first.json()["results"]
    assert counted() == (11, 11)


def test_an_idempotency_key_for_the_whole_batch_is_422(api: APIClient) -> None:
    response = send(api, ADA | {"idempotency_key": "a"}, **{"Idempotency-Key": "k"})
    assert (response.status_code, list(response.json())) == (422, ["idempotency_key"])
    assert counted() == (0, 0)


def test_the_same_key_twice_in_a_batch_is_a_retry_of_the_first(api: APIClient) -> None:
    keyed = ADA | {"idempotency_key": "a"}
    results = send(api, keyed, keyed, keyed | {"value": 1}).json()["results"]
    assert results[0] == results[1]
    assert results[2]["error_code"] == "idempotency_mismatch"
    assert counted() == (1, 1)


def test_a_rejected_event_leaves_its_key_to_the_next_one(api: APIClient) -> None:
    key = {"idempotency_key": "a"}
    results = send(api, ADA | key | UNKNOWN, ADA | key, ADA | key, BOB | key).json()["results"]
    assert results[0] == NOT_FOUND
    assert results[1] == results[2]
    assert results[1]["counter"] == "1"
    assert results[3]["error_code"] == "idempotency_mismatch"
    assert counted() == (1, 1)


def test_a_key_of_the_single_call_is_a_key_of_the_batch(api: APIClient) -> None:
    single = api.post(SINGLE, ADA | {"idempotency_key": "a"}).json()
    send(api, ADA)
    again = send(api, ADA | {"idempotency_key": "a"})
    assert again.json()["results"] == [{"id": single["id"], "counter": "1"}]
    mismatch = send(api, BOB | {"idempotency_key": "a"}).json()["results"][0]
    assert (mismatch["status"], mismatch["error_code"]) == (422, "idempotency_mismatch")
    assert counted() == (2, 2)


def test_the_whole_batch_is_rejected_while_tracking_is_off(api: APIClient) -> None:
    TrackingSwitch.set_enabled(False)
    response = send(api, ADA, BOB)
    assert (response.status_code, response.json()["error_code"]) == (422, "not_enabled")
    assert counted() == (0, 0)


def test_a_broken_line_is_400_and_the_other_lines_are_stored(api: APIClient) -> None:
    valid = json.dumps(ADA)
    lines = f'{valid}\r\n\n{{"event_key":\n{valid}\n"x"\n \xff\n{valid}'.encode("latin-1")
    response = send_lines(api, lines)
    assert response.status_code == 200
    body = response.json()
    assert (body["tracked"], body["failed"]) == (3, 3)
    statuses = [result.get("status", 200) for result in body["results"]]
    assert statuses == [200, 400, 200, 422, 400, 200]
    broken = body["results"][1]
    assert (broken["code"], broken["data"]["status"]) == ("rest_invalid_json", 400)
    assert counted() == (3, 3)


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]
)
def test_another_content_type_than_json_or_lines_is_415(api: APIClient, content_type: str) -> None:
    response = api.post(BATCH, b"events=1", content_type=content_type)
    assert response.status_code == 415


def test_a_byte_order_mark_costs_no_event(api: APIClient, ada: Subscriber) -> None:
    line = b'{"event_key":"k","title":"t","email":"ada@example.com"}\r\n'
    body = b"\xef\xbb\xbf" + line * 2
    response = api.post(BATCH, body, content_type="application/x-ndjson")
    assert response.json()["tracked"] == 2


@pytest.mark.parametrize("title", [r'"cut \ud83d"', "1e400", "NaN", "-Infinity"])
def test_an_event_that_is_no_json_costs_itself(api: APIClient, ada: Subscriber, title: str) -> None:
    event = '{"event_key":"k","title":%s,"email":"ada@example.com"}'
    body = f'{{"events":[{event % title},{event % 1}]}}'
    response = api.post(BATCH, body, content_type="application/json")
    answer = response.json()
    assert (response.status_code, answer["tracked"], answer["failed"]) == (200, 1, 1)
    assert answer["results"][0]["code"] == "rest_invalid_json"


def test_a_batch_of_broken_syntax_is_400_as_a_whole(api: APIClient, ada: Subscriber) -> None:
    response = api.post(BATCH, '{"events":[{"a":1},]}', content_type="application/json")
    assert response.status_code == 400


def test_a_batch_may_be_a_list_of_php_with_gaps(api: APIClient, ada: Subscriber) -> None:
    event = {"event_key": "k", "title": "t", "email": "ada@example.com"}
    response = api.post(BATCH, {"events": {"0": event, "2": event}})
    assert response.json()["tracked"] == 2


@pytest.mark.parametrize("field", ["timestamp", "time", "created_at", "counter"])
def test_a_field_that_another_program_means_is_rejected(
    api: APIClient, ada: Subscriber, field: str
) -> None:
    event = {"event_key": "k", "title": "t", "email": "ada@example.com"}
    sent = [event | {field: "2020-01-01T00:00:00Z"}, event | {field: None}]
    answer = api.post(BATCH, {"events": sent}).json()
    assert list(answer["results"][0][field]) == ["unknown"]
    assert answer["tracked"] == 1


def test_texts_of_an_event_that_are_cut_are_told(api: APIClient, ada: Subscriber) -> None:
    event = {"event_key": "k", "title": "t", "email": "ada@example.com"}
    answer = api.post(BATCH, {"events": [event | {"title": "t" * 193}, event]}).json()
    [warning] = answer["results"][0]["warnings"]
    assert warning["message"] == "The title was cut at 192 characters."
    assert "warnings" not in answer["results"][1]


def test_other_fields_beside_the_events_do_not_reject_those_that_are_json(
    api: APIClient, ada: Subscriber
) -> None:
    event = '{"event_key":"k","title":%s,"email":"ada@example.com"}'
    body = f'{{"source":"shop","events":[{event % "NaN"},{event % 1}]}}'
    assert api.post(BATCH, body, content_type="application/json").json()["tracked"] == 1
