"""Events of unknown e-mails, where they make contacts."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Erasure, Subscriber
from crm.passwords import create_application_password
from events.models import TrackedEvent
from events.personal_data import erase_contact
from tests.api.conftest import basic

TRACK = "/subscribers/track-event"
EARLY = {"event_key": "signup", "title": "Signed up", "email": "Early@example.com"}


@pytest.fixture
def pending(settings: Settings) -> None:
    """The setting that events make pending contacts."""
    settings.NEW_CONTACTS = "pending"


def statuses() -> dict[str, str]:
    return dict(Subscriber.objects.values_list("email", "status"))


def count(api: APIClient, email: str) -> int:
    contact_id = api.get("/subscribers/0", {"get_by_email": email}).json()["subscriber"]["id"]
    total: int = api.get(f"/subscribers/{contact_id}/tracking-events").json()["events"]["total"]
    return total


def test_by_default_an_event_makes_no_contact(api: APIClient) -> None:
    response = api.post(TRACK, EARLY)
    assert (response.status_code, response.json()["error_code"]) == (422, "subscriber_not_found")
    assert statuses() == {}


def test_an_event_makes_its_contact_with_the_status_of_the_setting(
    pending: None, api: APIClient
) -> None:
    assert api.post(TRACK, EARLY).status_code == 200
    assert statuses() == {"Early@example.com": "pending"}
    assert count(api, "early@example.com") == 1


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("none", {}), ("transactional", {"Early@example.com": "transactional"})],
)
def test_an_application_password_says_otherwise_than_the_setting(
    pending: None, admin: User, choice: str, expected: dict[str, str]
) -> None:
    _, secret = create_application_password(admin, "shop", "track", new_contacts=choice)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("admin", secret))
    client.post(TRACK, EARLY)
    assert statuses() == expected


def test_a_batch_makes_each_contact_once(pending: None, api: APIClient) -> None:
    events = [EARLY, EARLY | {"email": "EARLY@example.com"}, EARLY | {"email": "b@example.com"}]
    response = api.post("/subscribers/track-events", {"events": events}).json()
    assert [result["counter"] for result in response["results"]] == ["1", "2", "1"]
    assert sorted(statuses()) == ["EARLY@example.com", "b@example.com"]


def test_an_atomic_batch_that_is_rolled_back_makes_no_contact(
    pending: None, api: APIClient
) -> None:
    events = [EARLY, EARLY | {"subscriber_id": 1}]
    response = api.post("/subscribers/track-events?atomic=1", {"events": events})
    assert response.status_code == 422
    assert statuses() == {}


@pytest.mark.parametrize(
    "name", [{"email": "no e-mail"}, {"email": "", "user_id": 57}, {"subscriber_id": 1}]
)
def test_an_event_without_a_valid_email_makes_no_contact(
    pending: None, api: APIClient, name: dict[str, Any]
) -> None:
    assert api.post(TRACK, EARLY | name).status_code == 422
    assert statuses() == {}


def test_an_erased_person_is_not_made_again_by_an_event(pending: None, api: APIClient) -> None:
    api.post(TRACK, EARLY)
    erase_contact(Subscriber.objects.get().pk, "test")
    response = api.post(TRACK, EARLY)
    assert (response.status_code, response.json()["error_code"]) == (422, "subscriber_not_found")
    assert (statuses(), Erasure.objects.count()) == ({}, 1)


def test_a_post_of_a_contact_that_an_event_made_is_its_first(pending: None, api: APIClient) -> None:
    event = api.post(TRACK, EARLY).json()
    sent = {"email": "early@example.com", "status": "subscribed", "first_name": "Ada"}
    response = api.post("/subscribers", sent)
    assert response.status_code == 200
    assert response.json()["message"] == "Successfully added the subscriber."
    assert response.json()["contact"]["status"] == "subscribed"
    assert TrackedEvent.objects.get().id == event["id"]
    assert list(api.post("/subscribers", sent).json()["email"]) == ["unique"]


def test_a_bulk_call_creates_a_contact_that_an_event_made(pending: None, api: APIClient) -> None:
    api.post(TRACK, EARLY)
    bulk = {"contacts": [{"email": "early@example.com", "status": "transactional"}]}
    [created] = api.post("/subscribers/bulk-add-update", bulk).json()["created"]
    assert created["status"] == "transactional"


@pytest.mark.parametrize("sent", [{}, {"status": None}, {"status": "cleaned"}])
def test_a_bulk_call_without_a_known_status_leaves_that_of_a_contact_that_an_event_made(
    pending: None, api: APIClient, sent: dict[str, Any]
) -> None:
    api.post(TRACK, EARLY)
    bulk = {"contacts": [{"email": "early@example.com"} | sent]}
    [created] = api.post("/subscribers/bulk-add-update", bulk).json()["created"]
    assert created["status"] == "pending"
    assert list(statuses().values()) == ["pending"]


def test_python_without_a_status_leaves_that_of_a_contact_that_an_event_made(
    pending: None, api: APIClient
) -> None:
    api.post(TRACK, EARLY)
    assert create({"email": "early@example.com", "city": "London"}).status == "pending"


@pytest.mark.parametrize("force", [False, True])
def test_a_bulk_call_keeps_the_opt_out_of_a_contact_that_an_event_made(
    pending: None, api: APIClient, force: bool
) -> None:
    api.post(TRACK, EARLY)
    Subscriber.objects.update(status="unsubscribed")
    bulk = {"contacts": [{"email": "early@example.com", "status": "subscribed"}]}
    answer = api.post("/subscribers/bulk-add-update", bulk | {"force_update": force}).json()
    assert [warning["rule"] for warning in answer["created"][0]["warnings"]] == ["keep_opt_outs"]
    assert list(statuses().values()) == ["unsubscribed"]


def test_a_request_with_an_unknown_status_keeps_the_opt_out_of_a_contact_that_an_event_made(
    pending: None, api: APIClient
) -> None:
    api.post(TRACK, EARLY)
    Subscriber.objects.update(status="unsubscribed")
    response = api.post("/subscribers", {"email": "early@example.com", "status": "cleaned"})
    assert (response.status_code, list(statuses().values())) == (200, ["unsubscribed"])


def test_a_contact_that_a_program_wrote_is_no_longer_made_by_an_event(
    pending: None, api: APIClient
) -> None:
    api.post(TRACK, EARLY)
    api.put(f"/subscribers/{Subscriber.objects.get().pk}", {"first_name": "Ada"})
    response = api.post("/subscribers", {"email": "early@example.com", "status": "subscribed"})
    assert (response.status_code, list(response.json()["email"])) == (422, ["unique"])
    assert list(statuses().values()) == ["pending"]


def test_a_retry_with_a_key_counts_the_first_event_of_a_new_contact_once(
    pending: None, api: APIClient
) -> None:
    keyed = EARLY | {"idempotency_key": "signup-1"}
    assert api.post(TRACK, keyed).json() == api.post(TRACK, keyed).json()
    assert count(api, "early@example.com") == 1
    assert TrackedEvent.objects.get().counter == 1


def test_an_application_password_with_another_choice_is_rejected(admin: User) -> None:
    with pytest.raises(ValueError, match="Pending"):
        create_application_password(admin, "shop", "track", new_contacts="Pending")
