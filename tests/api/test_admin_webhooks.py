"""The admin's pages of incoming webhooks."""

from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client

from crm.models import HistoryEntry, IncomingWebhook, List, Tag
from crm.webhooks import WebhookFields, create_webhook
from tests.api.pages import browser_of, open_page, staff_user

pytestmark = pytest.mark.django_db
WEBHOOKS = "/admin/crm/incomingwebhook/"


@pytest.fixture
def webhook(admin_user: User) -> IncomingWebhook:
    """A webhook of the superuser, without labels."""
    return create_webhook(
        admin_user, WebhookFields("Shop", "subscribed", {"tags": [], "lists": []})
    )


def test_a_webhook_is_made_with_its_labels(admin_client: Client, admin_user: User) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    audience = List.objects.create(title="Newsletter", slug="newsletter")
    form = {"name": "Shop", "status": "pending", "tags": [tag.pk], "lists": [audience.pk]}
    admin_client.post(f"{WEBHOOKS}add/", form)
    webhook = IncomingWebhook.objects.get()
    assert (webhook.user, webhook.name, webhook.status) == (admin_user, "Shop", "pending")
    assert ([*webhook.tags.all()], [*webhook.lists.all()]) == ([tag], [audience])
    assert HistoryEntry.objects.get().object_repr == "Shop"


def test_the_page_of_a_webhook_shows_its_address(
    admin_client: Client, webhook: IncomingWebhook
) -> None:
    page = unescape(open_page(admin_client, f"{WEBHOOKS}{webhook.pk}/change/"))
    assert f"http://testserver/?fluentcrm=1&route=contact&hash={webhook.secret}" in page


def test_a_webhook_is_changed_and_keeps_its_address(
    admin_client: Client, webhook: IncomingWebhook
) -> None:
    form = {"name": "Form", "status": "transactional"}
    admin_client.post(f"{WEBHOOKS}{webhook.pk}/change/", form)
    stored = IncomingWebhook.objects.get()
    assert (stored.name, stored.status, stored.secret) == ("Form", "transactional", webhook.secret)


def test_users_who_may_not_change_contacts_add_no_webhook() -> None:
    browser = browser_of(staff_user("crm.add_incomingwebhook"))
    assert browser.get(f"{WEBHOOKS}add/").status_code == 403


@pytest.mark.parametrize("limit", ["MAX_WEBHOOKS", "MAX_LABELS"])
def test_a_form_beyond_a_limit_says_so(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"crm.webhooks.{limit}", 0)
    tag = Tag.objects.create(title="VIP", slug="vip")
    form = {"name": "Shop", "status": "subscribed", "tags": [tag.pk]}
    response = admin_client.post(f"{WEBHOOKS}add/", form)
    assert (response.status_code, IncomingWebhook.objects.count()) == (200, 0)
    assert "at most." in response.content.decode()
