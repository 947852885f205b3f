"""Contacts are written by e-mails that are erased by another connection at the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from rest_framework.test import APIClient

from config.database import in_transaction
from crm.contacts import create
from crm.merging import merge_contacts
from crm.models import Subscriber
from crm.passwords import create_application_password
from events.personal_data import erase_contact
from tests.api.conftest import basic
from tests.system.database import waiting_for_locks
from tests.system.server import wait_until
from transfers.contacts import ContactRow, ContactRules, import_contacts

pytestmark = pytest.mark.django_db(transaction=True)
ADA = "ada@example.com"
PERSON: dict[str, Any] = {"email": ADA, "status": "subscribed", "first_name": "Ada"}
EVENT = {"event_key": "k", "title": "t", "email": ADA}
BULK = "/subscribers/bulk-add-update"


@pytest.fixture
def api(transactional_db: None) -> APIClient:
    """A client of the API of FluentCRM and of that of ActiveCampaign."""
    admin = User.objects.create(username="admin", is_superuser=True)
    _, secret = create_application_password(admin, "shop", "manage", new_contacts="pending")
    client = APIClient()
    secret = secret.replace(" ", "")
    client.credentials(HTTP_AUTHORIZATION=basic("admin", secret), HTTP_API_TOKEN=secret)
    return client


def create_and_erase() -> None:
    """Create and erase a contact, so that no look before an insert that waits sees the receipt."""
    erase_contact(create({"email": ADA}).pk, by="test")


def erase_during(work: Callable[[], Any], erase: Callable[[], object] = create_and_erase) -> Any:
    """Return the result of work that has to wait until the transaction of `erase` ends."""

    def in_thread() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            erase()
            result = threads.submit(in_thread)
            wait_until(lambda: result.done() or waiting_for_locks(connection.connection))
        return result.result(10)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/subscribers", PERSON),
        ("/subscribers", {**PERSON, "__force_update": "yes"}),
        ("/api/3/contacts", {"contact": {"email": ADA}}),
        ("/api/3/contact/sync", {"contact": {"email": ADA}}),
    ],
)
def test_a_contact_that_is_erased_meanwhile_is_pending(
    api: APIClient, path: str, body: dict[str, Any]
) -> None:
    response = erase_during(lambda: api.post(path, body, format="json"))
    assert Subscriber.objects.get().status == "pending"
    assert "was erased" in response.content.decode()


def test_an_opt_out_that_is_sent_meanwhile_is_stored(api: APIClient) -> None:
    body = {**PERSON, "status": "unsubscribed"}
    erase_during(lambda: api.post("/subscribers", body, format="json"))
    assert Subscriber.objects.get().status == "unsubscribed"


@pytest.mark.parametrize("others", [0, 1])
def test_a_batch_does_not_create_a_contact_that_is_erased_meanwhile(
    api: APIClient, others: int
) -> None:
    contacts = [*({"email": f"c{number}@example.com"} for number in range(others)), PERSON]
    body = erase_during(lambda: api.post(BULK, {"contacts": contacts}, format="json").json())
    assert [error["errors"]["email"].keys() for error in body["errors"]] == [{"erased"}]
    assert Subscriber.objects.filter(status="subscribed").count() == len(body["created"]) == others


def test_a_batch_does_not_create_a_contact_whose_alias_is_erased_meanwhile(api: APIClient) -> None:
    survivor = create({"email": "bob@example.com"})
    merge_contacts(survivor.pk, ("contact", str(create({"email": ADA}).pk)))
    erase_during(
        lambda: api.post(BULK, {"contacts": [PERSON]}, format="json"),
        lambda: erase_contact(survivor.pk, by="test"),
    )
    assert not Subscriber.objects.exists()


def test_a_batch_that_restores_creates_a_contact_that_is_erased_meanwhile(api: APIClient) -> None:
    body = {"contacts": [PERSON], "restore_erased": True}
    erase_during(lambda: api.post(BULK, body, format="json"))
    assert Subscriber.objects.get().status == "subscribed"


@pytest.mark.parametrize("path", ["track-event", "track-events"])
def test_an_event_does_not_create_a_contact_that_is_erased_meanwhile(
    api: APIClient, path: str
) -> None:
    body = EVENT if path == "track-event" else {"events": [EVENT]}
    erase_during(lambda: api.post(f"/subscribers/{path}", body, format="json"))
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("others", [0, 1])
def test_an_import_does_not_create_a_contact_that_is_erased_meanwhile(others: int) -> None:
    items = [*({"email": f"c{number}@example.com"} for number in range(others)), PERSON]
    rows = [ContactRow(number, item, {}, []) for number, item in enumerate(items)]
    rules = ContactRules(existing="overwrite")
    outcomes = erase_during(lambda: in_transaction(import_contacts)(rows, rules))
    assert [each.kind for each in outcomes] == [*["created"] * others, "held_back"]
    assert Subscriber.objects.count() == others


def test_a_contact_that_gets_an_email_that_is_erased_meanwhile_is_pending(api: APIClient) -> None:
    contact = create({"email": "bob@example.com", "status": "subscribed"})
    path = f"/subscribers/{contact.pk}"
    response = erase_during(lambda: api.put(path, {"email": ADA}, format="json"))
    contact.refresh_from_db()
    assert (contact.email, contact.status) == (ADA, "pending")
    assert [warning["rule"] for warning in response.json()["warnings"]] == ["erased"]
