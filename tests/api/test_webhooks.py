"""Incoming webhooks: their addresses, and the contacts that are posted to them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.timezone import now
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from crm.contacts import create
from crm.custom_fields import add_field
from crm.labels import LabelKind
from crm.models import CustomField, IncomingWebhook, List, Subscriber, Tag
from crm.webhooks import WebhookFields, create_webhook
from events.personal_data import erase_contact
from tests.api.conftest import MakePassword, Sent, basic
from tests.api.rsgi import Headers

pytestmark = pytest.mark.django_db
WEBHOOKS = "/webhooks"
# The web server's path of `/?fluentcrm=1` (config/server/target.py).
DOOR = "/fluentcrm?"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def vip() -> Tag:
    """A tag."""
    return Tag.objects.create(title="VIP", slug="vip")


@pytest.fixture
def newsletter() -> List:
    """A list."""
    return List.objects.create(title="Newsletter", slug="newsletter")


@pytest.fixture
def webhook(admin: User, vip: Tag, newsletter: List) -> IncomingWebhook:
    """A webhook of the superuser, which subscribes contacts with the tag and the list."""
    labels: dict[LabelKind, list[int]] = {"tags": [vip.pk], "lists": [newsletter.pk]}
    return create_webhook(admin, WebhookFields("Shop", "subscribed", labels))


def door_of(webhook: IncomingWebhook) -> str:
    """Return where the web server finds a webhook's address."""
    return webhook.path.replace("/?", DOOR)


def post(client: APIClient, webhook: IncomingWebhook, data: Any, **options: Any) -> dict[str, Any]:
    """Post to a webhook, and return the body of its 200."""
    response = client.post(door_of(webhook), data, **{"format": "json", **options})
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def titles(rows: Any) -> list[str]:
    """Return the titles of labels."""
    return [row.title for row in rows.all()]


