"""The e-mail keys and the user ids by which calls find a contact."""

import unicodedata
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from crm.contacts import USER_ID_TAKEN, create, delete_contacts
from crm.models import Identity, Subscriber
from events.models import TrackedEvent

TRACK = "/subscribers/track-event"
NFC = "jörg@bücher.example"
SPELLINGS = [
    "JÖRG@BÜCHER.example",
    unicodedata.normalize("NFD", NFC),
    "jörg@xn--bcher-kva.example",
    f"\ufeff{NFC}\xa0",
]


def post_contact(api: APIClient, email: str, **fields: Any) -> Any:
    return api.post("/subscribers", {"email": email, "status": "subscribed"} | fields)


def shown(api: APIClient, contact_id: int) -> Any:
    return api.get(f"/subscribers/{contact_id}").json()["subscriber"]


def event(**names: Any) -> dict[str, Any]:
    return {"event_key": "login", "title": "Login"} | names


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_of_an_email_is_the_same_contact(api: APIClient, spelling: str) -> None:
    contact_id = post_contact(api, NFC).json()["contact"]["id"]
    assert list(post_contact(api, spelling).json()) == ["email"]
    assert api.post(TRACK, event(email=spelling)).status_code == 200
    bulk = {"contacts": [{"email": spelling, "city": "Bonn"}]}
    [updated] = api.post("/subscribers/bulk-add-update", bulk).json()["updated"]
    assert updated["id"] == contact_id
    found = api.get("/subscribers/0", {"get_by_email": spelling}).json()["subscriber"]
    assert found["id"] == contact_id


def test_an_email_is_kept_as_it_was_sent(api: APIClient) -> None:
    contact = post_contact(api, " Ada@Example.com ").json()["contact"]
    assert contact["email"] == "Ada@Example.com"


def test_an_email_that_changes_takes_its_key_along(api: APIClient, ada: Subscriber) -> None:
    api.put(f"/subscribers/{ada.pk}", {"email": NFC})
    assert api.post(TRACK, event(email=SPELLINGS[0])).status_code == 200
    assert api.post(TRACK, event(email="ada@example.com")).status_code == 422


def test_an_email_cannot_change_to_another_spelling_of_another_contact(
    api: APIClient, ada: Subscriber
) -> None:
    create({"email": NFC})
    response = api.put(f"/subscribers/{ada.pk}", {"email": SPELLINGS[0]})
    assert (response.status_code, list(response.json()["email"])) == (422, ["unique"])


@pytest.mark.parametrize("sent", [57, "57", " 57 "])
def test_a_user_id_is_shown_and_finds_the_contact(api: APIClient, sent: Any) -> None:
    contact_id = post_contact(api, "ada@example.com", user_id=sent).json()["contact"]["id"]
    assert shown(api, contact_id)["user_id"] == "57"
    assert api.post(TRACK, event(user_id=sent)).status_code == 200
    assert TrackedEvent.objects.get().subscriber_id == contact_id


def test_a_batch_finds_contacts_by_user_id(api: APIClient, ada: Subscriber) -> None:
    api.put(f"/subscribers/{ada.pk}", {"user_id": "auth0|5f7c"})
    events = [event(user_id="auth0|5f7c"), event(user_id="AUTH0|5f7c")]
    response = api.post("/subscribers/track-events", {"events": events}).json()
    assert (response["tracked"], response["failed"]) == (1, 1)


def test_a_user_id_never_means_a_user_of_tallybook(api: APIClient, admin: User) -> None:
    create({"email": admin.email})
    assert api.post(TRACK, event(user_id=admin.pk)).status_code == 422
    assert not TrackedEvent.objects.exists()


def test_an_event_that_names_no_contact_means_the_caller_by_email(
    api: APIClient, admin: User
) -> None:
    own = create({"email": admin.email.upper()})
    assert api.post(TRACK, event()).status_code == 200
    assert TrackedEvent.objects.get().subscriber_id == own.pk


