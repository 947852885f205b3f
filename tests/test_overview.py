"""The counts of the overview: bounded, and kept for a while when they were costly."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from crm.contacts import create
from events.models import EventOccurrence
from events.stats import overview
from events.tracking import track

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_kept", None)


@pytest.fixture
def six_events() -> None:
    """One on each of the last six days, each of a key of its own."""
    create({"email": "ada@example.com"})
    for days in range(6):
        track({"event_key": f"day-{days}", "title": "t", "email": "ada@example.com"})
    received = now()
    for days in range(6):
        EventOccurrence.objects.filter(event_key=f"day-{5 - days}").update(
            received_at=received - timedelta(days=5 - days)
        )
    # In the order of time, as ids are.
    ids = EventOccurrence.objects.order_by("received_at").values_list("id", flat=True)
    for place, occurrence_id in enumerate(ids):
        EventOccurrence.objects.filter(id=occurrence_id).update(id=1000 + place)


def test_all_of_thirty_days_are_counted_where_they_are_not_too_many(six_events: None) -> None:
    found = overview.counts()
    assert (found.chart.total, len(found.keys), found.since) == (6, 6, None)


def test_of_too_many_the_newest_are_counted_and_the_beginning_is_told(
    six_events: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MOST_OCCURRENCES", 2)
    found = overview.counts()
    oldest = EventOccurrence.objects.order_by("-id")[2]
    assert found.since == oldest.received_at
    assert [key for key, _ in found.keys] == ["day-0", "day-1", "day-2"]
    assert found.chart.total == 3


def test_a_costly_answer_is_given_again_and_one_that_cost_nothing_is_not(
    six_events: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for factor, total in ((0, 7), (1_000_000, 7)):
        monkeypatch.setattr(overview, "_kept", None)
        monkeypatch.setattr(overview, "KEPT_FACTOR", factor)
        before = overview.counts().chart.total
        track({"event_key": "later", "title": "t", "email": "ada@example.com"})
        assert overview.counts().chart.total == (before if factor else total)
