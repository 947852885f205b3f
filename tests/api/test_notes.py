"""Notes of contacts: FluentCRM's endpoints, the admin's pages, the export and the erasure."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from crm.contacts import create, delete_contacts
from crm.models import Subscriber, SubscriberNote
from crm.notes import add_note
from events.personal_data import erase_contact, export_contact
from tests.api.pages import CONTACTS, ESCAPED, HOSTILE, browser_of, form_of, open_page, staff_user
from tests.api.pages import text_of as shown
from tests.api.snapshots import without_snapshots

NOTE = {"title": "Call", "description": "Likes tea.", "type": "call"}
ADMIN_NOTES = "/admin/crm/subscribernote/"


@pytest.fixture
def path(ada: Subscriber) -> str:
    """The URL of Ada's notes."""
    return f"/subscribers/{ada.pk}/notes"


@pytest.fixture
def author(db: None) -> User:
    """The user "author"."""
    return User.objects.create(username="author")


@pytest.fixture
def note(ada: Subscriber, author: User) -> SubscriberNote:
    """A note about Ada by the user "author"."""
    return add_note(ada.pk, NOTE, author.pk)


def test_a_note_is_added(api: APIClient, admin: User, ada: Subscriber, path: str) -> None:
    response = api.post(path, {"note": NOTE | {"created_at": "2026-01-02 03:04:05"}})
    assert response.status_code == 200
    added = response.json()
    stored = SubscriberNote.objects.get()
    assert added["message"] == "Note successfully added"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", added["note"].pop("updated_at"))
    assert added["note"] == NOTE | {
        "created_at": "2026-01-02 03:04:05",
        "subscriber_id": ada.pk,
        "created_by": admin.pk,
        "id": stored.pk,
    }


def test_a_note_is_listed_as_fluentcrm_shows_it(
    api: APIClient, admin: User, ada: Subscriber, path: str
) -> None:
    api.post(path, {"note": NOTE | {"created_at": "2026-01-02 03:04:05"}})
    body = api.get(path).json()
    [listed] = body["notes"].pop("data")
    del listed["updated_at"]
    author = {"ID": admin.pk, "first_name": "", "last_name": "", "display_name": "admin"}
    assert listed == NOTE | {
        "id": SubscriberNote.objects.get().pk,
        "subscriber_id": str(ada.pk),
        "parent_id": None,
        "created_by": str(admin.pk),
        "status": "open",
        "is_private": "1",
        "created_at": "2026-01-02 03:04:05",
        "added_by": author,
    }
    assert body["notes"]["total"] == 1
    assert list(body["fields"]["fields"]) == ["type", "created_at", "title", "description"]
    assert {"id": "quote_sent", "label": "Quote: Sent"} in body["fields"]["fields"]["type"][
        "options"
    ]


def test_a_note_whose_author_was_deleted_has_none(
    api: APIClient, note: SubscriberNote, author: User, path: str
) -> None:
    author.delete()
    [listed] = api.get(path).json()["notes"]["data"]
    assert (listed["created_by"], listed["added_by"]) == ("0", False)


def test_notes_are_listed_the_newest_first_and_found_by_a_part_of_the_title(
    api: APIClient, path: str
) -> None:
    for title in ("First call", "Mail", "Second CALL"):
        api.post(path, {"note": NOTE | {"title": title}})
    found = api.get(path, {"search": "call"}).json()["notes"]["data"]
    assert [each["title"] for each in found] == ["Second CALL", "First call"]


@pytest.mark.parametrize("sent", [{"created_at": ""}, {"created_at": "2026-01-02 03:04:05"}, {}])
def test_a_note_is_changed_and_keeps_its_datetime_unless_another_is_sent(
    api: APIClient, note: SubscriberNote, path: str, sent: dict[str, str]
) -> None:
    fields = {"title": "Meeting", "description": "<b>Tea</b>", "type": "meeting"}
    response = api.put(f"{path}/{note.pk}", {"note": fields | sent})
    assert response.json()["message"] == "Note successfully updated"
    changed = SubscriberNote.objects.get()
    assert (changed.title, changed.description, changed.type) == tuple(fields.values())
    assert (changed.created_at == note.created_at) is not bool(sent.get("created_at"))
    assert response.json()["note"]["title"] == "Meeting"
    assert response.json()["note"]["subscriber_id"] == str(note.subscriber_id)


