"""The e-mail and the id of a merged contact, which find its survivor at every door."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.test import APIClient

from crm.attachments import attach
from crm.contacts import create, delete_contacts
from crm.custom_fields import add_field
from crm.emails import email_sha256
from crm.merging import merge_contacts
from crm.models import CustomField, Erasure, Identity, Segment, Subscriber, Tag
from crm.notes import add_note
from crm.segments import create_segment
from crm.webhooks import WebhookFields, create_webhook
from events.activecampaign.credentials import tracking_key
from events.models import EventOccurrence, TrackedEvent
from events.personal_data import erase_contact, export_contact
from events.tracking import track
from tests.api.snapshots import without_snapshots

BOB = "Bob@Bücher.example"
SPELLINGS = ("bob@xn--bcher-kva.example", BOB.upper())
EVENT = {"event_key": "k", "title": "t"}
TRACK, MANY = "/subscribers/track-event", "/subscribers/track-events"


@pytest.fixture
def bob_id(ada: Subscriber) -> int:
    """The id of the contact BOB, who was merged into Ada."""
    bob = create({"email": BOB, "user_id": "57", "status": "subscribed"})
    merge_contacts(ada.pk, ("contact", str(bob.pk)))
    return bob.pk


def counter() -> int:
    """Return the counter of the only event, which is Ada's."""
    event = TrackedEvent.objects.get()
    assert event.subscriber.email == "ada@example.com"
    return event.counter


def only_contact() -> Subscriber:
    """Return the only contact, who is Ada still."""
    contact = Subscriber.objects.get()
    assert contact.email == "ada@example.com"
    return contact


@pytest.mark.parametrize("name", ["email", "subscriber_id", "user_id"])
def test_events_of_each_name_count_on_the_survivor(api: APIClient, bob_id: int, name: str) -> None:
    named = {**EVENT, name: {"email": BOB, "subscriber_id": bob_id, "user_id": 57}[name]}
    assert api.post(TRACK, named).status_code == 200
    keyed = api.post(TRACK, {**named, "idempotency_key": "a"})
    assert api.post(TRACK, {**named, "idempotency_key": "a"}).content == keyed.content
    for atomic in ("0", "1"):
        body = {"events": [named, {**EVENT, "email": "ada@example.com"}, named]}
        results = api.post(f"{MANY}?atomic={atomic}", body).json()["results"]
        last = counter()
        assert [int(result["counter"]) for result in results] == [last - 2, last - 1, last]
    assert track(named).counter == counter() == 9


def test_an_event_of_activecampaign_counts_on_the_survivor(
    anonymous: APIClient, bob_id: int
) -> None:
    key = tracking_key()
    call = {"actid": key.actid, "key": key.key, "event": "k", "visit": json.dumps({"email": BOB})}
    response = anonymous.post("/event", call, format="multipart")
    assert response.json()["success"] == 1
    assert counter() == 1


def test_an_event_that_names_no_contact_counts_on_the_survivor_of_the_callers_contact(
    api: APIClient, admin: User, ada: Subscriber
) -> None:
    own = create({"email": admin.email})
    merge_contacts(ada.pk, ("contact", str(own.pk)))
    assert api.post(TRACK, EVENT).status_code == 200
    assert api.post(MANY, {"events": [EVENT]}).json()["tracked"] == 1
    assert counter() == 2


def test_an_event_of_an_alias_makes_no_contact(api: APIClient, bob_id: int) -> None:
    assert track({**EVENT, "email": BOB}, new_contacts="pending").subscriber.email.startswith("ada")
    assert only_contact().status == "subscribed"


