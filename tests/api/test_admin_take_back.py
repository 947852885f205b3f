"""The admin's page that takes an occurrence back."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent
from events.tracking import track
from tests.api.pages import browser_of, open_page, staff_user, text_of

EVENT = {"event_key": "checkout", "title": "Order <b>placed</b>", "email": "ada@example.com"}


@pytest.fixture
def occurrence(ada: Subscriber) -> EventOccurrence:
    """The newer one of two occurrences."""
    for value in ("1", "2"):
        track({**EVENT, "value": value})
    return EventOccurrence.objects.latest("id")


@pytest.fixture
def url(occurrence: EventOccurrence) -> str:
    """The URL of the page."""
    return f"/admin/events/eventoccurrence/{occurrence.pk}/take-back/"


@pytest.fixture
def browser(admin: User) -> Client:
    """A browser of the superuser."""
    return browser_of(admin)


def test_the_page_names_what_changes_and_changes_nothing(browser: Client, url: str) -> None:
    page = open_page(browser, url)
    assert "Counter of the event: 1 instead of 2" in text_of(page)
    assert "Order &lt;b&gt;placed&lt;/b&gt;" in page
    assert "csrfmiddlewaretoken" in page
    assert EventOccurrence.objects.count() == 2


def test_the_page_of_the_only_occurrence_says_that_the_event_is_deleted(
    browser: Client, url: str
) -> None:
    browser.post(url)
    last = EventOccurrence.objects.get()
    page = open_page(browser, f"/admin/events/eventoccurrence/{last.pk}/take-back/")
    assert "The event is deleted" in text_of(page)


def test_a_confirmed_occurrence_is_taken_back_with_an_entry_in_the_contacts_history(
    browser: Client, url: str, occurrence: EventOccurrence
) -> None:
    response = browser.post(url, follow=True)
    assert response.redirect_chain == [(f"/admin/crm/subscriber/{occurrence.subscriber_id}/", 302)]
    assert "counter is 1 now" in text_of(response.content.decode())
    event = TrackedEvent.objects.get()
    assert (event.counter, event.value) == (1, "1")
    entry = LogEntry.objects.get()
    assert entry.object_id == str(occurrence.subscriber_id)
    message = f"Took back occurrence {occurrence.pk} of the event {event.pk}."
    assert entry.change_message == message


def test_an_occurrence_that_is_taken_back_twice_counts_down_once(browser: Client, url: str) -> None:
    browser.post(url)
    response = browser.post(url, follow=True)
    assert "There is no such occurrence" in text_of(response.content.decode())
    assert TrackedEvent.objects.get().counter == 1
    assert LogEntry.objects.count() == 1


def test_the_post_of_a_form_of_another_site_is_rejected(admin: User, url: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)
    assert strict.post(url).status_code == 403
    assert EventOccurrence.objects.count() == 2


def test_who_may_not_delete_occurrences_sees_no_link_and_takes_back_nothing(
    url: str, occurrence: EventOccurrence
) -> None:
    user = staff_user("view_subscriber", "view_trackedevent", "view_eventoccurrence")
    browser = browser_of(user)
    for page in (
        f"/admin/events/eventoccurrence/{occurrence.pk}/change/",
        f"/admin/crm/subscriber/{occurrence.subscriber_id}/",
    ):
        assert "take-back" not in open_page(browser, page)
    assert browser.post(url).status_code == 403
    assert EventOccurrence.objects.count() == 2


@pytest.mark.parametrize(
    "page", ["/admin/events/eventoccurrence/{pk}/change/", "/admin/crm/subscriber/{contact}/"]
)
def test_pages_that_show_an_occurrence_link_to_the_page(
    browser: Client, occurrence: EventOccurrence, url: str, page: str
) -> None:
    path = page.format(pk=occurrence.pk, contact=occurrence.subscriber_id)
    assert url in re.findall(r'href="([^"]+)"', open_page(browser, path))