def test_the_user_id_of_another_contact_is_rejected_and_stores_nothing(
    api: APIClient, ada: Subscriber
) -> None:
    api.put(f"/subscribers/{ada.pk}", {"user_id": 57})
    response = post_contact(api, "bob@example.com", user_id="57")
    assert (response.status_code, list(response.json()["user_id"])) == (422, ["unique"])
    assert not Subscriber.objects.filter(email="bob@example.com").exists()


def test_a_batch_refuses_only_the_row_with_the_user_id_of_another_contact(
    api: APIClient, ada: Subscriber
) -> None:
    api.put(f"/subscribers/{ada.pk}", {"user_id": 57})
    rows = [
        {"email": "bob@example.com", "user_id": 57},
        {"email": "cy@example.com", "user_id": 58},
    ]
    response = api.post("/subscribers/bulk-add-update", {"contacts": rows}).json()
    assert ([row["email"] for row in response["created"]], response["invalids"]) == (
        ["cy@example.com"],
        rows[:1],
    )


@pytest.mark.parametrize("broken", ["null", "undefined", [], True, "9" * 193])
def test_a_broken_user_id_costs_itself_and_no_opt_out(
    api: APIClient, ada: Subscriber, broken: Any
) -> None:
    row = {"email": "ada@example.com", "status": "unsubscribed", "user_id": broken}
    [updated] = api.post("/subscribers/bulk-add-update", {"contacts": [row]}).json()["updated"]
    assert (updated["status"], shown(api, ada.pk)["user_id"]) == ("unsubscribed", None)
    assert [warning["field"] for warning in updated["warnings"]] == ["user_id"]


@pytest.mark.parametrize("own", [None, "58"])
def test_the_user_id_of_another_contact_costs_an_existing_one_no_opt_out(
    api: APIClient, ada: Subscriber, own: str | None
) -> None:
    post_contact(api, "bob@example.com", user_id=57)
    api.put(f"/subscribers/{ada.pk}", {"user_id": own})
    row = {"email": "ada@example.com", "status": "unsubscribed", "user_id": 57}
    [updated] = api.post("/subscribers/bulk-add-update", {"contacts": [row]}).json()["updated"]
    assert (updated["status"], shown(api, ada.pk)["user_id"]) == ("unsubscribed", own)
    assert updated["warnings"] == [
        {"field": "user_id", "rule": "unique", "message": USER_ID_TAKEN["unique"]}
    ]


def test_a_put_replaces_and_removes_a_user_id(api: APIClient, ada: Subscriber) -> None:
    for sent, stored in ((57, "57"), ("58", "58"), (None, None)):
        response = api.put(f"/subscribers/{ada.pk}", {"user_id": sent}).json()
        assert (response["contact"]["user_id"], response["isDirty"]) == (stored, True)
    assert not Identity.objects.exists()


def test_an_empty_user_id_of_a_bulk_call_changes_nothing(api: APIClient, ada: Subscriber) -> None:
    api.put(f"/subscribers/{ada.pk}", {"user_id": 57})
    rows = [{"email": "ada@example.com", "user_id": 0}]
    api.post("/subscribers/bulk-add-update", {"contacts": rows})
    assert shown(api, ada.pk)["user_id"] == "57"


def test_a_deleted_contact_leaves_its_user_id_free(api: APIClient, ada: Subscriber) -> None:
    api.put(f"/subscribers/{ada.pk}", {"user_id": 57})
    delete_contacts([ada.pk])
    assert post_contact(api, "ada@example.com", user_id=57).status_code == 200


def test_a_store_without_collisions_passes_the_check(ada: Subscriber) -> None:
    create({"email": NFC})
    output = StringIO()
    call_command("check_database", stdout=output)
    assert output.getvalue() == "No two contacts have the same mailbox.\n"


def test_the_check_lists_two_contacts_of_one_mailbox(ada: Subscriber) -> None:
    first = create({"email": NFC})
    second = create({"email": "other@example.com"})
    Subscriber.objects.filter(pk=second.pk).update(email=SPELLINGS[1], email_key=SPELLINGS[1])
    output = StringIO()
    with pytest.raises(CommandError, match="1 contacts have the mailbox of another one"):
        call_command("check_database", stdout=output)
    assert f"contact {second.pk}" in output.getvalue()
    assert f"contact {first.pk} ({NFC})" in output.getvalue()