@pytest.mark.parametrize("email", [BOB, *SPELLINGS])
def test_writes_of_an_alias_change_the_survivor_and_keep_its_email(
    api: APIClient, ada: Subscriber, bob_id: int, email: str
) -> None:
    sent = {"email": email, "status": "subscribed"}
    rejected = api.post("/subscribers", sent)
    assert (rejected.status_code, list(rejected.json()["email"])) == (422, ["unique"])
    response = api.post("/subscribers", {**sent, "city": "Rome", "__force_update": "yes"})
    assert (response.json()["action_type"], response.json()["contact"]["id"]) == ("updated", ada.pk)
    batch = [
        {"email": "ada@example.com", "prefix": "Dr"},
        {"email": email, "phone": "1", "tags": ["vip"]},
        {"email": "new@example.com"},
    ]
    body = api.post("/subscribers/bulk-add-update", {"contacts": batch}).json()
    assert [row["id"] for row in body["updated"]] == [ada.pk, ada.pk]
    assert [row["email"] for row in body["created"]] == ["new@example.com"]
    contact = Subscriber.objects.get(pk=ada.pk)
    assert (contact.email, contact.city, contact.phone, contact.prefix) == (
        *("ada@example.com", "Rome"),
        *("1", "Dr"),
    )
    assert [tag.title for tag in contact.tags.all()] == ["vip"]


def test_a_post_to_a_webhook_changes_the_survivor(
    anonymous: APIClient, admin: User, ada: Subscriber, bob_id: int
) -> None:
    webhook = create_webhook(admin, WebhookFields("Form", "subscribed", {"tags": [], "lists": []}))
    url = webhook.path.replace("/?", "/fluentcrm?")
    body = anonymous.post(url, {"email": BOB, "city": "Rome"}).json()
    assert (body["data"]["message"], body["data"]["id"]) == ("updated", ada.pk)
    assert only_contact().city == "Rome"


def test_activecampaigns_calls_find_the_survivor(
    token: APIClient, ada: Subscriber, bob_id: int
) -> None:
    synced = token.post("/api/3/contact/sync", {"contact": {"email": BOB, "phone": "1"}})
    assert (synced.status_code, synced.json()["contact"]["id"]) == (200, str(ada.pk))
    created = token.post("/api/3/contacts", {"contact": {"email": BOB}})
    assert created.json()["errors"][0]["code"] == "duplicate"
    for query in (
        {"email": BOB},
        {"filters[email]": BOB},
        {"ids": bob_id},
        {"search": SPELLINGS[0]},
    ):
        found = token.get("/api/3/contacts", query).json()["contacts"]
        assert [contact["id"] for contact in found] == [str(ada.pk)], query
    field = CustomField(label="Plan", slug="plan")
    add_field(field)
    tag = Tag.objects.create(title="vip", slug="vip")
    attached = {"contactTag": {"contact": bob_id, "tag": tag.pk}}
    assert token.post("/api/3/contactTags", attached).json()["contactTag"]["contact"] == str(ada.pk)
    value = {"fieldValue": {"contact": bob_id, "field": field.pk, "value": "Pro"}}
    assert token.post("/api/3/fieldValues", value).json()["fieldValue"]["contact"] == str(ada.pk)
    value_id = f"{bob_id}{field.pk:09}"
    assert token.get(f"/api/3/fieldValues/{value_id}").json()["fieldValue"]["value"] == "Pro"
    track({**EVENT, "email": BOB})
    for path in (f"/api/3/contacts/{bob_id}/trackingLogs", f"/api/3/activities?contact={bob_id}"):
        assert [log["contact"] for log in token.get(path).json()["trackingLogs"]] == [str(ada.pk)]
    assert token.get(f"/api/3/contacts/{bob_id}").json()["contact"]["id"] == str(ada.pk)
    changed = token.put(f"/api/3/contacts/{bob_id}", {"contact": {"phone": "2"}})
    assert (changed.status_code, only_contact().phone) == (200, "2")


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ("contact_view", {"id": 0}),
        ("contact_view_email", {"email": BOB}),
        ("contact_edit", {"id": 0, "phone": "1"}),
        ("contact_tag_add", {"id": 0, "tags": "vip"}),
        ("contact_tag_add", {"email": BOB, "tags": "vip"}),
    ],
)
def test_actions_of_activecampaigns_old_door_find_the_survivor(
    admin: User, make_password: Any, bob_id: int, action: str, named: dict[str, Any]
) -> None:
    fields = {name: bob_id if name == "id" else value for name, value in named.items()}
    query = {"api_key": make_password(admin), "api_action": action, "api_output": "json"}
    response = APIClient().post(
        f"/activecampaign?{'&'.join(f'{k}={v}' for k, v in query.items())}",
        fields,
        format="multipart",
    )
    assert response.json()["result_code"] == 1, response.content