def test_a_post_creates_a_contact_with_the_webhooks_status_and_labels(
    anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    fields = {"email": "ada@example.com", "first_name": "Ada", "city": "London"}
    body = post(anonymous, webhook, fields)
    contact = Subscriber.objects.get()
    assert body == {
        "success": True,
        "data": {"message": "created", "id": contact.pk, "type": "success"},
    }
    assert (contact.first_name, contact.city, contact.status) == ("Ada", "London", "subscribed")
    assert (titles(contact.tags), titles(contact.lists)) == (["VIP"], ["Newsletter"])


@pytest.mark.parametrize("path", ["/", "/index.php", "//", ""])
def test_the_address_is_that_of_the_site(
    send: Callable[..., Sent], webhook: IncomingWebhook, path: str
) -> None:
    sent = b'{"email":"ada@example.com"}'
    headers = {"host": "localhost", "content-type": "application/json"}
    parts = {
        "method": "POST",
        "path": path,
        "query_string": webhook.path.removeprefix("/?"),
        "headers": Headers(headers | {"content-length": str(len(sent))}),
    }
    status, _, body = send(sent, **parts)
    assert (status, json.loads(body)["success"]) == (200, True)


def test_a_second_post_updates_the_contact(
    anonymous: APIClient, webhook: IncomingWebhook, ada: Subscriber
) -> None:
    body = post(anonymous, webhook, {"email": "ADA@example.com", "last_name": "Lovelace"})
    assert body["data"] == {"message": "updated", "id": ada.pk, "type": "success"}
    assert Subscriber.objects.get().last_name == "Lovelace"


def test_a_post_may_be_a_form(anonymous: APIClient, webhook: IncomingWebhook) -> None:
    form = "email=ada%40example.com&tags[]=Gold&lists[]=Buyers&names[first_name]=Ada"
    assert post(anonymous, webhook, form, content_type=FORM, format=None)["success"]
    contact = Subscriber.objects.get()
    assert (contact.first_name, titles(contact.tags), titles(contact.lists)) == (
        *("Ada", ["Gold"]),
        ["Buyers"],
    )


@pytest.mark.parametrize(
    ("names", "stored"),
    [({}, "Ada Byron"), ({"last_name": "King"}, "Ada King"), (["x"], "Ada Byron")],
)
def test_nested_names_replace_those_that_they_have(
    anonymous: APIClient, webhook: IncomingWebhook, names: Any, stored: str
) -> None:
    sent = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Byron", "names": names}
    post(anonymous, webhook, sent)
    assert Subscriber.objects.get().full_name == stored


def test_a_full_name_is_split(anonymous: APIClient, webhook: IncomingWebhook) -> None:
    post(anonymous, webhook, {"email": "ada@example.com", "full_name": "Ada King Lovelace"})
    contact = Subscriber.objects.get()
    assert (contact.first_name, contact.last_name) == ("Ada", "King Lovelace")


def test_a_post_names_custom_fields_by_their_slugs(
    api: APIClient, anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    add_field(CustomField(slug="seats", label="Seats", type="number"))
    assert api.get(WEBHOOKS).json()["custom_fields"] == [{"key": "seats", "field": "Seats"}]
    post(anonymous, webhook, {"email": "ada@example.com", "seats": 3})
    assert Subscriber.objects.get().custom_values == {"seats": "3"}


def test_a_post_detaches_labels(
    anonymous: APIClient, webhook: IncomingWebhook, ada: Subscriber
) -> None:
    ada.tags.add(Tag.objects.create(title="Old", slug="old"))
    post(anonymous, webhook, {"email": ada.email, "detach_tags": ["old"]})
    assert titles(ada.tags) == ["VIP"]


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained", "spammed"])
def test_a_contact_that_opted_out_stays_so(
    anonymous: APIClient, webhook: IncomingWebhook, status: str
) -> None:
    create({"email": "ada@example.com", "status": status})
    body = post(anonymous, webhook, {"email": "ada@example.com", "status": "subscribed"})
    assert Subscriber.objects.get().status == status
    # A visitor of the form could ask for any e-mail.
    assert body["data"].keys() == {"message", "id", "type"}


def test_an_erased_contact_is_not_subscribed(
    anonymous: APIClient, webhook: IncomingWebhook, ada: Subscriber
) -> None:
    erase_contact(ada.pk, "admin")
    body = post(anonymous, webhook, {"email": "ada@example.com"})
    assert Subscriber.objects.get().status == "pending"
    assert body["data"].keys() == {"message", "id", "type"}


def test_the_status_of_a_post_counts_if_it_is_an_opt_out(
    anonymous: APIClient, webhook: IncomingWebhook, ada: Subscriber
) -> None:
    post(anonymous, webhook, {"email": ada.email, "status": "unsubscribed"})
    assert Subscriber.objects.get().status == "unsubscribed"


@pytest.mark.parametrize("status", ["Unsubscribed", " BOUNCED "])
def test_an_opt_out_is_read_in_any_case(
    anonymous: APIClient, webhook: IncomingWebhook, ada: Subscriber, status: str
) -> None:
    post(anonymous, webhook, {"email": ada.email, "status": status})
    assert Subscriber.objects.get().status == status.strip().lower()


def test_a_word_that_is_no_status_subscribes_no_contact(
    anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    post(anonymous, webhook, {"email": "ada@example.com", "status": "Opted-out"})
    assert Subscriber.objects.get().status == "pending"


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"user_id": "7"}, "user_id"),
        ({"latitude": "north"}, "latitude"),
        ({"tags": "a,b"}, "tags"),
        ({"seats": "many"}, "custom_values.seats"),
        ({"custom_values": {"seats": "many", "city": "Rome"}}, "custom_values.seats"),
        ({"custom_values": '{"seats": "many"}'}, "custom_values.seats"),
        ({"phone": "\0"}, "phone"),
    ],
)
def test_an_opt_out_beside_an_invalid_field_is_stored_and_the_field_is_left_out(
    anonymous: APIClient, webhook: IncomingWebhook, ada: Subscriber, sent: Any, path: str
) -> None:
    add_field(CustomField(slug="seats", label="Seats", type="number"))
    create({"email": "bob@example.com", "user_id": "7"})
    fields = {"email": ada.email, "status": "unsubscribed", "last_name": "Lovelace"}
    body = post(anonymous, webhook, fields | sent)
    assert [each["field"] for each in body["data"]["warnings"]] == [path]
    ada.refresh_from_db()
    assert (ada.status, ada.last_name) == ("unsubscribed", "Lovelace")


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ({}, {"email": {"required": "The email field is required."}}),
        ({"email": "no"}, {"email": {"email": "The email must be a valid email address."}}),
    ],
)
def test_a_post_without_an_email_is_refused(
    anonymous: APIClient, webhook: IncomingWebhook, data: Any, errors: Any
) -> None:
    assert post(anonymous, webhook, data) == {
        "success": False,
        "data": {
            "message": "Validation failed.",
            "errors": errors,
            "type": "email_validation_failed",
        },
    }
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize(
    ("query", "message", "kind"),
    [
        ("route=contact", "Invalid Webhook URL", "invalid_webhook_url"),
        (
            "/fluentcrm?fluentcrm=1&route=contact&hash=no",
            "Invalid Webhook Hash",
            "invalid_webhook_hash",
        ),
        (
            "/fluentcrm?fluentcrm=1&route=contact&hash=%00",
            "Validation failed.",
            "validation_failed",
        ),
        (
            "/fluentcrm?fluentcrm=1&route=bnu",
            "Tallybook has the route contact only.",
            "invalid_route",
        ),
        ("", "Tallybook has the route contact only.", "invalid_route"),
    ],
)
def test_an_address_that_is_no_webhooks_is_refused(
    anonymous: APIClient, query: str, message: str, kind: str
) -> None:
    response = anonymous.post(DOOR + query, {"email": "ada@example.com"}, format="json")
    assert response.status_code == 200
    body = response.json()
    assert (body["success"], body["data"]["message"], body["data"]["type"]) == (
        *(False, message),
        kind,
    )


