"""The audit log: refused credentials, deletions, exports and changes of rights, and no secrets."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from django.test import Client
from rest_framework.test import APIClient

from config import audit
from crm.batches import write_together
from crm.contacts import create
from crm.labels import create_label
from crm.models import ApplicationPassword, Job, Subscriber, Tag
from crm.passwords import create_application_password
from crm.segments import create_segment
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence
from tests.api.conftest import MakePassword, basic
from tests.api.pages import CONTACTS, browser_of, hidden_fields_of
from tests.api.snapshots import without_snapshots
from tests.api.test_admin import add_password

Entries = list[dict[str, Any]]
ADDRESS = {"address": "127.0.0.1"}


@pytest.fixture
def limit() -> audit.RefusalLimit:
    """The limit of refusals, at the beginning of a minute."""
    audit.refusal_limit.reset()
    return audit.refusal_limit


@pytest.fixture
def entries(limit: audit.RefusalLimit, caplog: pytest.LogCaptureFixture) -> Callable[[], Entries]:
    """Return the entries of the test so far."""

    def read() -> Entries:
        records = [each for each in caplog.records if each.name == "tallybook.audit"]
        assert all(each.levelno == logging.INFO for each in records)
        return [json.loads(each.getMessage()) for each in records]

    return read


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write entries at once, because the transaction around a test is never committed."""
    monkeypatch.setattr("config.audit.transaction.on_commit", lambda write, **_: write())


def test_a_wrong_application_password_is_written_with_its_prefix_alone(
    admin: User, anonymous: APIClient, entries: Callable[[], Entries]
) -> None:
    secret = "abcdefghSecretSecret1234"
    anonymous.credentials(HTTP_AUTHORIZATION=basic("admin", secret))
    anonymous.get("/subscribers?get_by_email=ada@example.com")
    refused = {"action": "refused", "status": 401, "credential": "abcdefgh"}
    assert entries() == [refused | {"request": "GET /subscribers"} | ADDRESS]


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_AUTHORIZATION": basic("ada", "my own password")},
        {"HTTP_AUTHORIZATION": "Bearer my-own-password"},
        {"HTTP_AUTHORIZATION": "Digest my-own-password"},
        {"HTTP_API_TOKEN": "my-own-password"},
    ],
)
def test_nothing_of_another_secret_is_written(
    anonymous: APIClient, entries: Callable[[], Entries], headers: dict[str, str]
) -> None:
    anonymous.credentials(**headers)
    path = "/api/3/eventTracking" if "HTTP_API_TOKEN" in headers else "/subscribers"
    assert anonymous.get(path).status_code == 401
    [entry] = entries()
    assert (entry["status"], entry["credential"]) == (401, None)
    assert "own" not in json.dumps(entry)


def test_a_request_without_a_credential_is_not_written(
    anonymous: APIClient, entries: Callable[[], Entries]
) -> None:
    anonymous.get("/subscribers")
    assert entries() == []


def test_a_credential_that_permits_less_is_written(
    admin: User, make_password: MakePassword, entries: Callable[[], Entries]
) -> None:
    secret = make_password(admin, "track")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    client.delete("/subscribers/7")
    [entry] = entries()
    assert (entry["status"], entry["credential"]) == (403, secret[:8])
    assert entry["request"] == "DELETE /subscribers/7"


def test_a_wrong_tracking_key_is_written(
    anonymous: APIClient, entries: Callable[[], Entries]
) -> None:
    form = {"actid": tracking_key().actid, "key": "wrong", "event": "k"}
    anonymous.post("/event", form, format="multipart")
    [entry] = entries()
    assert (entry["action"], entry["status"], entry["request"]) == ("refused", 401, "POST /event")


@pytest.mark.parametrize("text", ["\x0b", "\x1b[31m", "\x85", "\u2028", "\u202e"])
def test_no_text_fakes_a_line(
    anonymous: APIClient,
    caplog: pytest.LogCaptureFixture,
    entries: Callable[[], Entries],
    text: str,
) -> None:
    anonymous.credentials(HTTP_API_TOKEN="x")
    anonymous.delete(f"/api/3/eventTrackingEvents/{text}fake")
    assert entries()[0]["request"].endswith(f"{text}fake")
    assert all(record.getMessage().isascii() for record in caplog.records)
    assert all(record.getMessage().isprintable() for record in caplog.records)