READS: list[tuple[str, Callable[[Any], Any]]] = [
    ("", lambda body: body["subscriber"]["email"]),
    ("/segments", lambda body: [segment["slug"] for segment in body["segments"]]),
    ("/notes", lambda body: [note["title"] for note in body["notes"]["data"]]),
    ("/tracking-events", lambda body: [event["counter"] for event in body["events"]["data"]]),
    ("/timeline", lambda body: [entry["event_key"] for entry in body["timeline"]["data"]]),
]


@pytest.mark.parametrize(("path", "shown"), READS)
def test_paths_with_the_id_show_the_survivor(
    api: APIClient, admin: User, ada: Subscriber, bob_id: int, path: str, shown: Any
) -> None:
    create_segment({"title": "All", "slug": "all", "filters": []})
    add_note(bob_id, {"title": "Call", "description": "", "type": "call"}, admin.pk)
    track({**EVENT, "subscriber_id": bob_id})
    response = api.get(f"/subscribers/{bob_id}{path}")
    assert response.status_code == 200
    assert shown(response.json()) == shown(api.get(f"/subscribers/{ada.pk}{path}").json()) != []


def test_a_page_beyond_the_id_is_404_where_the_survivor_has_none(
    api: APIClient, bob_id: int
) -> None:
    response = api.delete(f"/subscribers/{bob_id}/notes/1")
    assert (response.status_code, response.json()) == (404, {"message": "Note not found"})


def test_writes_of_the_id_change_the_survivor(api: APIClient, ada: Subscriber, bob_id: int) -> None:
    assert api.put(f"/subscribers/{bob_id}", {"city": "Rome"}).json()["contact"]["id"] == ada.pk
    note = {"note": {"title": "Call", "description": "Tea", "type": "call"}}
    note_id = api.post(f"/subscribers/{bob_id}/notes", note).json()["note"]["id"]
    assert api.delete(f"/subscribers/{bob_id}/notes/{note_id}").status_code == 200
    status = {"property": "status", "value": "unsubscribed", "subscribers": [bob_id]}
    assert api.put("/subscribers/subscribers-property", status).status_code == 200
    labels = {"type": "tags", "attach": ["vip"], "subscribers": [bob_id], "find_by": "title"}
    Tag.objects.create(title="vip", slug="vip")
    assert api.post("/subscribers/sync-segments", labels).json()["subscribers"][0]["id"] == ada.pk
    action = {"action_name": "change_contact_type", "new_status": "customer"}
    api.post("/subscribers/do-bulk-action", {**action, "subscriber_ids": [bob_id]})
    contact = only_contact()
    assert (contact.city, contact.status, contact.contact_type) == (
        *("Rome", "unsubscribed"),
        "customer",
    )
    assert contact.tags.count() == 1


@pytest.mark.parametrize("body", [None, {"subscribers": True}])
def test_deleting_the_id_deletes_the_survivor_and_frees_its_aliases(
    api: APIClient, bob_id: int, body: Any
) -> None:
    path = "/subscribers" if body else f"/subscribers/{bob_id}"
    assert api.delete(path, body and {"subscribers": [bob_id]}).status_code == 200
    assert not Subscriber.objects.exists()
    assert not Identity.objects.exists()
    assert create({"email": BOB}).pk


def test_an_occurrence_is_taken_back_by_the_old_id(
    api: APIClient, ada: Subscriber, bob_id: int
) -> None:
    event = track({**EVENT, "subscriber_id": bob_id})
    occurrence = EventOccurrence.objects.get()
    path = f"/subscribers/{bob_id}/tracking-events/{event.pk}/occurrences"
    assert api.get(path).json()["occurrences"]["total"] == 1
    assert api.delete(f"{path}/{occurrence.pk}").status_code == 200


