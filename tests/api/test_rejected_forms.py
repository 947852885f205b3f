"""Forms of the admin that are shown again: what is wrong, and whose form it is."""

import re
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from crm.contacts import create
from crm.models import Subscriber
from tests.api.pages import CONTACTS, form_of, open_page


def headings_of(page: str) -> list[str]:
    """Return the title, the breadcrumbs and the heading of a page."""
    patterns = (r"<title>.*?</title>", r'<div class="breadcrumbs">.*?</div>', r"<h2>.*?</h2>")
    found = [re.search(pattern, page, re.DOTALL) for pattern in patterns]
    return [match[0] if match else "" for match in found]


def create_two(model: str) -> Any:
    """Create two rows of a model and return the first."""
    name = "username" if model == "auth/user" else "name" if model == "auth/group" else "title"
    slugs = [{"slug": "one"}, {"slug": "two"}] if name == "title" else [{}, {}]
    manager = apps.get_model(model.replace("/", "."))._base_manager
    rows = [
        manager.create(**{name: value}, **slug)
        for value, slug in zip(("First", "Second"), slugs, strict=True)
    ]
    return rows[0]


@pytest.fixture
def rejected_page(admin_client: Client, ada: Subscriber) -> str:
    """The page of Ada's form that was sent with the e-mail of Bob."""
    create({"email": "bob@example.com"})
    path = f"{CONTACTS}{ada.pk}/change/"
    form = form_of(open_page(admin_client, path), email=" BOB@example.com")
    response = admin_client.post(path, form)
    assert response.status_code == 200
    return response.content.decode()


def test_an_email_of_another_contact_is_told_at_its_field_with_a_link(rejected_page: str) -> None:
    bob = Subscriber.objects.get(email="bob@example.com")
    row = re.search(r'<div class="form-row errors field-email">.*?</ul>', rejected_page, re.DOTALL)
    assert row
    assert f'<a href="{CONTACTS}{bob.pk}/"><bdi>bob@example.com</bdi></a>' in row[0]
    assert rejected_page.count("Another contact has this e-mail") == 1


def test_the_heading_of_a_rejected_form_keeps_the_contacts_own_email(rejected_page: str) -> None:
    title, breadcrumbs, heading = headings_of(rejected_page)
    assert "ada@example.com" in title
    assert "ada@example.com" in breadcrumbs
    assert "ada@example.com" in heading
    assert 'value=" BOB@example.com"' in rejected_page


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ("crm/tag", {"title": "Other", "slug": "two"}),
        ("crm/list", {"title": "Other", "slug": "two"}),
        ("crm/segment", {"title": "Other", "filters": "["}),
        ("auth/user", {"username": "Other", "email": "no e-mail"}),
        ("auth/group", {"name": "Second"}),
    ],
)
def test_the_heading_of_a_rejected_form_keeps_the_stored_name(
    admin_client: Client, model: str, wrong: dict[str, str]
) -> None:
    stored = create_two(model)
    path = f"/admin/{model}/{stored.pk}/change/"
    response = admin_client.post(path, form_of(open_page(admin_client, path), **wrong))
    assert response.status_code == 200
    for part in headings_of(response.content.decode()):
        assert str(stored) in part
        assert next(iter(wrong.values())) not in part


@pytest.mark.parametrize("model", ["tag", "list"])
@pytest.mark.parametrize("path", ["add/", "{}/change/"])
def test_a_slug_of_another_label_is_told_at_its_field_with_a_link(
    admin_client: Client, model: str, path: str
) -> None:
    first = create_two(f"crm/{model}")
    form = {"title": "Third", "slug": "TWO", "description": ""}
    page = admin_client.post(f"/admin/crm/{model}/{path.format(first.pk)}", form).content.decode()
    row = re.search(r'<div class="form-row errors field-slug">.*?</ul>', page, re.DOTALL)
    assert row
    second = type(first)._base_manager.get(slug="two")
    assert f'href="/admin/crm/{model}/{second.pk}/change/"' in row[0]
    assert page.count("has this slug") == 1
