"""The calls about many contacts at once, beyond what was recorded of FluentCRM."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track
from tests.api.calls import send

BULK = "/subscribers/bulk-add-update"
ACTION = "/subscribers/do-bulk-action"
FORM = "application/x-www-form-urlencoded"


def numbered(number: int) -> list[dict[str, str]]:
    """Return the fields of so many contacts."""
    return [{"email": f"c{index}@example.com"} for index in range(number)]


def test_a_batch_of_a_thousand_contacts_is_accepted(api: APIClient) -> None:
    response = api.post(BULK, {"contacts": numbered(1000)}).json()
    assert len(response["created"]) == 1000
    assert (response["updated"], response["invalids"]) == ([], [])
    assert Subscriber.objects.count() == 1000


def test_a_batch_of_more_than_a_thousand_contacts_is_rejected(api: APIClient) -> None:
    response = api.post(BULK, {"contacts": numbered(1001)})
    assert (response.status_code, list(response.json()["contacts"])) == (422, ["max"])
    assert not Subscriber.objects.exists()


WRONG: list[Any] = [
    {"email": "bad"},
    {},
    "text",
    None,
    7,
    {"email": "x@example.com", "city": []},
]


def test_a_batch_returns_its_wrong_items_as_sent_and_stores_the_others(api: APIClient) -> None:
    contacts = [{"email": "ada@example.com", "tags": ["vip"]}, *WRONG, {"email": "ADA@example.com"}]
    response = api.post(BULK, {"contacts": contacts}).json()
    assert [row["email"] for row in response["created"]] == ["ada@example.com"]
    assert [row["email"] for row in response["updated"]] == ["ADA@example.com"]
    assert response["invalids"] == WRONG
    assert Subscriber.objects.count() == 1
    assert Subscriber.tags.through.objects.count() == 1


@pytest.mark.parametrize(
    "contact", ['{"email":"bad","x":DEEP}', '{"email":"ada@example.com","x":DEEP}', "DEEP"]
)
def test_a_batch_nested_too_deep_for_its_response_is_rejected(api: APIClient, contact: str) -> None:
    body = f'{{"contacts":[{contact.replace("DEEP", "[" * 300 + "]" * 300)}]}}'
    response = api.post(BULK, body.encode(), content_type="application/json")
    assert (response.status_code, list(response.json()["contacts"])) == (422, ["depth"])
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize(
    ("force", "status"), [({}, "subscribed"), ({"force_update": True}, "pending")]
)
def test_a_batch_changes_the_status_of_a_subscribed_contact_only_by_force(
    api: APIClient, ada: Subscriber, force: dict[str, bool], status: str
) -> None:
    change = {"contacts": [{"email": "ada@example.com", "status": "pending"}]}
    api.post(BULK, change | force)
    assert api.get(f"/subscribers/{ada.id}").json()["subscriber"]["status"] == status


def test_a_batch_may_come_as_json_text_in_a_form(api: APIClient) -> None:
    form = urlencode({"contacts": '[{"email":"ada@example.com"}]'})
    response = api.post(BULK, form, content_type=FORM).json()
    assert [row["id"] for row in response["created"]] == [Subscriber.objects.get().id]


def test_a_batch_keeps_the_time_of_creation(api: APIClient) -> None:
    contact = {"email": "ada@example.com", "created_at": "2020-01-02 03:04:05"}
    response = api.post(BULK, {"contacts": [contact]}).json()
    shown = api.get(f"/subscribers/{response['created'][0]['id']}").json()["subscriber"]
    assert shown["created_at"] == "2020-01-02 03:04:05"
    assert Subscriber.objects.get().created_at == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_time_of_creation_of_a_single_contact_is_ignored(api: APIClient) -> None:
    contact = {"email": "bob@example.com", "created_at": "2020-01-02 03:04:05"}
    assert api.post("/subscribers", {**contact, "status": "subscribed"}).status_code == 200
    assert Subscriber.objects.get().created_at > timezone.now() - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "/tags/bulk", {"tags": [{"title": "x"}] * 1001}),
        ("DELETE", "/subscribers", {"subscribers": list(range(1, 1002))}),
        ("POST", "/subscribers", {"email": "a@example.com", "status": "x", "tags": ["x"] * 1001}),
    ],
)
def test_a_list_of_more_than_a_thousand_items_is_rejected(
    api: APIClient, method: str, path: str, fields: dict[str, Any]
) -> None:
    response = send(api, method, path, fields)
    assert response.status_code == 422
    assert [list(rules) for rules in response.json().values()] == [["max"]]


@pytest.mark.parametrize("contacts", [None, [], "", {"email": "a@example.com"}])
def test_a_batch_without_contacts_is_rejected(api: APIClient, contacts: Any) -> None:
    response = api.post(BULK, {"contacts": contacts})
    assert (response.status_code, list(response.json())) == (422, ["contacts"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"action_name": "change_contact_status"}, "Please select status"),
        ({"action_name": "change_contact_type"}, "Please select new type"),
        ({"action_name": "change_contact_status", "new_status": "nonsense"}, "Value is not valid"),
        ({"action_name": "change_contact_type", "new_status": "nonsense"}, "Value is not valid"),
        ({}, "Selected Action is not valid"),
    ],
)
def test_an_incomplete_action_is_rejected(
    api: APIClient, ada: Subscriber, fields: dict[str, str], message: str
) -> None:
    response = api.post(ACTION, {"subscriber_ids": [ada.id], **fields})
    assert (response.status_code, response.json()) == (422, {"message": message})


@pytest.mark.parametrize("ids", ["x", [1.5], [[1]], [-1], {"a": 1}, [2**63]])
def test_values_that_are_no_ids_are_rejected(api: APIClient, ids: Any) -> None:
    response = api.post(ACTION, {"action_name": "delete_contacts", "subscriber_ids": ids})
    assert (response.status_code, list(response.json())) == (422, ["subscriber_ids"])


@pytest.mark.parametrize(
    "fields", [{"is_all": "yes"}, {"subscriber_ids": []}, {"subscriber_ids": [0, ""]}]
)
def test_an_action_that_names_no_contacts_is_rejected(
    api: APIClient, ada: Subscriber, fields: dict[str, Any]
) -> None:
    response = api.post(ACTION, {"action_name": "delete_contacts", **fields})
    assert response.status_code == 422
    assert Subscriber.objects.get() == ada


def test_an_action_on_all_contacts_is_rejected_although_it_names_some(
    api: APIClient, ada: Subscriber
) -> None:
    fields = {"subscriber_ids": [ada.id], "new_status": "pending", "is_all": "yes"}
    response = api.post(ACTION, {"action_name": "delete_contacts", **fields})
    assert response.status_code == 422
    assert Subscriber.objects.get() == ada


def test_a_deletion_that_names_no_contacts_is_rejected(api: APIClient, ada: Subscriber) -> None:
    assert api.delete("/subscribers", {"subscribers": []}).status_code == 422
    assert Subscriber.objects.get() == ada


def test_deleting_several_contacts_deletes_their_events(api: APIClient) -> None:
    ids = [create(fields).id for fields in numbered(3)]
    for contact_id in ids:
        track({"event_key": "k", "title": "t", "subscriber_id": contact_id})
    fields = {"action_name": "delete_contacts", "subscriber_ids": [*ids[:2], 987654321]}
    assert api.post(ACTION, fields).status_code == 200
    assert [event.subscriber_id for event in TrackedEvent.objects.all()] == [ids[2]]
    assert [occurrence.subscriber_id for occurrence in EventOccurrence.objects.all()] == [ids[2]]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"type": "nonsense", "subscribers": [1]}, "type"),
        ({"subscribers": [1]}, "type"),
        ({"type": "tags"}, "subscribers"),
        ({"type": "tags", "subscribers": [1], "find_by": "password"}, "find_by"),
        ({"type": "tags", "subscribers": [1], "find_by": "id", "attach": ["x"]}, "attach"),
        ({"type": "tags", "subscribers": [1], "find_by": "id", "detach": ["x"]}, "detach"),
    ],
)
def test_a_sync_with_a_wrong_field_is_rejected_by_its_name(
    api: APIClient, fields: dict[str, Any], wrong: str
) -> None:
    response = api.post("/subscribers/sync-segments", fields)
    assert (response.status_code, list(response.json())) == (422, [wrong])


@pytest.mark.parametrize(
    ("column", "value"), [("status", "x"), ("contact_type", "x"), ("avatar", "x" * 193)]
)
def test_a_property_rejects_other_values_than_its_own(
    api: APIClient, ada: Subscriber, column: str, value: str
) -> None:
    fields = {"property": column, "value": value, "subscribers": [ada.id]}
    response = api.put("/subscribers/subscribers-property", fields)
    assert (response.status_code, response.json()) == (422, {"message": "Value is not valid"})


def test_a_property_needs_a_column_and_contacts(api: APIClient) -> None:
    response = api.put("/subscribers/subscribers-property", {})
    assert response.status_code == 422
    assert set(response.json()) == {"column", "subscriber_ids"}


BROKEN = [
    r'{"email":"j@example.com","first_name":"x\ud83d"}',
    '{"email":"j@example.com","city":NaN}',
]


@pytest.mark.parametrize("item", BROKEN)
def test_a_contact_of_a_json_text_that_is_no_json_costs_itself(api: APIClient, item: str) -> None:
    text = f'[{{"email":"ada@example.com"}},{item}]'
    answer = api.post(BULK, urlencode({"contacts": text}), content_type=FORM).json()
    assert [row["email"] for row in answer["created"]] == ["ada@example.com"]
    assert list(answer["errors"][0]["errors"]["contact"]) == ["json"]
    assert answer["errors"][0]["index"] == 1


@pytest.mark.parametrize("text", ["[{]", "{", "NaN", r'"\ud83d"'])
def test_a_text_of_contacts_that_is_no_json_is_rejected(api: APIClient, text: str) -> None:
    response = api.post(BULK, {"contacts": text})
    assert (response.status_code, response.json()["contacts"]) == (
        422,
        {"json": "The contacts must be JSON."},
    )


ROWS: list[dict[str, Any]] = [
    {"custom_fields": '{"size":"L"}'},
    {"custom_fields": {"size": "L"}, "custom_values": []},
    {"custom_fields": {"size": "L"}, "custom_values": ""},
    {"custom_fields": {"size": "M"}, "custom_values": {"size": "L"}},
]


@pytest.mark.parametrize("fields", ROWS)
def test_custom_fields_of_a_row_are_read_as_custom_values(
    api: APIClient, fields: dict[str, Any]
) -> None:
    api.post(BULK, {"contacts": [{"email": "ada@example.com", **fields}]})
    assert Subscriber.objects.get().custom_values == {"size": "L"}


def test_custom_fields_that_are_no_json_are_rejected_by_their_name(api: APIClient) -> None:
    answer = api.post(BULK, {"contacts": [{"email": "ada@example.com", "custom_fields": "{"}]})
    assert list(answer.json()["errors"][0]["errors"]) == ["custom_fields"]


def test_a_label_that_a_contact_creates_has_its_title_for_the_next_one(api: APIClient) -> None:
    api.post("/tags", {"title": "VIP ✓", "slug": "vip"})
    names = [["VIP"], ["vip"]]
    contacts = [{**fields, "tags": tags} for fields, tags in zip(numbered(2), names, strict=True)]
    created = api.post(BULK, {"contacts": contacts}).json()["created"]
    shown = [api.get(f"/subscribers/{row['id']}").json()["subscriber"]["tags"] for row in created]
    assert [[tag["title"] for tag in tags] for tags in shown] == [["VIP"], ["VIP"]]