@pytest.mark.parametrize("email", [BOB, *SPELLINGS])
def test_reads_by_email_find_the_survivor(
    api: APIClient, ada: Subscriber, bob_id: int, email: str
) -> None:
    found = api.get("/subscribers/0", {"get_by_email": email}).json()["subscriber"]
    assert (found["id"], found["email"], found["user_id"]) == (ada.pk, ada.email, "57")
    searched = api.get("/subscribers", {"search": email}).json()["subscribers"]["data"]
    assert [contact["id"] for contact in searched] == [ada.pk]


@pytest.mark.parametrize(
    ("operator", "value", "matches"),
    [
        ("=", BOB, True),
        ("in", [BOB, "cyd@example.com"], True),
        ("!=", BOB, False),
        ("not_in", [BOB], False),
        ("!=", "cyd@example.com", True),
        ("=", "cyd@example.com", False),
    ],
)
def test_filters_by_whole_emails_know_aliases(
    api: APIClient, ada: Subscriber, bob_id: int, operator: str, value: Any, matches: bool
) -> None:
    condition = {"source": ["subscriber", "email"], "operator": operator, "value": value}
    query = {"filter_type": "advanced", "advanced_filters": json.dumps([[condition]])}
    found = api.get("/subscribers", query).json()["subscribers"]["data"]
    assert bool(found) == matches


@pytest.mark.parametrize("text", ["id", BOB])
def test_commands_find_the_survivor(ada: Subscriber, bob_id: int, text: str) -> None:
    name = str(bob_id) if text == "id" else text
    out = io.StringIO()
    with without_snapshots():
        call_command("export_contact", name, stdout=out)
    assert json.loads(out.getvalue())["contact"]["id"] == ada.pk
    call_command("erase_contact", name, "--yes", stdout=io.StringIO())
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("email", [BOB, *SPELLINGS])
def test_no_other_contact_gets_an_alias_as_its_email(
    api: APIClient, bob_id: int, email: str
) -> None:
    cyd = create({"email": "cyd@example.com"})
    response = api.put(f"/subscribers/{cyd.pk}", {"email": email})
    assert (response.status_code, list(response.json()["email"])) == (422, ["unique"])
    cyd.refresh_from_db()
    assert cyd.email == "cyd@example.com"


def test_a_contact_and_its_alias_change_places(
    api: APIClient, ada: Subscriber, bob_id: int
) -> None:
    assert api.put(f"/subscribers/{ada.pk}", {"email": BOB}).json()["contact"]["email"] == BOB
    aliases = Identity.objects.filter(**Identity.EMAIL).values_list("value", flat=True)
    assert list(aliases) == ["ada@example.com"]
    for email in (BOB, "ada@example.com"):
        assert api.post(TRACK, {**EVENT, "email": email}).status_code == 200
    # Any other change leaves the e-mail before free, as it always did.
    api.put(f"/subscribers/{ada.pk}", {"email": "new@example.com"})
    assert create({"email": BOB}).pk != ada.pk


def test_the_own_user_id_stays_shown_and_each_of_them_finds_the_contact(
    api: APIClient, ada: Subscriber
) -> None:
    bob = create({"email": BOB, "user_id": "57"})
    api.put(f"/subscribers/{ada.pk}", {"user_id": 58})
    merge_contacts(ada.pk, ("contact", str(bob.pk)))

    def shown() -> Any:
        bulk = {"contacts": [{"email": ada.email, "city": "Rome"}]}
        assert api.post("/subscribers/bulk-add-update", bulk).json()["updated"]
        return api.get(f"/subscribers/{ada.pk}").json()["subscriber"]["user_id"]

    def known() -> set[str]:
        return set(Identity.objects.filter(**Identity.USER).values_list("value", flat=True))

    assert (shown(), known()) == ("58", {"57", "58"})
    for operator, number in (("=", 1), ("!=", 0)):
        condition = {"source": ["subscriber", "user_id"], "operator": operator, "value": "57"}
        query = {"filter_type": "advanced", "advanced_filters": json.dumps([[condition]])}
        assert api.get("/subscribers", query).json()["subscribers"]["total"] == number
    api.put(f"/subscribers/{ada.pk}", {"user_id": 59})
    assert (shown(), known()) == ("59", {"57", "59"})
    bulk = {"contacts": [{"email": ada.email, "user_id": 60}]}
    api.post("/subscribers/bulk-add-update", bulk)
    assert (shown(), known()) == ("60", {"57", "60"})
    # One that it has already becomes the one that is shown.
    api.put(f"/subscribers/{ada.pk}", {"user_id": 57})
    assert (shown(), known()) == ("57", {"57"})


