"""A contact's page in the admin: figures, chart, timeline, and the page of an occurrence."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from crm.attachments import attach
from crm.contacts import create
from crm.labels import resolve_label_ids
from crm.models import Subscriber
from events.tracking import track
from tests.api.many import add_events, add_occurrences
from tests.api.pages import CONTACTS, open_page, text_of
from tests.api.statements import count_statements

pytestmark = pytest.mark.django_db
# Besides, a user who is no superuser needs one statement for their own permissions and one for
# their groups'. The runs of automations are one.
MAX_STATEMENTS = 13 - 2 + 1


@pytest.fixture
def path(ada: Subscriber) -> str:
    """The URL of Ada's page."""
    return f"{CONTACTS}{ada.pk}/"


def did(contact: Subscriber, event_key: str, **fields: object) -> None:
    """Track an event of a contact."""
    track({"event_key": event_key, "title": event_key, "subscriber_id": contact.pk, **fields})


def record_url(page: str) -> str:
    """Return the URL of the first occurrence in a timeline."""
    record = re.search(r'href="(/admin/events/eventoccurrence/\d+/change/)"', page)
    assert record
    return record[1]


@pytest.mark.parametrize(
    "text",
    [
        "E-mail ada@example.com",
        "Status Subscribed",
        "Tags VIP",
        "Lists News",
        "First seen now",
        "Distinct events 2",
        "Events in all 4",
        "Last 90 days 4 events, by when they happened",
        "buy 3",
        "number 3 of this event",
        "{ &quot;total&quot;: 12 }",
        "url https://example.com/x",
    ],
)
def test_the_page_shows_who_the_contact_is_and_what_they_did(
    admin_client: Client, ada: Subscriber, path: str, text: str
) -> None:
    attach("tags", [ada.pk], resolve_label_ids("tags", ["VIP"], create=True))
    attach("lists", [ada.pk], resolve_label_ids("lists", ["News"], create=True))
    for _ in range(3):
        did(ada, "buy", value="12", properties={"order": {"total": 12}})
    did(ada, "look", provider="app", context={"url": "https://example.com/x"})
    assert text in text_of(open_page(admin_client, path))


class TestLongTexts:
    """A value of 5,234 characters and a property of 4,001, with another after it."""

    @pytest.fixture
    def page(self, admin_client: Client, ada: Subscriber, path: str) -> str:
        """Ada's page."""
        properties = {"note": "n" * 4001, "z_later": "unseen"}
        did(ada, "k", value="v" * 5234, properties=properties)
        return open_page(admin_client, path)

    def test_of_a_long_text_the_beginning_is_shown(self, page: str) -> None:
        assert re.findall("v{100,}|n{100,}", page) == ["v" * 120, "v" * 4000, "n" * 4000]

    def test_it_is_said_how_much_is_left_out(self, page: str) -> None:
        assert re.findall("and ([0-9,]+) more characters", page) == ["1,234", "1", "6"]

    def test_the_occurrence_shows_all_of_it(self, admin_client: Client, page: str) -> None:
        assert "v" * 5234 in open_page(admin_client, record_url(page))


def test_a_contact_without_events_has_a_page(admin_client: Client, path: str) -> None:
    page = open_page(admin_client, path)
    assert "No events yet." in page
    assert "never" in page


def test_the_chart_counts_the_last_ninety_days_and_no_others(
    admin_client: Client, ada: Subscriber, path: str
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    oldest = today - timedelta(days=89)
    before, tomorrow = oldest - timedelta(seconds=1), today + timedelta(days=1, seconds=1)
    for day in (today, today, oldest, before, tomorrow):
        did(ada, "k", occurred_at=day.isoformat())
    titles = re.findall(r"<title>(\w+ [^<]*: \d+)</title>", open_page(admin_client, path))
    assert len(titles) == 90
    assert [title for title in titles if not title.endswith(": 0")] == [
        f"{day:%a} {day.day} {day:%B %Y}: {number}" for day, number in ((oldest, 1), (today, 2))
    ]


def test_an_occurrence_shows_its_properties_line_by_line(
    admin_client: Client, ada: Subscriber, path: str
) -> None:
    did(ada, "k", properties={"note": "\u202eevil", "<b>": 1})
    page = open_page(admin_client, record_url(open_page(admin_client, path)))
    lines = re.findall("<bdi>(.*?)</bdi>", page.partition("<pre>")[2])
    assert "  &quot;note&quot;: &quot;\u202eevil&quot;" in lines
    assert "  &quot;&lt;b&gt;&quot;: 1," in lines


def test_the_timeline_continues_at_a_cursor_with_its_filters(
    admin_client: Client, ada: Subscriber, path: str
) -> None:
    did(ada, "many")
    add_occurrences(ada, 119)
    for when in ("2020-01-01T00:00:00Z", datetime.now(UTC).isoformat()):
        did(ada, "other", occurred_at=when)
    query, numbers = "?event_key=many&provider=custom", []
    for _ in range(3):
        page = open_page(admin_client, f"{path}{query}&piece=1")
        assert "<html" not in page
        assert "other" not in page
        numbers += re.findall(r"number (\d+) of this event", page)
        older = re.search(r'href="(\?[^"]*before=[^"]*)" id="load-older"', page)
        query = older[1].replace("&amp;", "&") if older else ""
    assert not query
    assert len(numbers) == 120
    assert numbers[1:] == [str(number) for number in range(1, 120)]


@pytest.mark.parametrize(
    "query", ["before=x", "before=1-", "event_key=%00", "before=9-9999999999999999999"]
)
def test_an_invalid_query_of_a_timeline_is_not_found(
    admin_client: Client, path: str, query: str
) -> None:
    assert admin_client.get(f"{path}?{query}").status_code == 404


@pytest.mark.parametrize("contact_id", ["0", "999999999", "9223372036854775808", "9" * 40])
def test_a_contact_that_does_not_exist_has_no_page(admin_client: Client, contact_id: str) -> None:
    assert admin_client.get(f"{CONTACTS}{contact_id}/").status_code == 404


def test_a_long_history_takes_as_many_statements_as_a_short_one(
    admin_client: Client, ada: Subscriber, path: str
) -> None:
    bob = create({"email": "bob@example.com"})
    did(ada, "k")
    add_events(bob, 300)
    add_occurrences(bob, 5000)
    short = count_statements(lambda: open_page(admin_client, path))
    long = count_statements(lambda: open_page(admin_client, f"{CONTACTS}{bob.pk}/"))
    assert short == long <= MAX_STATEMENTS