def test_a_note_is_deleted(api: APIClient, note: SubscriberNote, path: str) -> None:
    response = api.delete(f"{path}/{note.pk}")
    assert response.json() == {"message": "Note successfully deleted"}
    assert not SubscriberNote.objects.exists()


def test_a_note_may_come_as_json_text_in_a_form(api: APIClient, path: str) -> None:
    response = api.post(path, {"note": json.dumps(NOTE)}, format="multipart")
    assert response.status_code == 200
    assert SubscriberNote.objects.get().title == "Call"


@pytest.mark.parametrize(
    ("sent", "field", "rule"),
    [
        ({}, "title", "required"),
        ({"note": {}}, "description", "required"),
        ({"note": NOTE | {"type": ""}}, "type", "required"),
        ({"note": NOTE | {"title": "a\0b"}}, "title", "string"),
        ({"note": NOTE | {"description": "a\0b"}}, "description", "string"),
        ({"note": NOTE | {"description": "x" * 65_536}}, "description", "max"),
        ({"note": NOTE | {"description": ["x"]}}, "description", "string"),
        ({"note": NOTE | {"created_at": "soon"}}, "created_at", "date"),
        ({"note": "x"}, "note", "json"),
        ({"note": [1]}, "note", "object"),
    ],
)
def test_an_invalid_note_is_rejected_by_field_and_stores_nothing(
    api: APIClient, path: str, sent: Any, field: str, rule: str
) -> None:
    response = api.post(path, sent)
    assert response.status_code == 422
    assert rule in response.json()[field]
    assert not SubscriberNote.objects.exists()


