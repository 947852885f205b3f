"""A contact's form in the admin writes only what was changed on the page."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from crm.attachments import attach
from crm.contacts import create, set_user_id
from crm.labels import resolve_label_ids
from crm.models import Subscriber, Tag
from tests.api.pages import CONTACTS, form_of, open_page


@pytest.fixture
def contact(db: None) -> Subscriber:
    """Ada with the tags "one" and "two"."""
    contact = create({"email": "ada@example.com", "first_name": "Ada", "status": "subscribed"})
    attach("tags", [contact.pk], resolve_label_ids("tags", ["one", "two"], create=True))
    return contact


@pytest.fixture
def path(contact: Subscriber) -> str:
    """The address of the contact's form."""
    return f"{CONTACTS}{contact.pk}/change/"


def test_a_field_that_was_not_changed_is_not_written(
    api: APIClient, admin_client: Client, contact: Subscriber, path: str
) -> None:
    page = open_page(admin_client, path)
    changes = {
        "status": "unsubscribed",
        "custom_values": {"plan": "pro"},
        "attach_tags": ["three"],
        "force_update": "yes",
    }
    changed = api.put(f"/subscribers/{contact.pk}", {"subscriber": changes})
    assert changed.status_code == 200
    response = admin_client.post(path, form_of(page, last_name="Lovelace"))
    assert response.status_code == 302
    contact.refresh_from_db()
    assert (contact.first_name, contact.last_name, contact.status, contact.custom_values) == (
        "Ada",
        "Lovelace",
        "unsubscribed",
        {"plan": "pro"},
    )
    assert contact.tags.filter(title="three").exists()


def test_an_unticked_tag_goes_and_one_that_came_meanwhile_stays(
    admin_client: Client, contact: Subscriber, path: str
) -> None:
    page = open_page(admin_client, path)
    contact.tags.add(Tag.objects.create(title="three", slug="three"))
    two = Tag.objects.get(title="two")
    response = admin_client.post(path, form_of(page, tags=[str(two.pk)]))
    assert response.status_code == 302
    assert sorted(contact.tags.values_list("title", flat=True)) == ["three", "two"]


def test_the_form_shows_the_id_that_a_program_gave_the_contact(
    admin_client: Client, ada: Subscriber
) -> None:
    set_user_id(ada, "shop-59")
    page = open_page(admin_client, f"{CONTACTS}{ada.pk}/change/")
    assert '<div class="readonly">shop-59</div>' in page
