"""Contacts are started by FluentCRM's bulk action, and by Python."""

from typing import Any

import pytest
from rest_framework.test import APIClient

import automations
from automations.models import Automation, Run
from automations.starting import start_contacts
from automations.writing import create_automation
from config.api.errors import Unprocessable
from crm.contacts import create
from crm.models import Subscriber
from tests.api.automation import HOUR, published

pytestmark = pytest.mark.django_db
ACTION = "/subscribers/do-bulk-action"


def body(automation: object, *contact_ids: int, **more: Any) -> dict[str, Any]:
    return {
        "action_name": "add_to_automation",
        "new_status": automation,
        "subscriber_ids": [*contact_ids],
        **more,
    }


@pytest.fixture
def automation() -> Automation:
    return published(HOUR)


def test_contacts_are_added_and_those_inside_ignored(
    api: APIClient, automation: Automation, ada: Subscriber
) -> None:
    bo = create({"email": "bo@example.com", "status": "subscribed"})
    automations.start(bo.pk, automation.pk)
    response = api.post(ACTION, body(str(automation.pk), ada.pk, bo.pk)).json()
    message = "1 subscribers has been attached to the selected automation funnel"
    assert (response["message"], response["completed_contacts"]) == (message, 2)
    assert [each["email"] for each in response["subscribers"]] == ["ada@example.com"]
    assert Run.objects.count() == 2


def test_contacts_of_a_query_are_added(
    api: APIClient, automation: Automation, ada: Subscriber
) -> None:
    query = {"filter_type": "simple", "search": "ada"}
    response = api.post(ACTION, body(automation.pk, is_all="yes", contact_query=query))
    assert response.status_code == 200, response.content
    assert Run.objects.get().subscriber_id == ada.pk


@pytest.mark.parametrize("name", ["", "x", "0", "7", "99999999999999999999", "٣"])
def test_an_unknown_automation_is_rejected(api: APIClient, ada: Subscriber, name: str) -> None:
    response = api.post(ACTION, body(name, ada.pk))
    message = {"message": "Invalid Automation Funnel ID"}
    assert (response.status_code, response.json()) == (422, message)


def test_a_draft_is_rejected(api: APIClient, ada: Subscriber) -> None:
    draft = create_automation({"title": "Draft", "trigger": {"type": "manual"}})
    response = api.post(ACTION, body(draft.pk, ada.pk))
    assert response.json() == {"message": "Invalid Automation Funnel ID"}


def test_contacts_of_whom_none_may_start_are_rejected(
    api: APIClient, automation: Automation
) -> None:
    contact = create({"email": "bo@example.com", "status": "unsubscribed"})
    response = api.post(ACTION, body(automation.pk, contact.pk))
    message = {"message": "No valid active subscribers found for this funnel"}
    assert (response.status_code, response.json()) == (422, message)


def test_conditions_of_many_contacts_are_judged_by_few_statements(
    django_assert_max_num_queries: Any,
) -> None:
    condition = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Ada"}
    automation = published(HOUR, conditions=[[condition]])
    names = ["Ada", "Bo"] * 150
    ids = [
        create({"email": f"{number}@example.com", "status": "subscribed", "first_name": name}).pk
        for number, name in enumerate(names)
    ]
    with django_assert_max_num_queries(20):
        outcomes = start_contacts(ids, automation.pk)
    assert [*outcomes.values()] == ["started", "conditions"] * 150


def test_python_starts_a_contact_and_tells_why_not(automation: Automation, ada: Subscriber) -> None:
    outcomes = [automations.start(contact, automation.pk) for contact in (ada.pk, ada.pk, 10**9)]
    assert outcomes == ["started", "inside", "unknown"]


def test_python_starts_no_automation_that_is_not_published(ada: Subscriber) -> None:
    with pytest.raises(Unprocessable):
        automations.start(ada.pk, 7)