def test_a_title_that_is_too_long_is_cut_with_a_warning(api: APIClient, path: str) -> None:
    response = api.post(path, {"note": NOTE | {"title": "x" * 200}}).json()
    assert response["note"]["title"] == "x" * 192
    assert [warning["field"] for warning in response["warnings"]] == ["title"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_the_notes_of_an_unknown_contact_are_404(
    api: APIClient, ada: Subscriber, method: str
) -> None:
    response = getattr(api, method)(f"/subscribers/{ada.pk + 1}/notes", {"note": NOTE})
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_note_of_another_contact_is_404_and_stays(
    api: APIClient, note: SubscriberNote, method: str
) -> None:
    other = create({"email": "bob@example.com"})
    path = f"/subscribers/{other.pk}/notes/{note.pk}"
    response = getattr(api, method)(path, {"note": NOTE | {"title": "Changed"}})
    assert (response.status_code, response.json()) == (404, {"message": "Note not found"})
    assert SubscriberNote.objects.get().title == "Call"


def test_15_of_the_largest_notes_are_one_page(api: APIClient, ada: Subscriber, path: str) -> None:
    largest = NOTE | {"description": "😀" * 65_535}
    rows = [SubscriberNote(subscriber=ada, **largest) for _ in range(33)]
    SubscriberNote.objects.bulk_create(rows)
    assert len(api.get(path).json()["notes"]["data"]) == 15
    assert api.get(path, {"per_page": 33}).status_code == 422


def test_notes_are_deleted_and_counted_with_their_contact(
    ada: Subscriber, note: SubscriberNote
) -> None:
    assert delete_contacts([ada.pk])["notes"] == 1
    assert not SubscriberNote.objects.exists()


def test_the_receipt_of_an_erasure_counts_the_notes(ada: Subscriber, note: SubscriberNote) -> None:
    assert erase_contact(ada.pk, by="admin").receipt()["deleted"]["notes"] == 1
    assert not SubscriberNote.objects.exists()


def test_the_export_of_a_contact_has_all_its_notes_and_no_others(
    ada: Subscriber, author: User
) -> None:
    add_note(create({"email": "bob@example.com"}).pk, NOTE, author.pk)
    ids = [add_note(ada.pk, NOTE, author.pk).pk for _ in range(21)]
    pieces: list[str] = []
    with without_snapshots():
        export_contact(ada.pk, pieces.append)
    exported = json.loads("".join(pieces))
    assert [each["id"] for each in exported["notes"]] == ids[::-1]
    assert exported["export"]["counts"]["notes"] == 21
    assert exported["notes"][0]["description"] == "Likes tea."


def test_the_page_of_a_contact_shows_its_newest_notes_escaped(
    admin_client: Client, ada: Subscriber, author: User
) -> None:
    for number in range(11):
        add_note(ada.pk, NOTE | {"title": f"Call {number}", "description": HOSTILE}, author.pk)
    page = open_page(admin_client, f"{CONTACTS}{ada.pk}/")
    assert [f"Call {number}" in page for number in (0, 1, 10)] == [False, True, True]
    assert ESCAPED in page
    assert HOSTILE not in page
    assert "All notes" in shown(page)


def test_a_note_is_added_on_the_page_of_its_contact(
    admin_client: Client, admin_user: User, ada: Subscriber
) -> None:
    page = open_page(admin_client, f"{CONTACTS}{ada.pk}/")
    [link] = re.findall(rf'href="({ADMIN_NOTES}add/\?[^"]*)"', page)
    form = form_of(open_page(admin_client, link), title="Call", type="call")
    response = admin_client.post(link, form | {"description": "Likes tea."})
    assert response.headers["Location"] == f"{CONTACTS}{ada.pk}/"
    added = SubscriberNote.objects.get()
    assert (added.subscriber_id, added.title, added.type) == (ada.pk, "Call", "call")
    assert added.created_by_id == admin_user.pk


@pytest.mark.parametrize("contact", ["", "nobody@example.com", "\0", "0"])
def test_a_note_about_nobody_is_rejected_in_the_admin(
    admin_client: Client, ada: Subscriber, contact: str
) -> None:
    link = f"{ADMIN_NOTES}add/"
    form = form_of(open_page(admin_client, link), title="Call", type="call", contact=contact)
    response = admin_client.post(link, form | {"description": "Likes tea."})
    assert response.status_code == 200
    assert not SubscriberNote.objects.exists()


def test_a_note_is_changed_in_the_admin_and_stays_with_its_contact(
    admin_client: Client, note: SubscriberNote
) -> None:
    other = create({"email": "bob@example.com"})
    link = f"{ADMIN_NOTES}{note.pk}/change/"
    form = form_of(open_page(admin_client, link), title="Meeting", contact=str(other.pk))
    response = admin_client.post(link, form | {"description": "Likes coffee."})
    assert response.headers["Location"] == f"{CONTACTS}{note.subscriber_id}/"
    changed = SubscriberNote.objects.get()
    assert (changed.title, changed.description, changed.type) == (
        "Meeting",
        "Likes coffee.",
        "call",
    )
    assert (changed.subscriber_id, changed.created_at) == (note.subscriber_id, note.created_at)


def test_a_type_of_an_api_client_stays_when_the_note_is_changed_in_the_admin(
    admin_client: Client, ada: Subscriber, author: User
) -> None:
    visit = add_note(ada.pk, NOTE | {"type": "visit"}, author.pk)
    link = f"{ADMIN_NOTES}{visit.pk}/change/"
    form = form_of(open_page(admin_client, link), title="Visit")
    admin_client.post(link, form | {"description": "Likes tea."})
    changed = SubscriberNote.objects.get()
    assert (changed.title, changed.type) == ("Visit", "visit")


def test_a_note_is_deleted_in_the_admin_and_the_history_does_not_name_it(
    admin_client: Client, note: SubscriberNote
) -> None:
    admin_client.post(f"{ADMIN_NOTES}{note.pk}/delete/", {"post": "yes"})
    assert not SubscriberNote.objects.exists()
    history = open_page(admin_client, "/admin/crm/historyentry/")
    assert f"note {note.pk}" in history
    assert "Call" not in history


def test_notes_are_listed_by_their_contact(
    admin_client: Client, note: SubscriberNote, author: User
) -> None:
    other = create({"email": "bob@example.com"})
    add_note(other.pk, NOTE | {"title": "Mail"}, author.pk)
    page = open_page(admin_client, f"{ADMIN_NOTES}?contact=bob@example.com")
    assert ("Mail" in page, "Call" in page) == (True, False)


def test_who_may_only_see_contacts_sees_notes_without_links_to_change_them(
    ada: Subscriber, note: SubscriberNote
) -> None:
    browser = browser_of(staff_user("view_subscriber"))
    page = open_page(browser, f"{CONTACTS}{ada.pk}/")
    assert "Likes tea." in page
    assert not re.search(f"{ADMIN_NOTES}(add|{note.pk})/", page)
