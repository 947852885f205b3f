"""The admin's pages that merge two contacts, and that propose which ones."""

import json
import logging
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from crm.contacts import create
from crm.models import Subscriber
from events.models import TrackedEvent
from events.personal_data import erase_contact
from events.tracking import track
from tests.api.pages import (
    CONTACTS,
    ESCAPED,
    HOSTILE,
    browser_of,
    form_of,
    open_page,
    staff_user,
    text_of,
)

DUPLICATES = f"{CONTACTS}duplicates/"
MERGE = ("change_subscriber", "delete_subscriber", "delete_eventoccurrence")


@pytest.fixture
def browser(admin: User) -> Client:
    """A browser of the superuser."""
    return browser_of(admin)


@pytest.fixture
def bob(ada: Subscriber) -> Subscriber:
    """A contact with other columns, and with an event that Ada has too."""
    bob = create(
        {
            "email": "bob@example.com",
            "first_name": HOSTILE,
            "phone": "2",
            "status": "unsubscribed",
            "custom_values": {"plan": "gold"},
        }
    )
    Subscriber.objects.filter(pk=ada.pk).update(phone="1", custom_values={"plan": "free"})
    for email in (ada.email, ada.email, bob.email):
        track({"event_key": "k", "title": "t", "email": email})
    return bob


@pytest.fixture
def url(ada: Subscriber) -> str:
    """The URL of the page that merges a contact into Ada."""
    return f"{CONTACTS}{ada.pk}/merge/"


