"""The sources of user_ids, which application passwords and imports name."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from crm.contacts import create
from crm.merging import merge_contacts
from crm.models import ApplicationPassword, Identity, Subscriber
from crm.passwords import create_application_password
from crm.segments import create_segment
from events.models import TrackedEvent
from events.personal_data import erase_contact, export_contact
from events.tracking import track
from events.tracking.batches import track_many
from events.tracking.errors import IdempotencyMismatch, SubscriberNotFound
from tests.api.conftest import basic
from tests.api.pages import CONTACTS, open_page
from tests.api.snapshots import without_snapshots
from tests.api.statements import count_statements

BOB = "bob@example.com"
TRACK = "/subscribers/track-event"
BULK = "/subscribers/bulk-add-update"
EVENT = {"event_key": "login", "title": "Login", "user_id": 57}
IS_57 = {"source": ["subscriber", "user_id"], "operator": "=", "value": "57"}
SEGMENT = {"title": "S", "slug": "s", "filters": [[IS_57]]}


def client_of(user: User, source: str) -> APIClient:
    """Return a client whose application password names a source."""
    _, secret = create_application_password(user, source, "manage", user_source=source)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic(user.username, secret))
    return client


@pytest.fixture
def shop(admin: User) -> APIClient:
    """A client whose user_ids have the source "shop"."""
    return client_of(admin, "shop")


@pytest.fixture
def forum(admin: User) -> APIClient:
    """A client whose user_ids have the source "forum"."""
    return client_of(admin, "forum")


@pytest.fixture
def bob(db: None) -> Subscriber:
    """The contact bob@example.com, subscribed, whose user_id without a source is 57."""
    return create({"email": BOB, "status": "subscribed", "user_id": "57"})


def put(client: APIClient, contact: Subscriber, user_id: Any) -> Any:
    return client.put(f"/subscribers/{contact.pk}", {"user_id": user_id})


def shown(client: APIClient, contact: Subscriber) -> Any:
    return client.get(f"/subscribers/{contact.pk}").json()["subscriber"]["user_id"]


def names(contact: Subscriber) -> list[tuple[str, str]]:
    rows = contact.identities.filter(kind="user").order_by("source", "pk")
    return [*rows.values_list("source", "value")]


def total(client: APIClient, path: str = "/subscribers", **query: str) -> int:
    number: int = client.get(path, query).json()["subscribers"]["total"]
    return number


# Who is found


def test_two_programs_that_number_their_users_alike_reach_their_own_contacts(
    api: APIClient, shop: APIClient, forum: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    eve = create({"email": "eve@example.com"})
    assert put(shop, ada, 57).status_code == put(forum, eve, 57).status_code == 200
    for client in (api, shop, forum):
        assert client.post(TRACK, EVENT).status_code == 200
    owners = TrackedEvent.objects.order_by("id").values_list("subscriber_id", flat=True)
    assert [*owners] == [bob.pk, ada.pk, eve.pk]


def test_a_batch_reaches_the_contacts_of_its_source(
    shop: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    put(shop, ada, 57)
    batch = {"events": [EVENT, EVENT | {"user_id": 58}, EVENT | {"user_id": "", "email": BOB}]}
    response = shop.post("/subscribers/track-events", batch).json()
    assert [result.get("status") for result in response["results"]] == [None, 422, None]
    owners = TrackedEvent.objects.order_by("id").values_list("subscriber_id", flat=True)
    assert [*owners] == [ada.pk, bob.pk]


@pytest.mark.parametrize("source", ["shop", ""])
@pytest.mark.parametrize("path", [TRACK, "/subscribers/track-events"])
def test_a_user_id_of_another_source_names_no_contact(
    admin: User, ada: Subscriber, source: str, path: str
) -> None:
    other = "" if source else "shop"
    Identity.objects.create(subscriber=ada, kind="user", source=other, value="57")
    body = EVENT if path == TRACK else {"events": [EVENT]}
    response = client_of(admin, source).post(path, body).json()
    assert response.get("results", [response])[0]["error_code"] == "subscriber_not_found"
    assert not TrackedEvent.objects.exists()


def test_python_programs_name_a_source(ada: Subscriber, bob: Subscriber) -> None:
    Identity.objects.create(subscriber=ada, kind="user", source="shop", value="57")
    assert track(EVENT, user_source="shop").subscriber_id == ada.pk
    assert track(EVENT).subscriber_id == bob.pk
    [outcome] = track_many([EVENT], user_source="forum")
    assert isinstance(outcome, SubscriberNotFound)


@pytest.mark.parametrize("many", [False, True])
def test_a_key_is_not_repeated_for_the_same_id_of_another_source(
    ada: Subscriber, bob: Subscriber, many: bool
) -> None:
    Identity.objects.create(subscriber=ada, kind="user", source="shop", value="57")
    keyed = EVENT | {"idempotency_key": "a"}
    track(keyed, user_source="shop")
    if many:
        [outcome] = track_many([keyed])
        assert isinstance(outcome, IdempotencyMismatch)
    else:
        with pytest.raises(IdempotencyMismatch):
            track(keyed)


@pytest.mark.parametrize("path", [TRACK, "/subscribers/track-events"])
def test_a_retry_of_a_program_with_a_source_counts_once(
    shop: APIClient, ada: Subscriber, path: str
) -> None:
    put(shop, ada, 57)
    keyed = EVENT | {"idempotency_key": "a"}
    body = keyed if path == TRACK else {"events": [keyed]}
    assert shop.post(path, body).json() == shop.post(path, body).json()
    assert TrackedEvent.objects.get().counter == 1


# What is shown and written


def test_each_program_is_shown_its_own_user_id(
    api: APIClient, shop: APIClient, bob: Subscriber
) -> None:
    put(shop, bob, "s1")
    label = {"type": "tags", "attach": [], "subscribers": [bob.pk]}
    create_segment({"title": "S", "slug": "s", "filters": []})

    def ids(client: APIClient) -> list[Any]:
        segment = client.get("/segments").json()["segments"]["data"][0]["id"]
        by_email = client.get("/subscribers/0", {"get_by_email": BOB}).json()["subscriber"]
        forced = {"email": BOB, "status": "subscribed", "__force_update": "yes"}
        return [
            shown(client, bob),
            by_email["user_id"],
            client.get("/subscribers").json()["subscribers"]["data"][0]["user_id"],
            client.get("/subscribers", {"search": "bob"}).json()["subscribers"]["data"][0][
                "user_id"
            ],
            client.get(f"/segments/{segment}/subscribers").json()["subscribers"]["data"][0][
                "user_id"
            ],
            client.put(f"/subscribers/{bob.pk}", {"city": "Rome"}).json()["contact"]["user_id"],
            client.post("/subscribers", forced).json()["contact"]["user_id"],
            client.post("/subscribers/sync-segments", label).json()["subscribers"][0]["user_id"],
        ]

    assert ids(shop) == ["s1"] * 8
    assert ids(api) == ["57"] * 8


def test_a_contact_that_a_program_creates_gets_the_id_of_its_source(shop: APIClient) -> None:
    sent = {"email": BOB, "status": "subscribed", "user_id": 57}
    assert shop.post("/subscribers", sent).json()["contact"]["user_id"] == "57"
    assert names(Subscriber.objects.get()) == [("shop", "57")]


def test_a_program_replaces_and_removes_only_its_own_id(
    shop: APIClient, forum: APIClient, bob: Subscriber
) -> None:
    for client in (shop, forum):
        put(client, bob, 57)
    assert names(bob) == [("", "57"), ("forum", "57"), ("shop", "57")]
    assert put(shop, bob, 58).json()["contact"]["user_id"] == "58"
    assert names(bob) == [("", "57"), ("forum", "57"), ("shop", "58")]
    assert put(shop, bob, None).json()["contact"]["user_id"] is None
    assert names(bob) == [("", "57"), ("forum", "57")]


def test_an_id_is_taken_in_its_own_source_alone(
    shop: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    assert put(shop, ada, 57).status_code == 200
    response = put(shop, bob, 57)
    assert (response.status_code, [*response.json()["user_id"]]) == (422, ["unique"])
    post = shop.post("/subscribers", {"email": "e@example.com", "status": "", "user_id": "57"})
    assert (post.status_code, Subscriber.objects.count()) == (422, 2)


def test_a_bulk_call_writes_the_ids_of_its_source(
    shop: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    rows: list[dict[str, Any]] = [
        {"email": ada.email, "user_id": 57},
        {"email": BOB, "user_id": 58},
        {"email": "eve@example.com", "user_id": 59},
        # Another contact of the source has it.
        {"email": "cy@example.com", "user_id": 57},
        {"email": BOB, "user_id": 57, "city": "Rome"},
    ]
    response = shop.post(BULK, {"contacts": rows}).json()
    assert [error["index"] for error in response["errors"]] == [3]
    assert [row["warnings"][0]["rule"] for row in response["updated"] if "warnings" in row] == [
        "unique"
    ]
    eve = Subscriber.objects.get(email="eve@example.com")
    assert [names(each) for each in (ada, bob, eve)] == [
        [("shop", "57")],
        [("", "57"), ("shop", "58")],
        [("shop", "59")],
    ]


def test_ids_that_another_source_has_are_written_together(shop: APIClient, bob: Subscriber) -> None:
    rows = [{"email": f"c{number}@example.com", "user_id": number} for number in (56, 57, 58)]

    def post() -> None:
        assert len(shop.post(BULK, {"contacts": rows}).json()["created"]) == 3

    assert count_statements(post, containing="INSERT INTO crm_subscriber (") == 1


def test_an_event_that_made_a_contact_leaves_its_user_id_to_the_source(shop: APIClient) -> None:
    track({**EVENT, "user_id": "", "email": BOB}, new_contacts="pending")
    sent = {"email": BOB, "status": "subscribed", "user_id": 57}
    assert shop.post("/subscribers", sent).json()["contact"]["user_id"] == "57"
    assert names(Subscriber.objects.get()) == [("shop", "57")]


# Filters


def test_a_filter_is_about_the_user_ids_of_its_program(
    api: APIClient, shop: APIClient, forum: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    put(shop, ada, 58)
    no_57 = {**IS_57, "operator": "!="}

    def found(client: APIClient, condition: dict[str, Any]) -> list[str]:
        query = {"filter_type": "advanced", "advanced_filters": json.dumps([[condition]])}
        rows = client.get("/subscribers", query).json()["subscribers"]["data"]
        return sorted(row["email"] for row in rows)

    assert [found(client, IS_57) for client in (api, shop)] == [[BOB], []]
    assert [found(client, {**IS_57, "value": "58"}) for client in (api, shop, forum)] == [
        [],
        [ada.email],
        [],
    ]
    assert found(api, no_57) == [ada.email]
    put(shop, bob, 57)
    assert found(shop, no_57) == [ada.email]


def test_a_segment_means_the_same_for_every_program(
    api: APIClient, shop: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    put(shop, ada, 57)
    segment = create_segment(SEGMENT)
    for client in (api, shop):
        assert total(client, segment="s") == total(client, f"/segments/{segment.pk}/subscribers")
        rows = client.get("/subscribers", {"segment": "s"}).json()["subscribers"]["data"]
        assert [row["email"] for row in rows] == [BOB]


@pytest.mark.parametrize("method", ["post", "put"])
def test_a_segment_about_the_user_ids_of_a_source_is_rejected(
    shop: APIClient, bob: Subscriber, method: str
) -> None:
    segment = create_segment({**SEGMENT, "slug": "t", "filters": []})
    path = "/segments" if method == "post" else f"/segments/{segment.pk}"
    response = getattr(shop, method)(path, SEGMENT)
    assert (response.status_code, response.json()["filters.0.0.source"].keys()) == (
        422,
        {"user_source"},
    )
    segment.refresh_from_db()
    assert segment.filters == []


# Imports


@pytest.mark.parametrize("source", ["shop", " Shop "])
def test_an_import_and_a_password_with_the_same_source_share_ids(
    shop: APIClient, bob: Subscriber, tmp_path: Path, source: str
) -> None:
    contacts, events = tmp_path / "contacts.csv", tmp_path / "events.csv"
    contacts.write_text(f"email,user_id\n{BOB},7\n")
    events.write_text("user_id,event_key,title,occurred_at\n8,order,Order,2026-01-01 10:00:00\n")
    call_command("import_contacts", str(contacts), f"--source={source}", stdout=StringIO())
    assert shown(shop, bob) == "7"
    put(shop, bob, 8)
    call_command("import_events", str(events), f"--source={source}", stdout=StringIO())
    assert TrackedEvent.objects.get().subscriber_id == bob.pk


@pytest.mark.parametrize("source", ["", "shop"])
def test_an_own_export_adds_no_second_user_id_of_a_source(
    bob: Subscriber, tmp_path: Path, source: str
) -> None:
    Identity.objects.update(source=source)
    identity = {"kind": "user", "source": source, "value": "58"}
    row = {"type": "contact", "email": BOB, "identities": [identity]}
    path = tmp_path / "contacts.ndjson"
    path.write_text(json.dumps(row))
    call_command("import_contacts", str(path), stdout=StringIO())
    assert names(bob) == [(source, "57")]


# Merged, exported and erased contacts


def test_the_ids_of_a_merged_contact_find_the_survivor_in_each_source(
    shop: APIClient, forum: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    put(shop, ada, 1)
    put(shop, bob, 2)
    put(forum, bob, 1)
    merge_contacts(ada.pk, ("contact", str(bob.pk)))
    for client, user_id in ((shop, 1), (shop, 2), (forum, 1)):
        assert client.post(TRACK, EVENT | {"user_id": user_id}).status_code == 200
    assert TrackedEvent.objects.get().counter == 3
    assert [shown(client, ada) for client in (shop, forum)] == ["1", "1"]
    put(shop, ada, 3)
    assert names(ada) == [("", "57"), ("forum", "1"), ("shop", "3"), ("shop", "2")]


def test_personal_data_has_the_ids_of_all_sources_and_an_erasure_deletes_them(
    shop: APIClient, bob: Subscriber
) -> None:
    put(shop, bob, "s1")
    pieces: list[str] = []
    with without_snapshots():
        export_contact(bob.pk, pieces.append)
    identities = json.loads("".join(pieces))["identities"]
    assert [(each["source"], each["value"]) for each in identities] == [("", "57"), ("shop", "s1")]
    erase_contact(bob.pk, by="eve")
    assert not Identity.objects.exists()


def test_the_admin_shows_the_ids_of_all_sources(
    admin_user: User, admin_client: Client, bob: Subscriber
) -> None:
    put(client_of(admin_user, "shop"), bob, "s1")
    assert "57, shop: s1" in open_page(admin_client, f"{CONTACTS}{bob.pk}/change/")


# Names


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("", ""),
        (" \u3000", ""),
        (" Shop.Example:8443 ", "shop.example:8443"),
        ("s" * 192, "s" * 192),
    ],
)
def test_a_source_is_stored_in_small_letters(admin: User, sent: str, stored: str) -> None:
    password, _ = create_application_password(admin, "shop", "track", user_source=sent)
    password.refresh_from_db()
    assert password.user_source == stored


# A Cyrillic letter, the sign of Kelvin, a full-width one, one that is invisible, and others.
INVALID = ["\u0455hop", "\u212a", "\uff53hop", "sh\u200bop", "a\0b", "my shop", ".", "s" * 193]


@pytest.mark.parametrize("name", INVALID)
def test_a_name_that_may_be_confused_is_rejected(admin: User, name: str) -> None:
    with pytest.raises(ValidationError, match="letters from a to z"):
        create_application_password(admin, "shop", "track", user_source=name)
    assert not ApplicationPassword.objects.exists()


def test_a_command_creates_a_password_with_a_source(admin: User, bob: Subscriber) -> None:
    out = StringIO()
    arguments = ("--name=shop", "--scope=manage", "--source=Shop")
    call_command("create_application_password", "admin", *arguments, stdout=out)
    secret = out.getvalue().splitlines()[-1]
    client = APIClient(headers={"Authorization": f"Bearer {secret}"})
    put(client, bob, 58)
    assert names(bob) == [("", "57"), ("shop", "58")]


@pytest.mark.parametrize(
    "command",
    [
        ("create_application_password", "admin", "--name=s", "--scope=track"),
        ("import_contacts", "x.csv"),
        ("import_fluentcrm", "https://shop.example", "--user=admin"),
    ],
)
def test_a_command_rejects_an_invalid_source(admin: User, command: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="letters from a to z"):
        call_command(*command, "--source=my shop")


@pytest.mark.parametrize(("source", "stored"), [("Shop", ["shop"]), ("my shop", [])])
def test_the_admin_creates_a_password_with_a_valid_source(
    admin_user: User, admin_client: Client, source: str, stored: list[str]
) -> None:
    form = {"user": admin_user.pk, "name": "shop", "scope": "track", "user_source": source}
    response = admin_client.post("/admin/crm/applicationpassword/add/", form)
    assert response.status_code == (302 if stored else 200)
    assert [*ApplicationPassword.objects.values_list("user_source", flat=True)] == stored
