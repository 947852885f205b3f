"""Deleted automations and endpoints end at once, and their rows are deleted later."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings as SettingsFixture
from rest_framework.test import APIClient

from automations.deletion import prune_deleted
from automations.models import (
    Automation,
    Delivery,
    DeliveryStatus,
    Endpoint,
    Member,
    Refusal,
    Run,
    RunStatus,
    RunStep,
    Version,
)
from automations.runs import delete_runs, shown_runs
from automations.starting import start_by_hand
from automations.upkeep import own_runs
from automations.webhooks import endpoints
from automations.webhooks.attempts import claim, deliver_due
from automations.webhooks.deliveries import send_test
from automations.webhooks.endpoints import delete_endpoint, endpoint_of
from automations.writing import delete_automation
from crm.contacts import create, delete_contacts
from crm.models import Subscriber
from tests.api.automation import HOUR, MARK, happens, pass_time, published, work
from tests.api.pages import browser_of, open_page, staff_user, text_of
from tests.api.receivers import Receiver, receiver, says
from tests.api.webhooks import deliver_to
from tests.system.automations import orphans

pytestmark = pytest.mark.django_db
URL = "https://hook.example/"
HOOK = {"type": "webhook", "url": URL}


@pytest.fixture
def ada() -> Subscriber:
    return create({"email": "ada@example.com", "status": "subscribed"})


@pytest.fixture
def inside(ada: Subscriber) -> Run:
    """A run that waits behind a webhook and before a step."""
    published(HOOK, HOUR, MARK)
    happens(ada)
    work()
    return Run.objects.get()


@pytest.fixture
def one(settings: SettingsFixture) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.0/8")]
    with receiver(says(200)) as running:
        yield running


def test_a_deleted_automation_is_not_found(api: APIClient) -> None:
    automation = published(HOUR)
    assert api.delete(f"/automations/{automation.pk}").status_code == 200
    assert api.get("/automations").json()["automations"]["total"] == 0
    assert api.get(f"/automations/{automation.pk}").status_code == 404


def test_an_automation_is_deleted_once(api: APIClient) -> None:
    path = f"/automations/{published(HOUR).pk}"
    assert [api.delete(path).status_code for _ in range(2)] == [200, 404]


def test_several_funnels_are_deleted_at_once(api: APIClient) -> None:
    ids = [published(HOUR).pk for _ in range(2)]
    body = {"action_name": "delete_funnels", "funnel_ids": ids}
    assert api.post("/funnels/do-bulk-action", body).status_code == 200
    assert not Automation.objects.exists()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/subscribers/{contact}/automations", "automations"),
        ("/funnels/subscriber/{contact}/automations", "automations"),
        ("/funnels/all-activities", "activities"),
    ],
)
def test_runs_of_a_deleted_automation_are_not_listed(
    api: APIClient, inside: Run, path: str, key: str
) -> None:
    path = path.format(contact=inside.subscriber_id)
    assert api.get(path).json()[key]["data"]
    delete_automation(inside.automation_id)
    assert api.get(path).json()[key]["data"] == []


@pytest.mark.parametrize("path", ["run/", "run/{run}/change/"])
def test_the_admin_shows_no_run_of_a_deleted_automation(
    admin_client: Client, inside: Run, path: str
) -> None:
    delete_automation(inside.automation_id)
    path = f"/admin/automations/{path.format(run=inside.pk)}"
    assert "ada@example.com" not in admin_client.get(path, follow=True).content.decode()


def test_a_contact_in_a_deleted_automation_goes_no_further(inside: Run) -> None:
    delete_automation(inside.automation_id)
    pass_time(inside)
    work()
    assert RunStep.objects.count() == 1


def test_a_deleted_automation_does_not_start(ada: Subscriber) -> None:
    delete_automation(published(MARK).pk)
    happens(ada)
    work()
    assert not Run.objects.exists()


def test_a_webhook_of_a_deleted_automation_is_not_sent(ada: Subscriber, one: Receiver) -> None:
    automation = published({"type": "webhook", "url": one.url})
    happens(ada)
    work()
    delete_automation(automation.pk)
    assert deliver_due() == 1
    assert one.requests == []
    assert Delivery.objects.get().status == DeliveryStatus.CANCELLED


def test_nothing_is_left_of_a_deleted_automation(inside: Run) -> None:
    Member.objects.create(automation_id=inside.automation_id, subscriber_id=inside.subscriber_id)
    Refusal.objects.create(automation_id=inside.automation_id, subscriber_id=inside.subscriber_id)
    delete_automation(inside.automation_id)
    prune_deleted()
    models: tuple[Any, ...] = (Run, RunStep, Member, Refusal, Version, Delivery)
    assert [model.objects.count() for model in models] == [0] * 6
    assert not Automation.with_deleted.exists()
    assert orphans() == []


def test_other_automations_keep_their_rows(inside: Run) -> None:
    other = published(MARK, HOUR, title="Other")
    start_by_hand([inside.subscriber_id], other.pk)
    work()
    delete_automation(other.pk)
    prune_deleted()
    assert (RunStep.objects.count(), Delivery.objects.count()) == (1, 1)
    assert [*shown_runs()] == [inside]


def test_a_member_without_a_run_is_deleted(ada: Subscriber) -> None:
    automation = published(HOUR)
    Member.objects.create(automation=automation, subscriber=ada)
    delete_automation(automation.pk)
    prune_deleted()
    assert not Automation.with_deleted.exists()


def test_a_webhook_of_a_run_that_was_deleted_by_hand_is_never_sent(inside: Run) -> None:
    delete_runs([inside.pk])
    delete_automation(inside.automation_id)
    prune_deleted()
    assert Delivery.objects.get().status == DeliveryStatus.CANCELLED


def test_what_is_left_of_a_deleted_automation_goes_with_its_contact(inside: Run) -> None:
    delete_automation(inside.automation_id)
    counts = delete_contacts([inside.subscriber_id])
    assert (counts["automation_runs"], counts["webhook_deliveries"]) == (1, 1)
    assert not Run.objects.exists()


def test_an_export_has_what_is_left_of_a_deleted_automation(inside: Run) -> None:
    delete_automation(inside.automation_id)
    [row] = own_runs(inside.subscriber_id)
    assert '"automation" : "Test"' in row


def test_the_page_of_a_deletion_tells_how_many_webhooks_there_are(
    admin_client: Client, inside: Run
) -> None:
    path = f"/admin/automations/automation/{inside.automation_id}/delete/"
    assert "the record of 1 webhook," in text_of(open_page(admin_client, path))


def test_a_deleted_endpoint_gets_nothing() -> None:
    delete_endpoint(deliver_to(URL).endpoint)
    assert claim(8) == []


def test_a_deleted_endpoint_gets_no_test() -> None:
    endpoint = endpoint_of(URL)
    send_test(endpoint)
    delete_endpoint(endpoint)
    assert claim(8) == []


def test_a_webhook_to_the_url_of_a_deleted_endpoint_creates_it_again() -> None:
    deleted = endpoint_of(URL)
    delete_endpoint(deleted)
    endpoint = endpoint_of(URL)
    assert endpoint.pk != deleted.pk
    assert endpoint.secret != deleted.secret


def test_a_deleted_endpoint_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
    delete_endpoint(endpoint_of(URL))
    assert endpoint_of("https://other.example/").pk


def test_nothing_is_left_of_a_deleted_endpoint(ada: Subscriber, one: Receiver) -> None:
    deliver_to(one.url, ada.pk)
    send_test(endpoint_of(one.url))
    deliver_due()
    delete_endpoint(endpoint_of(one.url))
    # The rows of two deliveries, and of the endpoint.
    assert prune_deleted() == 3
    assert not Endpoint.with_deleted.exists()


def test_other_endpoints_keep_their_deliveries(ada: Subscriber) -> None:
    kept = deliver_to(URL, ada.pk)
    delete_endpoint(deliver_to("https://other.example/", ada.pk).endpoint)
    prune_deleted()
    assert Delivery.objects.get() == kept


def test_the_page_that_deletes_an_endpoint_tells_how_many_deliveries_there_are(
    admin_client: Client,
) -> None:
    path = f"/admin/automations/endpoint/{deliver_to(URL).endpoint_id}/remove/"
    assert "the record of 1 delivery" in text_of(open_page(admin_client, path))


def test_the_admin_deletes_an_endpoint(admin_client: Client) -> None:
    path = f"/admin/automations/endpoint/{endpoint_of(URL).pk}/remove/"
    assert admin_client.post(path).status_code == 302
    assert not Endpoint.objects.exists()


def test_an_endpoint_is_not_deleted_without_the_permission_to_change_it() -> None:
    browser = browser_of(staff_user("view_endpoint"))
    path = f"/admin/automations/endpoint/{endpoint_of(URL).pk}/remove/"
    assert browser.post(path).status_code == 403
    assert Endpoint.objects.exists()


def test_a_run_of_a_deleted_automation_is_not_tried_again(inside: Run) -> None:
    Run.objects.update(status=RunStatus.FAILED)
    delete_automation(inside.automation_id)
    browser = browser_of(
        staff_user("change_run", "view_run", "view_subscriber", "change_subscriber")
    )
    assert browser.post(f"/admin/automations/run/{inside.pk}/retry/").status_code == 404