def rows_of(page: str) -> dict[str, list[str]]:
    """Return the cells of the table, by the first one."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    cells = [
        [text_of(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t", row, re.DOTALL)]
        for row in rows
    ]
    return {first: rest for first, *rest in cells}


def test_the_page_compares_both_contacts_and_changes_nothing(
    browser: Client, url: str, bob: Subscriber
) -> None:
    page = open_page(browser, f"{url}?other={bob.email.upper()}")
    rows = rows_of(page)
    assert rows["phone"] == ["1", "2", "phone 1 2"]
    assert rows["status"] == ["subscribed", "unsubscribed", "status unsubscribed subscribed"]
    assert rows["plan"] == ["free", "gold", "plan free gold"]
    assert rows["first name"] == ["-", ESCAPED, ESCAPED]
    assert HOSTILE not in page
    text = text_of(page)
    assert "Events joined: 1 Events moved: 0 Occurrences: 1" in text
    assert Subscriber.objects.count() == 2


def test_the_form_merges_by_the_rules_unless_something_else_is_chosen(
    browser: Client, url: str, ada: Subscriber, bob: Subscriber
) -> None:
    page = open_page(browser, f"{url}?other={bob.pk}")
    form = form_of(page, take_phone="other", **{"take_custom_values.plan": "other"})
    response = browser.post(url, form, follow=True)
    assert response.redirect_chain == [(f"{CONTACTS}{ada.pk}/", 302)]
    shown = text_of(response.content.decode())
    assert f"Contact {bob.pk} has been merged into contact {ada.pk}." in shown
    assert "Moved: 1 events joined, 1 occurrences." in shown
    assert "also bob@example.com" in shown
    contact = Subscriber.objects.get()
    assert (contact.phone, contact.status, contact.first_name) == ("2", "unsubscribed", HOSTILE)
    assert contact.custom_values == {"plan": "gold"}
    assert TrackedEvent.objects.get().counter == 3


def test_the_other_status_is_chosen_by_its_name(browser: Client, url: str, bob: Subscriber) -> None:
    form = form_of(open_page(browser, f"{url}?other={bob.pk}"), take_status="subscribed")
    browser.post(url, form)
    assert Subscriber.objects.get().status == "subscribed"


def test_an_opt_out_that_the_page_did_not_show_stays(
    browser: Client, url: str, ada: Subscriber, bob: Subscriber
) -> None:
    Subscriber.objects.filter(pk=bob.pk).update(status="pending")
    form = form_of(open_page(browser, f"{url}?other={bob.pk}"))
    Subscriber.objects.filter(pk=bob.pk).update(status="complained")
    browser.post(url, form)
    assert Subscriber.objects.get().status == "complained"


def test_a_merge_has_an_entry_in_the_history_and_in_the_audit_log_without_an_email(
    browser: Client,
    url: str,
    ada: Subscriber,
    bob: Subscriber,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("config.audit.transaction.on_commit", lambda write, **_: write())
    with caplog.at_level(logging.INFO, "tallybook.audit"):
        browser.post(url, {"other": bob.pk})
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (str(ada.pk), ada.email)
    message = f"Merged contact {bob.pk} into this one: 1 events joined, 1 occurrences."
    assert entry.change_message == message
    [line] = [json.loads(each.getMessage()) for each in caplog.records]
    assert line == {
        **{"action": "merged", "what": "contact", "number": 1, "ids": [bob.pk]},
        **{"into": ada.pk, "by": "admin", "address": "127.0.0.1"},
    }


def test_an_erasure_finds_the_history_of_both_contacts(
    browser: Client, url: str, ada: Subscriber, bob: Subscriber
) -> None:
    form = form_of(open_page(browser, f"{CONTACTS}{bob.pk}/change/"), city="Rome")
    browser.post(f"{CONTACTS}{bob.pk}/change/", form)
    browser.post(url, {"other": bob.pk})
    names = LogEntry.objects.values_list("object_repr", flat=True)
    assert set(names) == {bob.email, ada.email}
    erase_contact(ada.pk, by="eve")
    assert set(names.all()) == {"(erased)"}


@pytest.mark.parametrize("suffix", ["", "change/", "history/"])
def test_pages_of_the_merged_contact_lead_to_the_survivor(
    browser: Client, url: str, ada: Subscriber, bob: Subscriber, suffix: str
) -> None:
    browser.post(url, {"other": bob.pk})
    response = browser.get(f"{CONTACTS}{bob.pk}/{suffix}")
    assert (response.status_code, response.headers["Location"]) == (302, f"{CONTACTS}{ada.pk}/")


def test_the_list_is_searched_by_an_alias(
    browser: Client, url: str, ada: Subscriber, bob: Subscriber
) -> None:
    browser.post(url, {"other": bob.pk})
    assert ada.email in open_page(browser, f"{CONTACTS}?q=BOB@example.com")


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ("nobody@example.com", "The other contact does not exist."),
        ("987654", "The other contact does not exist."),
        ("ADA@example.com", "A contact cannot be merged with itself."),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_cannot_be_merged_is_told_on_the_page(
    browser: Client, url: str, bob: Subscriber, method: str, other: str, error: str
) -> None:
    response = getattr(browser, method)(url, {"other": other})
    assert (response.status_code, error in response.content.decode()) == (200, True)
    assert Subscriber.objects.count() == 2


def test_a_column_with_a_nul_is_unknown(browser: Client, url: str, bob: Subscriber) -> None:
    form = {"other": bob.email, "take_custom_values.a\0b": "other"}
    assert "There is no custom_values.a" in browser.post(url, form).content.decode()
    assert Subscriber.objects.filter(pk=bob.pk).exists()


@pytest.mark.parametrize("other", ["", "\0", "a\0b"])
def test_without_another_contact_the_page_asks_for_it(
    browser: Client, url: str, bob: Subscriber, other: str
) -> None:
    for response in (browser.get(url, {"other": other}), browser.post(url, {"other": other})):
        assert (response.status_code, 'name="other"' in response.content.decode()) == (200, True)


def test_the_second_of_two_posts_says_that_it_is_done(
    browser: Client, url: str, bob: Subscriber
) -> None:
    browser.post(url, {"other": bob.pk})
    response = browser.post(url, {"other": bob.pk}, follow=True)
    assert "is part of contact" in response.content.decode()
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("missing", MERGE)
def test_who_may_not_merge_sees_no_link_and_merges_nothing(
    ada: Subscriber, bob: Subscriber, url: str, missing: str
) -> None:
    browser = browser_of(staff_user("view_subscriber", *set(MERGE) - {missing}))
    assert browser.get(url).status_code == 403
    assert browser.post(url, {"other": bob.pk}).status_code == 403
    assert "/merge/" not in open_page(browser, f"{CONTACTS}{ada.pk}/")
    assert Subscriber.objects.count() == 2


def test_the_post_of_a_form_of_another_site_is_rejected(
    admin: User, url: str, bob: Subscriber
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)
    assert strict.post(url, {"other": bob.pk}).status_code == 403
    assert Subscriber.objects.count() == 2


def proposed(browser: Client) -> list[tuple[list[str], str]]:
    """Return the e-mails of each pair, and what they have in common."""
    page = open_page(browser, DUPLICATES)
    rows = re.findall(r"<tr>(.*?)</tr>", page[page.find("<tbody>") :], re.DOTALL)
    return [
        (re.findall(r"<bdi>(\S+@\S+)</bdi>", row), re.findall(r"<td>([^<]*)", row)[2].strip())
        for row in rows
    ]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"phone": "+49 (0) 151-234.56"}, {"phone": "49015123456"}, "phone"),
        ({"phone": "123456"}, {"phone": "123456"}, None),
        ({"phone": "+"}, {"phone": "-"}, None),
        ({"phone": ""}, {"phone": ""}, None),
        ({"email": "a.da+shop@example.com"}, {"email": "Ad.a@Example.com"}, "e-mail"),
        ({"email": "ada@example.com"}, {"email": "ada@example.org"}, None),
        ({"email": "+1@example.com"}, {"email": "+2@example.com"}, None),
    ],
)
def test_pairs_with_the_same_phone_or_nearly_the_same_email_are_proposed(
    browser: Client, first: Any, second: Any, reason: str | None
) -> None:
    emails = [
        create({"email": f"{name}@example.com", **fields}).email
        for name, fields in (("x", first), ("y", second))
    ]
    assert proposed(browser) == ([(emails, reason)] if reason else [])


def test_a_group_is_proposed_as_its_oldest_and_newest_with_a_link_to_merge_them(
    browser: Client,
) -> None:
    ids = [create({"email": f"c+{n}@example.com"}).pk for n in range(4)]
    page = open_page(browser, DUPLICATES)
    assert f"{CONTACTS}{ids[0]}/merge/?other={ids[-1]}" in page
    assert "e-mail of 2 more" in text_of(page)


def test_the_list_of_contacts_links_to_the_proposals(browser: Client) -> None:
    assert DUPLICATES in open_page(browser, CONTACTS)


def test_who_may_only_see_contacts_sees_the_pairs_without_links_to_merge(
    ada: Subscriber, bob: Subscriber
) -> None:
    Subscriber.objects.update(phone="0151 234567")
    page = open_page(browser_of(staff_user("view_subscriber")), DUPLICATES)
    assert (bob.email in page, "/merge/" in page) == (True, False)
