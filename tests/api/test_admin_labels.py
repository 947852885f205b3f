"""Tags and lists in the admin: how many contacts they have, and deletion."""

import pytest
from django.test import Client

from crm.models import List, Subscriber, Tag
from tests.api.pages import CONTACTS, ESCAPED, HOSTILE, browser_of, open_page, staff_user

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("kind", ["tag", "list"])]


@pytest.fixture
def model(kind: str) -> type[Tag | List]:
    """The model of tags, or of lists."""
    return Tag if kind == "tag" else List


@pytest.fixture
def path(kind: str) -> str:
    """The address of the list of tags, or of lists."""
    return f"/admin/crm/{kind}/"


@pytest.fixture
def used(kind: str, model: type[Tag | List]) -> Tag | List:
    """A tag, or a list, that two contacts have."""
    label = model._default_manager.create(title=HOSTILE, slug="used")
    contacts = Subscriber.objects.bulk_create(
        Subscriber(email=f"{name}@example.com") for name in ("ada", "bob")
    )
    for contact in contacts:
        getattr(contact, f"{kind}s").add(label)
    return label


@pytest.fixture
def unused(model: type[Tag | List]) -> Tag | List:
    """A tag, or a list, that no contact has."""
    return model._default_manager.create(title="Unused", slug="unused")


def test_the_list_links_to_the_contacts_with_their_number(
    admin_client: Client, kind: str, path: str, used: Tag | List, unused: Tag | List
) -> None:
    page = open_page(admin_client, path)
    assert f'<a href="{CONTACTS}?{kind}={used.pk}">2</a>' in page
    assert f'<a href="{CONTACTS}?{kind}={unused.pk}">0</a>' in page


def test_contacts_are_counted_up_to_a_limit(
    admin_client: Client, kind: str, path: str, used: Tag | List, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm.admin.labels.MAX_COUNTED", 1)
    page = open_page(admin_client, path)
    assert f'<a href="{CONTACTS}?{kind}={used.pk}">more than 1</a>' in page


def test_users_who_may_not_see_contacts_get_no_number(
    kind: str, path: str, used: Tag | List
) -> None:
    page = open_page(browser_of(staff_user(f"view_{kind}")), path)
    assert ESCAPED in page
    assert CONTACTS not in page


def test_deleting_asks_with_the_number_of_contacts(
    admin_client: Client, kind: str, path: str, used: Tag | List
) -> None:
    page = open_page(admin_client, f"{path}{used.pk}/delete/")
    assert "that they are taken off: 2" in page
    assert HOSTILE not in page


@pytest.mark.parametrize("is_selected", [False, True], ids=["one", "selected"])
def test_deletion_leaves_the_contacts(
    admin_client: Client,
    kind: str,
    model: type[Tag | List],
    path: str,
    used: Tag | List,
    unused: Tag | List,
    is_selected: bool,
) -> None:
    form = {"action": "delete_selected", "_selected_action": used.pk, "post": "yes"}
    admin_client.post(path if is_selected else f"{path}{used.pk}/delete/", form)
    assert model._default_manager.get() == unused
    assert Subscriber.objects.count() == 2


def test_the_whitespace_of_a_title_is_folded(
    admin_client: Client, model: type[Tag | List], path: str
) -> None:
    admin_client.post(f"{path}add/", {"title": " Early  Bird ", "slug": "early"})
    assert model._default_manager.get().title == "Early Bird"


def test_the_title_of_another_label_is_rejected_at_its_field(
    admin_client: Client, path: str, model: type[Tag | List], unused: Tag | List
) -> None:
    other = model._default_manager.create(title="VIP", slug="vip")
    fields = {"title": " vip ", "slug": "unused", "description": ""}
    response = admin_client.post(f"{path}{unused.pk}/change/", fields)
    page = response.content.decode()
    assert f'Another one has this title. See <a href="{path}{other.pk}/change/">' in page
    unused.refresh_from_db()
    assert unused.title == "Unused"