def test_an_erasure_remembers_each_email(
    api: APIClient, admin: User, ada: Subscriber, bob_id: int
) -> None:
    condition = {"source": ["subscriber", "email"], "operator": "in", "value": [BOB, ada.email]}
    segment = create_segment({"title": "S", "slug": "s", "filters": [[condition]]})
    receipt = erase_contact(ada.pk, by="eve")
    assert receipt.email_sha256 == email_sha256(ada.email)
    assert Erasure.latest(ada.pk) == receipt
    hashes = set(Erasure.objects.values_list("email_sha256", flat=True))
    assert hashes == {email_sha256(ada.email), email_sha256(BOB)}
    value = Segment.objects.get(pk=segment.pk).filters[0][0]["value"]
    assert value == ["(erased)", "(erased)"]
    rows = {"contacts": [{"email": BOB}, {"email": ada.email}]}
    body = api.post("/subscribers/bulk-add-update", rows).json()
    assert [list(error["errors"]["email"]) for error in body["errors"]] == [["erased"]] * 2


@pytest.mark.parametrize("erased", ["ada@example.com", BOB])
@pytest.mark.parametrize("sent", ["ada@example.com", BOB])
def test_an_import_of_an_alias_does_not_subscribe_who_was_erased(
    api: APIClient, erased: str, sent: str
) -> None:
    erase_contact(create({"email": erased}).pk, by="eve")
    ada, bob = (create({"email": each, "status": "pending"}) for each in ("ada@example.com", BOB))
    merge_contacts(ada.pk, ("contact", str(bob.pk)))
    body = {"contacts": [{"email": sent, "status": "subscribed"}]}
    api.post("/subscribers/bulk-add-update", body)
    assert only_contact().status == "pending"
    api.post("/subscribers/bulk-add-update", {**body, "restore_erased": True})
    assert only_contact().status == "subscribed"


def test_the_export_of_a_contact_shows_its_aliases(ada: Subscriber, bob_id: int) -> None:
    pieces: list[str] = []
    with without_snapshots():
        export_contact(ada.pk, pieces.append)
    identities = json.loads("".join(pieces))["identities"]
    assert [(each["kind"], each["value"]) for each in identities] == [
        ("contact", str(bob_id)),
        ("email", SPELLINGS[0]),
        ("user", "57"),
    ]


def test_an_alias_longer_than_a_user_id_is_stored(ada: Subscriber) -> None:
    long = f"{'x' * 60}@{'ü' * 20}.{'y' * 60}.{'z' * 60}.example.com"
    bob = create({"email": long})
    merge_contacts(ada.pk, ("contact", str(bob.pk)))
    assert track({**EVENT, "email": long.upper()}).subscriber_id == ada.pk


def test_a_deleted_survivor_leaves_no_alias(ada: Subscriber, bob_id: int) -> None:
    delete_contacts([ada.pk])
    assert not Identity.objects.exists()


def test_labels_of_a_form_are_those_of_the_survivor(api: APIClient, bob_id: int) -> None:
    tag = Tag.objects.create(title="vip", slug="vip")
    attach("tags", [only_contact().pk], [tag.pk])
    found = api.get("/subscribers/search-contacts", {"values[]": bob_id}).json()["contacts"]
    assert [choice["email"] for choice in found.values()] == ["ada@example.com"]
