"""The history of the admin: who did what to how many contacts."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from django.test import Client

from crm.admin import label_actions
from crm.attachments import attach
from crm.bulk_changes import change_labels
from crm.contacts import create
from crm.models import HistoryEntry, Job, Tag
from tests.api.pages import CONTACTS, browser_of, hidden_fields_of, open_page, text_of
from tests.api.snapshots import without_snapshots

pytestmark = pytest.mark.django_db
HISTORY = "/admin/crm/historyentry/"


@pytest.fixture(autouse=True)
def in_transaction(db: None) -> Iterator[None]:
    """Let an export run inside the test's transaction."""
    with without_snapshots():
        yield


@pytest.fixture
def ids() -> list[int]:
    """The ids of three contacts."""
    return [create({"email": f"{name}@example.com"}).pk for name in ("ada", "bob", "cy")]


@pytest.fixture
def tags() -> list[int]:
    """The ids of the tags VIP and News."""
    return [Tag.objects.create(title=title, slug=title).pk for title in ("VIP", "News")]


@pytest.fixture
def manager() -> Client:
    """A browser of the manager Grace."""
    user = User.objects.create_user("grace", is_staff=True)
    user.groups.add(Group.objects.get(name="manager"))
    return browser_of(user)


def act(browser: Client, action: str, ids: list[int], **fields: Any) -> Any:
    """Start an action on contacts, or confirm it, and read its response."""
    form = {"action": action, "_selected_action": ids, "index": 0, **fields}
    response: Any = browser.post(CONTACTS, form)
    response.getvalue()
    return response


def entries() -> list[tuple[str, str, str]]:
    """Return user, subject and message of the entries, the oldest first."""
    rows = HistoryEntry.objects.order_by("id").select_related("user")
    return [(row.user.username, row.object_repr, row.change_message) for row in rows]


def test_adding_tags_to_contacts_is_one_entry(
    manager: Client, ids: list[int], tags: list[int]
) -> None:
    attach("tags", ids[:1], tags[:1])
    act(manager, "add_tags", ids, chosen="yes", labels=tags)
    assert entries() == [("grace", "3 contacts", "Tags added: “News”, “VIP”. Changes: 5.")]


def test_removing_tags_from_one_contact_stands_in_its_own_history(
    manager: Client, ids: list[int], tags: list[int]
) -> None:
    attach("tags", ids, tags)
    act(manager, "remove_tags", ids[:1], chosen="yes", labels=tags[:1])
    assert entries() == [("grace", "ada@example.com", "Tags removed: “VIP”. Changes: 1.")]
    assert "Tags removed" in open_page(manager, f"{CONTACTS}{ids[0]}/history/")
    assert "Tags removed" not in open_page(manager, f"{CONTACTS}{ids[1]}/history/")


def test_an_action_that_the_database_stops_is_an_entry_of_what_was_done(
    manager: Client, ids: list[int], tags: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_at_the_last(
        job: Job, kind: Any, attached: bool, contact_ids: list[int], label_ids: list[int]
    ) -> int:
        if ids[2] in contact_ids:
            raise OperationalError
        return change_labels(job, kind, attached, contact_ids, label_ids)

    manager.raise_request_exception = False
    monkeypatch.setattr(label_actions, "CONTACTS_PER_TRANSACTION", 1)
    monkeypatch.setattr(label_actions, "change_labels", fail_at_the_last)
    assert act(manager, "add_tags", ids, chosen="yes", labels=tags[:1]).status_code == 503
    assert entries() == [("grace", "3 contacts", "Tags added: “VIP”. Changes: 2.")]


def test_a_form_that_asks_for_tags_is_no_entry(manager: Client, ids: list[int]) -> None:
    act(manager, "add_tags", ids)
    assert entries() == []


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_of_contacts_is_one_entry(manager: Client, ids: list[int], form: str) -> None:
    act(manager, f"export_{form}", ids)
    assert entries() == [("grace", "3 contacts", f"Exported with events as {form.upper()}.")]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_that_fails_is_no_entry(
    manager: Client, ids: list[int], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError

    manager.raise_request_exception = False
    monkeypatch.setattr(f"events.admin.exports.write_{form}", fail)
    assert act(manager, f"export_{form}", ids).status_code == 503
    assert entries() == []


def test_the_export_of_everything_stands_in_the_contacts_own_history(
    manager: Client, ids: list[int]
) -> None:
    response: Any = manager.get(f"{CONTACTS}{ids[0]}/export/")
    response.getvalue()
    assert entries() == [("grace", "ada@example.com", "Exported everything.")]
    assert "Exported everything." in open_page(manager, f"{CONTACTS}{ids[0]}/history/")


def test_deleting_contacts_is_an_entry_with_their_number(manager: Client, ids: list[int]) -> None:
    fields = hidden_fields_of(act(manager, "delete_selected", ids[:2]).content.decode())
    act(manager, "delete_selected", ids[:2], post="yes", digest=fields["digest"])
    assert entries() == [
        ("grace", "ada@example.com", ""),
        ("grace", "bob@example.com", ""),
        ("grace", "2 contacts", "Deleted: 2 contacts."),
    ]


def test_erasing_a_contact_removes_its_email_from_the_entry_of_its_export(
    manager: Client, ids: list[int]
) -> None:
    act(manager, "export_csv", ids[:1])
    act(manager, "export_csv", ids)
    manager.post(f"{CONTACTS}{ids[0]}/erase/")
    assert entries() == [
        ("grace", "(erased)", ""),
        ("grace", "3 contacts", "Exported with events as CSV."),
        ("grace", "(erased)", ""),
    ]
    assert "ada@example.com" not in open_page(manager, HISTORY)


def test_managers_read_the_history(manager: Client, ids: list[int], tags: list[int]) -> None:
    act(manager, "add_tags", ids, chosen="yes", labels=tags[:1])
    page = text_of(open_page(manager, HISTORY))
    assert "grace Tags added: “VIP”. Changes: 3. 3 contacts" in page


def test_the_history_links_to_the_contact_of_an_entry(manager: Client, ids: list[int]) -> None:
    act(manager, "export_csv", ids[:1])
    page = open_page(manager, HISTORY)
    assert f'contact <a href="{CONTACTS}{ids[0]}/change/"><bdi>ada@example.com</bdi></a>' in page


@pytest.mark.parametrize(
    ("search", "shown"), [("grace", True), ("BOB@", True), ("exported", True), ("ada", False)]
)
def test_the_history_is_searched(manager: Client, ids: list[int], search: str, shown: bool) -> None:
    act(manager, "export_csv", ids[1:2])
    page = open_page(manager, f"{HISTORY}?q={search}")
    assert ("Exported with events as CSV." in page) == shown


def test_managers_do_not_read_what_superusers_did_to_users(
    manager: Client, admin_client: Client
) -> None:
    form = {"username": "secret-user", "usable_password": "false"}
    assert admin_client.post("/admin/auth/user/add/", form).status_code == 302
    assert "secret-user" in open_page(admin_client, HISTORY)
    assert "secret-user" not in open_page(manager, HISTORY)