def test_only_post_is_accepted(anonymous: APIClient, webhook: IncomingWebhook) -> None:
    body = anonymous.get(door_of(webhook)).json()
    assert body["data"] == {
        "message": "Webhook must need to be as POST Method",
        "type": "invalid_request_method",
    }


def test_guessing_secrets_is_limited(anonymous: APIClient) -> None:
    guess = f"{DOOR}route=contact&hash=guess"
    statuses = [anonymous.post(guess, {}, format="json").status_code for _ in range(31)]
    assert statuses == [200] * 30 + [429]


def test_broken_json_is_refused(anonymous: APIClient, webhook: IncomingWebhook) -> None:
    options = {"content_type": "application/json", "format": None}
    body = post(anonymous, webhook, b"{", **options)
    assert (body["success"], body["data"]["type"]) == (False, "rest_invalid_json")


NAMES = ("email", "first_name", "names", "full_name", "tags", "lists", "detach_tags", "status")
OTHER_NAMES = (
    "custom_values",
    "user_id",
    "date_of_birth",
    "latitude",
    "hash",
    "route",
    "created_at",
)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from((*NAMES, *OTHER_NAMES)), ODD, max_size=5),
    st.sampled_from([None, "ada@example.com"]),
)
def test_odd_posts_are_answered_in_the_same_shape(
    anonymous: APIClient, webhook: IncomingWebhook, sent: dict[str, Any], email: str | None
) -> None:
    body = post(anonymous, webhook, sent | ({"email": email} if email else {}))
    assert set(body) == {"success", "data"}
    assert body["success"] or body["data"]["message"]