def refuse(client: APIClient, times: int) -> None:
    client.credentials(HTTP_AUTHORIZATION="Bearer x")
    for number in range(times):
        # From many addresses, because one is limited before.
        client.get("/subscribers", REMOTE_ADDR=f"192.0.2.{number}")


def test_refusals_are_limited_and_the_next_minute_tells_how_many_were_left_out(
    anonymous: APIClient, entries: Callable[[], Entries], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(anonymous, audit.MAX_REFUSALS + 3)
    assert len(entries()) == audit.MAX_REFUSALS
    monkeypatch.setattr("config.audit.REFUSAL_SECONDS", 0)
    audit.refusal_limit._ends_at = 0
    refuse(anonymous, 1)
    assert entries()[-2] == {"action": "refused", "omitted": 3}
    assert len(entries()) == audit.MAX_REFUSALS + 2


@pytest.fixture
def by_admin(api: APIClient) -> dict[str, Any]:
    """The fields of an entry about a request of `api`."""
    return {"by": "admin", "application_password": ApplicationPassword.objects.get().pk, **ADDRESS}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("delete", "/subscribers/{}", {}),
        ("delete", "/subscribers", {"subscribers": ["{}"]}),
        (
            "post",
            "/subscribers/do-bulk-action",
            {"action_name": "delete_contacts", "subscriber_ids": ["{}"]},
        ),
    ],
)
def test_deletions_of_contacts_by_the_api_are_written(
    api: APIClient,
    by_admin: dict[str, Any],
    ada: Subscriber,
    entries: Callable[[], Entries],
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    filled = json.loads(json.dumps(body).replace("{}", str(ada.id)))
    assert getattr(api, method)(path.format(ada.id), filled).status_code == 200
    deleted = {"action": "deleted", "what": "contact", "number": 1, "ids": [ada.id]}
    assert entries() == [deleted | by_admin]


def test_an_occurrence_that_is_taken_back_by_the_api_is_written(
    api: APIClient, by_admin: dict[str, Any], ada: Subscriber, entries: Callable[[], Entries]
) -> None:
    event = {"event_key": "k", "title": "t", "email": ada.email, "idempotency_key": "a"}
    api.post("/subscribers/track-event", event)
    pk = EventOccurrence.objects.get().pk
    api.post("/subscribers/take-back-event", {"idempotency_key": "a"})
    taken_back = {"action": "taken back", "what": "occurrence", "number": 1, "ids": [pk]}
    assert entries() == [taken_back | by_admin]


def test_a_deletion_of_no_contact_is_not_written(
    api: APIClient, entries: Callable[[], Entries]
) -> None:
    api.delete("/subscribers/7")
    assert entries() == []


@pytest.mark.parametrize(
    ("what", "path", "create"),
    [
        ("tag", "/tags/{}", lambda: create_label("tags", {"title": "T"})),
        ("list", "/lists/{}", lambda: create_label("lists", {"title": "T"})),
        (
            "segment",
            "/segments/{}",
            lambda: create_segment({"title": "T", "slug": "t", "filters": []}),
        ),
    ],
)
def test_other_deletions_by_the_api_are_written(
    api: APIClient,
    by_admin: dict[str, Any],
    entries: Callable[[], Entries],
    what: str,
    path: str,
    create: Callable[[], Any],
) -> None:
    row = create()
    api.delete(path.format(row.pk))
    assert entries() == [
        {"action": "deleted", "what": what, "number": 1, "ids": [row.pk]} | by_admin
    ]


def test_a_deleted_event_name_is_written(
    api: APIClient, by_admin: dict[str, Any], entries: Callable[[], Entries]
) -> None:
    EventName.objects.create(name="k", first_seen_at="2026-01-01T00:00Z")
    secret = create_application_password(User.objects.get(), "x", "manage")[1]
    api.credentials(HTTP_API_TOKEN=secret)
    api.delete("/api/3/eventTrackingEvents/k")
    [entry] = entries()
    assert (entry["action"], entry["what"], entry["name"]) == ("deleted", "event name", "k")


def test_a_deletion_in_the_admin_is_written(
    admin_client: Client, ada: Subscriber, entries: Callable[[], Entries]
) -> None:
    form = {"action": "delete_selected", "_selected_action": str(ada.id)}
    digest = hidden_fields_of(admin_client.post(CONTACTS, form).content.decode())["digest"][0]
    admin_client.post(CONTACTS, {**form, "post": "yes", "digest": digest})
    deleted = {"action": "deleted", "what": "contact", "number": 1, "ids": [ada.id]}
    assert entries() == [deleted | {"by": "admin"} | ADDRESS]


@pytest.mark.parametrize("action", ["export_csv", "export_ndjson"])
def test_an_export_in_the_admin_is_written(
    admin_client: Client, ada: Subscriber, entries: Callable[[], Entries], action: str
) -> None:
    form = {"action": action, "_selected_action": str(ada.id)}
    with without_snapshots():
        admin_client.post(CONTACTS, form).getvalue()
    exported = {"action": "exported", "what": "contact", "number": 1, "ids": [ada.id]}
    assert entries() == [exported | {"by": "admin"} | ADDRESS]


@pytest.mark.parametrize(
    ("method", "page", "action"), [("get", "export", "exported"), ("post", "erase", "erased")]
)
def test_the_export_and_the_erasure_of_a_contact_are_written(
    admin_client: Client,
    ada: Subscriber,
    entries: Callable[[], Entries],
    method: str,
    page: str,
    action: str,
) -> None:
    with without_snapshots():
        getattr(admin_client, method)(f"{CONTACTS}{ada.id}/{page}/").getvalue()
    assert entries()[0] == {
        "action": action,
        "what": "contact",
        "number": 1,
        "ids": [ada.id],
        "by": "admin",
        **ADDRESS,
    }
    assert "ada@example.com" not in json.dumps(entries())


def test_a_change_of_a_users_rights_is_written(
    admin_client: Client, entries: Callable[[], Entries]
) -> None:
    user = User.objects.create_user("grace")
    group = Group.objects.get(name="viewer")
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    form = {"username": "grace", "is_active": "on", "groups": str(group.pk), **joined}
    admin_client.post(f"/admin/auth/user/{user.pk}/change/", form)
    assert entries() == [
        {
            "action": "changed",
            "what": "user",
            "name": "grace",
            "is_active": True,
            "is_staff": False,
            "is_superuser": False,
            "groups": ["viewer"],
            "permissions": [],
            "by": "admin",
            **ADDRESS,
        }
    ]


def test_a_change_of_a_groups_permissions_is_written(
    admin_client: Client, entries: Callable[[], Entries]
) -> None:
    admin_client.post("/admin/auth/group/add/", {"name": "clerks"})
    [entry] = entries()
    assert entry == {
        "action": "added",
        "what": "group",
        "name": "clerks",
        "permissions": [],
        "by": "admin",
        **ADDRESS,
    }


def test_a_new_application_password_is_written_without_its_secret(
    admin_client: Client, entries: Callable[[], Entries]
) -> None:
    user = User.objects.get(username="admin")
    add_password(admin_client, user)
    password = ApplicationPassword.objects.get()
    assert entries() == [
        {
            "action": "added",
            "what": "application password",
            "id": password.pk,
            "user": "admin",
            "scope": "track",
            "credential": password.prefix,
            "by": "admin",
            **ADDRESS,
        }
    ]


def test_a_revoked_application_password_is_written(
    admin_client: Client, entries: Callable[[], Entries]
) -> None:
    password, _ = create_application_password(User.objects.get(), "x", "read")
    form = {"action": "revoke_selected", "_selected_action": str(password.pk)}
    admin_client.post("/admin/crm/applicationpassword/", form)
    [entry] = entries()
    assert (entry["action"], entry["what"]) == ("revoked", "application password")
    assert entry["ids"] == [password.pk]


def test_a_new_tracking_key_is_written_without_the_key(
    admin_client: Client, entries: Callable[[], Entries]
) -> None:
    form = {"action": "rotate_key", "_selected_action": str(tracking_key().pk)}
    admin_client.post("/admin/events/trackingkey/", form)
    assert entries() == [{"action": "changed", "what": "tracking key", "by": "admin", **ADDRESS}]


BULK_CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("change_contact_status", {"new_status": "unsubscribed"}, {"what": "status of contacts"}),
    ("change_contact_type", {"new_status": "customer"}, {"what": "contact_type of contacts"}),
    (
        "update_custom_fields",
        {"custom_field": {"key": "size", "value": "M"}},
        {"what": "custom_values of contacts"},
    ),
    ("add_to_tags", {"action_options": [1]}, {"what": "tags of contacts"}),
]


