"""Who may only add contacts changes none, and makes no tags or lists on the way."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from crm.models import List, Subscriber, Tag
from tests.api.conftest import MakePassword, basic

BULK = "/subscribers/bulk-add-update"
CHANGED = {"email": "ada@example.com", "status": "subscribed", "first_name": "Changed"}
NEW = {"email": "new@example.com", "status": "subscribed"}


@pytest.fixture
def clerk(db: None) -> User:
    """A user who may add contacts, and no more."""
    user = User.objects.create(username="clerk")
    user.user_permissions.set(Permission.objects.filter(codename="add_subscriber"))
    return user


@pytest.fixture
def clerk_api(clerk: User, make_password: MakePassword) -> APIClient:
    """A client with a password of the clerk, scope manage."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("clerk", make_password(clerk)))
    return client


@pytest.fixture
def unsubscribed(ada: Subscriber) -> Subscriber:
    """A contact that opted out."""
    Subscriber.objects.update(status="unsubscribed", phone="555")
    return ada


@pytest.fixture
def grant(clerk: User) -> Any:
    """`grant("add_tag")` gives the clerk a permission more."""

    def give(*codenames: str) -> None:
        clerk.user_permissions.add(*Permission.objects.filter(codename__in=codenames))

    return give


def test_a_forced_update_of_another_contact_is_403_shows_nothing_and_changes_nothing(
    clerk_api: APIClient, unsubscribed: Subscriber
) -> None:
    fields = {**CHANGED, "__force_update": "yes", "tags": ["new"]}
    response = clerk_api.post("/subscribers", fields)
    assert response.status_code == 403
    assert response.json()["message"] == "The contact exists, and you may not change contacts."
    assert "555" not in response.content.decode()
    contact = Subscriber.objects.get()
    assert (contact.first_name, contact.status) == (None, "unsubscribed")
    assert not Tag.objects.exists()


def test_a_forced_update_of_a_new_contact_adds_it(clerk_api: APIClient) -> None:
    assert clerk_api.post("/subscribers", {**NEW, "__force_update": "yes"}).status_code == 200
    assert Subscriber.objects.get().email == NEW["email"]


def test_a_batch_adds_new_contacts_and_reports_those_that_exist(
    clerk_api: APIClient, unsubscribed: Subscriber
) -> None:
    rows = [CHANGED, NEW]
    body = clerk_api.post(BULK, {"contacts": rows, "force_update": True}).json()
    assert [row["email"] for row in body["created"]] == [NEW["email"]]
    assert (body["updated"], body["invalids"]) == ([], [CHANGED])
    message = "The contact exists, and you may not change contacts."
    assert body["errors"][0]["errors"] == {"contact": {"forbidden": message}}
    assert Subscriber.objects.get(email="ada@example.com").first_name is None


def test_who_may_change_contacts_updates_by_both(
    clerk_api: APIClient, grant: Any, ada: Subscriber
) -> None:
    grant("change_subscriber")
    forced = clerk_api.post("/subscribers", {**CHANGED, "__force_update": "yes"})
    assert forced.json()["action_type"] == "updated"
    assert len(clerk_api.post(BULK, {"contacts": [CHANGED]}).json()["updated"]) == 1


@pytest.mark.parametrize(("field", "model"), [("tags", Tag), ("lists", List)])
@pytest.mark.parametrize("names", [["Brand new"], [{"title": "77"}, "Brand new"]])
def test_a_label_that_the_user_may_not_create_is_403_and_nothing_is_stored(
    clerk_api: APIClient, field: str, model: Any, names: list[Any]
) -> None:
    response = clerk_api.post("/subscribers", {**NEW, field: names})
    assert response.status_code == 403
    assert f"You may not create {field}: " in response.json()["message"]
    assert not model.objects.exists()
    assert not Subscriber.objects.exists()


def test_a_row_with_a_label_that_the_user_may_not_create_is_reported_and_not_stored(
    clerk_api: APIClient,
) -> None:
    rows = [{**NEW, "tags": ["Brand new"]}, {**NEW, "email": "b@example.com"}]
    body = clerk_api.post(BULK, {"contacts": rows}).json()
    assert body["errors"][0]["errors"] == {
        "contact": {"forbidden": "You may not create tags: Brand new."}
    }
    assert Subscriber.objects.get().email == "b@example.com"


def test_an_update_with_a_label_that_the_user_may_not_create_is_403(
    clerk_api: APIClient, grant: Any, ada: Subscriber
) -> None:
    grant("change_subscriber")
    response = clerk_api.put(f"/subscribers/{ada.id}", {"first_name": "x", "tags": ["Brand new"]})
    assert response.status_code == 403
    assert Subscriber.objects.get().first_name is None


def test_a_label_that_exists_is_attached_to_a_new_contact(clerk_api: APIClient) -> None:
    tag = Tag.objects.create(title="Old", slug="old")
    assert clerk_api.post("/subscribers", {**NEW, "tags": ["Old"]}).status_code == 200
    assert list(Subscriber.objects.get().tags.all()) == [tag]


def test_who_may_create_tags_creates_them_with_a_contact(clerk_api: APIClient, grant: Any) -> None:
    grant("add_tag")
    assert clerk_api.post("/subscribers", {**NEW, "tags": ["Brand new"]}).status_code == 200
    assert Tag.objects.get().title == "Brand new"


@pytest.mark.parametrize("kind", ["tag", "list"])
def test_a_batch_of_labels_renames_none_without_the_permission(
    clerk_api: APIClient, grant: Any, kind: str
) -> None:
    grant(f"add_{kind}")
    labels: Any = {"tag": Tag.objects, "list": List.objects}[kind]
    labels.create(title="Old", slug="old")
    rows = [{"title": "Brand new", "slug": "brand-new"}, {"title": "Renamed", "slug": "old"}]
    response = clerk_api.post(f"/{kind}s/bulk", {f"{kind}s": rows})
    assert response.status_code == 403
    assert [label.title for label in labels.all()] == ["Old"]


def test_who_may_change_tags_renames_them_by_a_batch(clerk_api: APIClient, grant: Any) -> None:
    grant("add_tag", "change_tag")
    Tag.objects.create(title="Old", slug="old")
    rows = [{"title": "Renamed", "slug": "old"}]
    assert clerk_api.post("/tags/bulk", {"tags": rows}).status_code == 200
    assert Tag.objects.get().title == "Renamed"


def test_deleting_by_a_bulk_action_needs_the_permission_to_delete(
    clerk_api: APIClient, grant: Any, ada: Subscriber
) -> None:
    grant("change_subscriber")
    fields = {"action_name": "delete_contacts", "subscriber_ids": [ada.id]}
    assert clerk_api.post("/subscribers/do-bulk-action", fields).status_code == 403
    grant("delete_subscriber")
    assert clerk_api.post("/subscribers/do-bulk-action", fields).status_code == 200