def test_a_deleted_webhook_is_refused(
    api: APIClient, anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    assert api.delete(f"{WEBHOOKS}/{webhook.pk}").status_code == 200
    body = post(anonymous, webhook, {"email": "ada@example.com"})
    assert body["data"]["type"] == "invalid_webhook_hash"


def test_the_webhook_of_an_inactive_user_is_refused(
    anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    User.objects.update(is_active=False)
    body = post(anonymous, webhook, {"email": "ada@example.com"})
    assert body["data"]["type"] == "invalid_webhook_hash"


def test_a_post_may_do_what_the_webhooks_user_may(
    anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    User.objects.update(is_superuser=False)
    body = post(anonymous, webhook, {"email": "ada@example.com"})
    assert body["data"]["message"] == "The webhook's user may not add and change contacts."
    assert not Subscriber.objects.exists()


def test_the_use_of_a_webhook_is_noted_once_a_minute(
    anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    post(anonymous, webhook, {"email": "ada@example.com"})
    webhook.refresh_from_db()
    first = webhook.last_used_at
    assert first
    post(anonymous, webhook, {"email": "ada@example.com"})
    webhook.refresh_from_db()
    assert webhook.last_used_at == first
    IncomingWebhook.objects.update(last_used_at=now() - timedelta(minutes=2))
    post(anonymous, webhook, {"email": "ada@example.com"})
    webhook.refresh_from_db()
    assert webhook.last_used_at
    assert webhook.last_used_at > first


def test_a_webhook_is_made_by_api(
    api: APIClient, anonymous: APIClient, vip: Tag, newsletter: List
) -> None:
    sent = {"name": "Shop", "status": "pending", "tags": [vip.pk], "lists": ["newsletter"]}
    body = api.post(WEBHOOKS, sent, format="json").json()
    webhook = IncomingWebhook.objects.get()
    assert body["webhook"] == {
        "name": "Shop",
        "lists": [newsletter.pk],
        "tags": [vip.pk],
        "status": "pending",
        "url": f"http://testserver/?fluentcrm=1&route=contact&hash={webhook.secret}",
    }
    assert (body["id"], body["message"]) == (webhook.pk, "Successfully created the WebHook")
    assert [each["id"] for each in body["webhooks"]] == [webhook.pk]
    assert post(anonymous, webhook, {"email": "ada@example.com"})["success"]


def test_the_list_has_webhooks_and_what_a_post_may_name(
    api: APIClient, webhook: IncomingWebhook, vip: Tag
) -> None:
    body = api.get(WEBHOOKS).json()
    assert list(body) == ["webhooks", "fields", "custom_fields", "tags", "lists"]
    assert [each["key"] for each in body["webhooks"]] == [webhook.secret]
    assert {"key": "full_name", "field": "Full Name"} in body["fields"]
    assert body["tags"] == [{"id": vip.pk, "title": "VIP", "slug": "vip"}]


@pytest.mark.parametrize(("search", "number"), [("SHO", 1), ("form", 0)])
def test_webhooks_are_searched_by_name(
    api: APIClient, webhook: IncomingWebhook, search: str, number: int
) -> None:
    assert len(api.get(WEBHOOKS, {"search": search}).json()["webhooks"]) == number


def test_a_webhook_is_changed_and_keeps_its_address(
    api: APIClient, webhook: IncomingWebhook
) -> None:
    body = api.put(f"{WEBHOOKS}/{webhook.pk}", {"name": "New"}, format="json").json()
    assert body["message"] == "Successfully updated the webhook"
    [stored] = body["webhooks"]
    assert (stored["key"], stored["value"]["name"]) == (webhook.secret, "New")
    # As in FluentCRM, which stores the tags and lists that it is sent, or none.
    assert (stored["value"]["tags"], stored["value"]["status"]) == ([], "subscribed")


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"status": "subscribed"}, "name"),
        ({"name": "Shop"}, "status"),
        ({"name": "Shop", "status": "friend"}, "status"),
        ({"name": "Shop", "status": "subscribed", "tags": [999]}, "tags"),
    ],
)
def test_an_invalid_webhook_is_refused(api: APIClient, sent: Any, field: str) -> None:
    response = api.post(WEBHOOKS, sent, format="json")
    assert (response.status_code, list(response.json())) == (422, [field])
    assert not IncomingWebhook.objects.exists()


@pytest.mark.parametrize("method", ["put", "delete"])
def test_an_unknown_webhook_is_not_found(api: APIClient, method: str) -> None:
    response = getattr(api, method)(f"{WEBHOOKS}/999", {}, format="json")
    assert (response.status_code, response.json()) == (404, {"message": "Webhook not found"})


def test_there_is_a_limit_of_webhooks(
    api: APIClient, webhook: IncomingWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm.webhooks.MAX_WEBHOOKS", 1)
    response = api.post(WEBHOOKS, {"name": "Shop", "status": "subscribed"}, format="json")
    assert response.status_code == 422


def test_a_webhook_has_as_many_labels_as_a_contact_may_have(
    api: APIClient, vip: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm.webhooks.MAX_LABELS", 0)
    sent = {"name": "Shop", "status": "subscribed", "tags": [vip.pk]}
    response = api.post(WEBHOOKS, sent, format="json")
    assert (response.status_code, list(response.json())) == (422, ["tags"])


def test_a_password_that_reads_sees_no_addresses(
    admin: User, make_password: MakePassword, anonymous: APIClient, webhook: IncomingWebhook
) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION=basic("admin", make_password(admin, "read")))
    assert anonymous.get(WEBHOOKS).status_code == 403
