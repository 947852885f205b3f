"""Imports of an ActiveCampaign: responses in the form that its documentation has."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crm import jobs
from crm.jobs import RESULTS
from crm.models import CustomField, Identity, Job, Subscriber, SubscriberNote
from events.models import EventOccurrence
from tests.api.played import Played, Sent
from transfers.sources import activecampaign

pytestmark = pytest.mark.django_db
AT = "2018-09-28T13:50:41-05:00"
ROOT = "/api/3/"


class Account:
    """An account in a few dictionaries, which a test may change."""

    def __init__(self) -> None:
        self.contacts: list[dict[str, Any]] = []
        self.beside: dict[str, list[Any]] = {name: [] for name in activecampaign.BESIDE}
        # Responses to paths.
        self.others: dict[str, Any] = {
            "tags": {"tags": [{"id": "1", "tag": "VIP", "tagType": "contact", "cdate": AT}]},
            "lists": {"lists": [{"id": "2", "name": "News", "stringid": "news", "cdate": AT}]},
            "fields": {
                "fieldOptions": [
                    {"id": "1", "field": "3", "value": "Red"},
                    {"id": "2", "field": "3", "value": "Blue"},
                ],
                "fieldRels": [],
                "fields": [
                    {"id": "3", "title": "Colors", "type": "listbox", "perstag": "COLORS"},
                    {"id": "4", "title": "Size", "type": "text", "perstag": "SIZE"},
                ],
            },
        }

    def add(self, number: int, *statuses: str, **columns: Any) -> None:
        """Add a contact, and its statuses on lists."""
        row = {"id": str(number), "email": f"c{number}@example.com", "cdate": AT, "udate": AT}
        self.contacts.append({**row, "bounced_hard": "0", "deleted": "0", **columns})
        for status in statuses:
            self.beside["contactLists"].append(
                {"id": "5", "contact": str(number), "list": "2", "status": status}
            )

    def answer(self, path: str, query: dict[str, str]) -> Sent:
        name = path.removeprefix(ROOT)
        if name in self.others:
            return Sent(self.others[name])
        if name == "contacts":
            after = int(query.get("id_greater", 0))
            rows = [row for row in self.contacts if int(row["id"]) > after][:100]
            return Sent({"contacts": rows, "meta": {"total": str(len(rows))}, **self.beside})
        kind = name.rpartition("/")[2]
        return Sent({kind: []} if kind in ("notes", "trackingLogs") else {}, 200)


@pytest.fixture
def account(played: Played) -> Account:
    found = Account()
    played.answer = found.answer
    return found


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Played:
    """Responses of an account."""
    settings.FILES_DIR = tmp_path / "files"
    monkeypatch.setenv("ACTIVECAMPAIGN_TOKEN", "secret")
    # Another connection does not see the job in the test's transaction.
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 600)
    found = Played()
    monkeypatch.setattr(activecampaign, "JsonClient", found.client)
    return found


def run() -> tuple[Job, str]:
    out = StringIO()
    call_command("import_activecampaign", "shop.api-us1.com", stdout=out)
    return Job.objects.latest("pk"), out.getvalue()


def test_a_contact_comes_with_everything(account: Account, played: Played) -> None:
    account.add(7, "1", firstName="Ada", lastName="Lovelace", phone="+44", ip="1.2.3.4")
    account.beside["contactTags"] = [{"id": "9", "contact": "7", "tag": "1", "cdate": AT}]
    account.beside["fieldValues"] = [
        {"contact": "7", "field": "3", "value": "||Red||Blue||"},
        {"contact": "7", "field": "4", "value": "XL"},
    ]
    account.others["contacts/7/notes"] = {"notes": [{"id": "1", "note": "Called", "cdate": AT}]}
    logs = [
        {"id": str(number), "type": "buy", "value": "9", "tstamp": AT, "subscriberid": "7"}
        for number in (12, 11)
    ]
    account.others["contacts/7/trackingLogs"] = {"trackingLogs": logs}
    _, printed = run()
    assert "differs" not in printed
    ada = Subscriber.objects.get()
    assert (ada.first_name, ada.phone, ada.ip, ada.status) == (
        *("Ada", "+44", "1.2.3.4", "subscribed"),
    )
    assert ada.created_at.isoformat() == "2018-09-28T18:50:41+00:00"
    assert ada.custom_values == {"colors": ["Red", "Blue"], "size": "XL"}
    assert [*ada.tags.values_list("title")] == [("VIP",)]
    assert [*ada.lists.values_list("title", "slug")] == [("News", "news")]
    assert [*CustomField.objects.values_list("slug", "type", "options")] == [
        ("colors", "select-multi", ["Red", "Blue"]),
        ("size", "text", []),
    ]
    assert SubscriberNote.objects.values_list("description", flat=True).get() == "Called"
    assert Identity.objects.values_list("source", "value").get() == ("shop.api-us1.com", "7")
    occurrences = EventOccurrence.objects.order_by("id")
    assert [(each.value, each.occurred_at.year) for each in occurrences] == [("9", 2018)] * 2
    assert played.headers == {"Api-Token": "secret"}


def test_the_second_import_counts_only_new_logs(account: Account) -> None:
    account.add(7, "1")
    logs = [{"id": "11", "type": "buy", "value": "", "tstamp": AT}]
    account.others["contacts/7/trackingLogs"] = {"trackingLogs": logs}
    run()
    logs.append({"id": "12", "type": "buy", "value": "", "tstamp": AT})
    _, printed = run()
    assert "times counted: 1\n" in printed
    assert EventOccurrence.objects.count() == 2


@pytest.mark.parametrize(
    ("statuses", "columns", "status"),
    [
        (["1", "2"], {}, "unsubscribed"),
        (["1", "0"], {}, "subscribed"),
        (["0"], {}, "pending"),
        ([], {}, "pending"),
        (["3", "1"], {}, "bounced"),
        (["1"], {"bounced_hard": "1"}, "bounced"),
    ],
)
def test_the_status_is_that_of_the_lists(
    account: Account, statuses: list[str], columns: dict[str, str], status: str
) -> None:
    account.add(1, *statuses, **columns)
    run()
    assert Subscriber.objects.get().status == status


def test_contacts_of_many_pages_come_once(account: Account) -> None:
    for number in range(1, 231):
        account.add(number, "1")
    job, _ = run()
    assert (job.counts["created"], job.done) == (230, 230)


def test_a_contact_that_was_deleted_there_does_not_come(account: Account) -> None:
    account.add(1, "1", deleted="1")
    account.add(2, "1", anonymized="1")
    job, _ = run()
    assert job.counts["rejected"] == 2
    assert not Subscriber.objects.exists()


def test_an_account_without_notes_and_logs_says_so(account: Account, played: Played) -> None:
    account.add(1, "1")

    def answer(path: str, query: dict[str, str]) -> Sent:
        if path.startswith(f"{ROOT}contacts/"):
            return Sent(b"<html>", 404)
        return account.answer(path, query)

    played.answer = answer
    job, _ = run()
    text = (job.path / RESULTS / "remarks.csv").read_text()
    assert "does not show notes" in text
    assert "does not show trackingLogs" in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"tags": "x"}, "another form than ActiveCampaign's"),
        ({}, "another form than ActiveCampaign's"),
        ([], "another form than ActiveCampaign's"),
    ],
)
def test_another_form_is_named(account: Account, body: Any, message: str) -> None:
    account.others["tags"] = body
    with pytest.raises(CommandError, match=message):
        run()
