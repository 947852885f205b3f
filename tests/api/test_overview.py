"""The overview, the first page of the admin: what happened lately, counted within bounds."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils.timezone import now

from crm.contacts import create
from crm.models import Subscriber
from events.models import EventOccurrence
from events.stats import overview
from events.tracking import track
from tests.api.pages import browser_of, open_page, text_of, user_without
from tests.backups import daily_backup, old_store

OVERVIEW = "/admin/overview/"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop the counts that another test left in the process."""
    monkeypatch.setattr(overview, "_cached", None)


@pytest.fixture
def six_events(ada: Subscriber) -> None:
    """One on each of the last six days, each with a key of its own: day-5 is the oldest."""
    received_at = now()
    for days in reversed(range(6)):
        track({"event_key": f"day-{days}", "title": "t", "subscriber_id": ada.pk})
        EventOccurrence.objects.filter(event_key=f"day-{days}").update(
            received_at=received_at - timedelta(days=days)
        )


def counts_of(browser: Client) -> Any:
    """Return the counts that the page shows."""
    return browser.get(OVERVIEW).context["counts"]


def test_the_overview_says_when_tracking_is_switched_off(admin_client: Client) -> None:
    assert "switched off" not in open_page(admin_client, OVERVIEW)
    admin_client.post("/admin/events/trackingswitch/1/change/", {})
    assert "Tracking is switched off" in open_page(admin_client, OVERVIEW)


@pytest.mark.usefixtures("six_events")
class TestCounts:
    """The counts of the last thirty days."""

    def test_all_events_are_counted_where_they_are_few(self, admin_client: Client) -> None:
        counts = counts_of(admin_client)
        assert (counts.chart.total, len(counts.keys), counts.since) == (6, 6, None)

    def test_of_too_many_events_the_newest_are_counted(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overview, "MAX_OCCURRENCES", 2)
        counts = counts_of(admin_client)
        oldest = EventOccurrence.objects.order_by("-id")[2]
        assert counts.since == oldest.received_at
        assert [key for key, _ in counts.keys] == ["day-0", "day-1", "day-2"]
        assert counts.chart.total == 3

    def test_of_too_many_events_the_newest_are_counted_across_a_gap_of_ids(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overview, "MAX_OCCURRENCES", 2)
        with connection.cursor() as cursor:
            cursor.execute("ALTER SEQUENCE events_eventoccurrence_id_seq RESTART 281474976710656")
        track({"event_key": "later", "title": "t", "email": "ada@example.com"})
        assert counts_of(admin_client).chart.total == 3

    @pytest.mark.parametrize(("factor", "total"), [(0, 7), (1_000_000, 6)])
    def test_slow_counts_are_cached_and_fast_ones_are_not(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch, factor: int, total: int
    ) -> None:
        monkeypatch.setattr(overview, "CACHE_FACTOR", factor)
        assert counts_of(admin_client).chart.total == 6
        track({"event_key": "later", "title": "t", "email": "ada@example.com"})
        assert counts_of(admin_client).chart.total == total


@pytest.fixture
def overview_text(admin_client: Client, ada: Subscriber) -> str:
    """The text of the page after Ada bought twice, and Bob looked, and did something long ago."""
    bob = create({"email": "bob@example.com"})
    for contact, fields in (
        (ada, {"event_key": "buy"}),
        (ada, {"event_key": "buy"}),
        (bob, {"event_key": "look", "occurred_at": "2020-01-01T00:00:00Z"}),
        (bob, {"event_key": "old"}),
    ):
        track({"title": fields["event_key"], "subscriber_id": contact.pk, **fields})
    # Received before these thirty days.
    EventOccurrence.objects.filter(event_key="old").update(received_at=now() - timedelta(days=31))
    return text_of(open_page(admin_client, OVERVIEW))


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def test_events_are_counted_by_when_they_were_received(overview_text: str) -> None:
    assert "Events received in the last 30 days 3 in all" in overview_text


def test_the_top_events_are_those_received_lately(overview_text: str) -> None:
    keys = between(overview_text, "Top events", "Newest events")
    assert re.findall(r"(buy|look|old) (\d+)", keys) == [("buy", "2"), ("look", "1")]


def test_the_newest_events_are_listed_with_their_contacts(overview_text: str) -> None:
    newest = between(overview_text, "Newest events", "New contacts")
    assert re.findall(r"(buy|look|old) (?:buy|look|old) (\w+)@", newest) == [
        *(("old", "bob"), ("look", "bob"), ("buy", "ada"), ("buy", "ada"))
    ]


def test_the_newest_contacts_are_listed(overview_text: str) -> None:
    assert re.findall(r"(\w+)@", overview_text.partition("New contacts")[2]) == ["bob", "ada"]


def test_a_superuser_sees_the_age_of_the_last_backup(admin_client: Client, backups: Path) -> None:
    daily_backup(backups, hours_ago=2)
    assert "Last backup 2 hours ago" in text_of(open_page(admin_client, OVERVIEW))


def test_a_new_store_has_no_backup_yet(admin_client: Client, backups: Path) -> None:
    text = text_of(open_page(admin_client, OVERVIEW))
    assert "No backup yet." in text
    assert "There is no daily backup." not in text


def test_an_old_store_without_a_backup_is_warned_of(admin_client: Client, backups: Path) -> None:
    old_store()
    assert "There is no daily backup." in text_of(open_page(admin_client, OVERVIEW))


def test_a_late_backup_is_shown_with_the_last_failure(admin_client: Client, backups: Path) -> None:
    daily_backup(backups, hours_ago=30)
    (backups / "backup_failure").write_text("<The disk is full.>")
    text = text_of(open_page(admin_client, OVERVIEW))
    warning = (
        "The newest backup is 30 hours old. The last attempt failed: &lt;The disk is full.&gt;"
    )
    assert warning in text


def test_backups_are_shown_to_superusers_alone(db: None, backups: Path) -> None:
    daily_backup(backups, hours_ago=30)
    assert "backup" not in open_page(browser_of(user_without()), OVERVIEW)


def test_backups_that_are_switched_off_are_not_shown(admin_client: Client) -> None:
    assert "backup" not in open_page(admin_client, OVERVIEW)