@pytest.mark.parametrize(("action", "options", "what"), BULK_CHANGES)
def test_a_change_of_several_contacts_is_written_with_the_number_of_those_that_changed(
    api: APIClient,
    ada: Subscriber,
    entries: Callable[[], Entries],
    action: str,
    options: dict[str, Any],
    what: dict[str, Any],
) -> None:
    Tag.objects.create(pk=1, title="VIP", slug="vip")
    other = create({"email": "bob@example.com", "status": "unsubscribed"})
    other.tags.add(1)
    Subscriber.objects.filter(pk=other.pk).update(
        contact_type="customer", custom_values={"size": "M"}
    )
    body = {"action_name": action, "subscriber_ids": [ada.pk, other.pk], **options}
    assert api.post("/subscribers/do-bulk-action", body, format="json").status_code == 200
    [entry] = entries()
    job = Job.objects.get()
    assert (job.created_by and job.created_by.username, job.done) == ("admin", 1)
    password = {"by": "admin", "application_password": ApplicationPassword.objects.get().pk}
    assert entry == {"action": "changed", **what, "number": 1, "job": job.pk, **password, **ADDRESS}


def test_an_action_of_the_admin_on_several_contacts_is_written(
    api: APIClient, ada: Subscriber, admin: User, entries: Callable[[], Entries]
) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    form = {"action": "add_tags", "_selected_action": ada.pk, "chosen": "yes", "labels": tag.pk}
    browser_of(admin).post(CONTACTS, form)
    changed = [entry for entry in entries() if entry["action"] == "changed"]
    assert [(each["what"], each["number"], each["by"]) for each in changed] == [
        ("tags of contacts", 1, "admin")
    ]


def test_a_batch_is_written_with_the_numbers_of_created_and_changed_contacts(
    api: APIClient, ada: Subscriber, entries: Callable[[], Entries]
) -> None:
    create({"email": "bob@example.com"})
    contacts = [
        *({"email": f"{number}@example.com"} for number in range(3)),
        {"email": ada.email, "city": "Rome"},
        *({"email": "bob@example.com"}, {"email": "nobody"}),
    ]
    api.post("/subscribers/bulk-add-update", {"contacts": contacts}, format="json")
    [entry] = entries()
    assert (entry["what"], entry["created"], entry["changed"]) == ("contacts of a batch", 3, 1)


def test_a_batch_that_changes_nothing_is_not_written(
    api: APIClient, ada: Subscriber, entries: Callable[[], Entries]
) -> None:
    api.post("/subscribers/bulk-add-update", {"contacts": [{"email": ada.email}]}, format="json")
    assert entries() == []


def test_a_batch_that_the_database_stops_is_written_as_far_as_it_is_stored(
    api: APIClient, entries: Callable[[], Entries], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError

    # The second contact of an e-mail is not written together with the first.
    writes: Iterator[Callable[..., Any]] = iter([write_together, write_together, fail])
    monkeypatch.setattr("crm.api.batches.write_together", lambda *each: next(writes)(*each))
    contacts = [{"email": "bob@example.com"}] * 2
    response = api.post("/subscribers/bulk-add-update", {"contacts": contacts}, format="json")
    assert response.status_code == 503
    assert [entry["created"] for entry in entries()] == [1]
