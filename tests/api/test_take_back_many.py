"""Take back all occurrences that match a filter, by a job."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from crm.contacts import create
from crm.merging import merge_contacts
from crm.models import Job, JobState, Subscriber
from events.models import EventOccurrence, TrackedEvent
from events.tracking import corrections, take_back_jobs, track
from events.tracking.corrections import Corrected
from events.tracking.take_back_jobs import OccurrenceFilter, count_matching, create_take_back
from events.verification import find_differences, find_orphans
from tests.api.jobs import run_next
from tests.api.pages import browser_of, open_page, staff_user, text_of

pytestmark = pytest.mark.django_db
URL = "/admin/events/eventoccurrence/take-back/"


@pytest.fixture(autouse=True)
def six_events() -> None:
    """Six events of two contacts: three purchases of a loop among them."""
    for name in ("ada", "bob"):
        create({"email": f"{name}@example.com"})
    for name, key, provider, day in (
        ("ada", "purchase", "loop", 1),
        ("ada", "purchase", "loop", 2),
        ("ada", "purchase", "shop", 3),
        ("bob", "purchase", "loop", 4),
        ("bob", "login", "loop", 5),
        ("bob", "login", "shop", 6),
    ):
        occurred_at = datetime(2026, 1, day, tzinfo=UTC)
        event = {"event_key": key, "title": key, "provider": provider, "occurred_at": occurred_at}
        track({**event, "email": f"{name}@example.com"})


def left() -> list[int]:
    """The days of January whose occurrences are left."""
    times = EventOccurrence.objects.order_by("occurred_at").values_list("occurred_at", flat=True)
    return [each.day for each in times]


def take_back(**chosen: Any) -> Job:
    create_take_back(OccurrenceFilter(**chosen), created_by=None)
    return run_next()


@pytest.mark.parametrize(
    ("chosen", "days"),
    [
        ({"event_key": "login"}, [1, 2, 3, 4]),
        ({"provider": "loop"}, [3, 6]),
        ({"event_key": "purchase", "provider": "loop"}, [3, 5, 6]),
        ({"since": datetime(2026, 1, 3, tzinfo=UTC), "until": datetime(2026, 1, 5, tzinfo=UTC)},
         [1, 2, 5, 6]),
    ],
)  # fmt: skip
def test_what_matches_all_conditions_is_taken_back(chosen: dict[str, Any], days: list[int]) -> None:
    assert count_matching(OccurrenceFilter(**chosen)).occurrences == 6 - len(days)
    job = take_back(**chosen)
    assert (job.state, job.counts["occurrences"]) == (JobState.DONE, 6 - len(days))
    assert left() == days
    assert find_differences() == []
    assert not any(fault.number for fault in find_orphans())


def test_occurrences_of_a_contact_alone_are_taken_back() -> None:
    contact = TrackedEvent.objects.filter(event_key="login").get().subscriber_id
    take_back(contact_id=contact)
    assert left() == [1, 2, 3]


def test_contacts_with_many_occurrences_are_done_in_several_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(take_back_jobs, "OCCURRENCES_PER_STEP", 1)
    job = take_back(event_key="purchase")
    assert (job.counts, left()) == ({"occurrences": 4, "events_deleted": 2}, [5, 6])


def test_occurrences_that_a_merge_moves_meanwhile_are_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(take_back_jobs, "OCCURRENCES_PER_STEP", 2)
    ada, bob = Subscriber.objects.order_by("id")

    def merge_before_bob(contact_id: int, occurrence_ids: Sequence[int]) -> list[Corrected]:
        # After the statement that found the occurrences, before the contact is locked.
        if contact_id == bob.pk and not Subscriber.objects.filter(pk=ada.pk, phone="1").exists():
            Subscriber.objects.filter(pk=ada.pk).update(phone="1")
            merge_contacts(ada.pk, ("contact", str(bob.pk)))
        return corrections.take_back(contact_id, occurrence_ids)

    monkeypatch.setattr(take_back_jobs, "take_back", merge_before_bob)
    job = take_back(provider="loop")
    assert (left(), job.counts) == ([3, 6], {"occurrences": 4, "events_deleted": 0})


def test_events_that_arrive_after_the_number_was_named_stay() -> None:
    create_take_back(OccurrenceFilter(event_key="login"), created_by=None)
    track({"event_key": "login", "title": "login", "email": "ada@example.com"})
    run_next()
    assert TrackedEvent.objects.get(event_key="login").counter == 1


def test_a_filter_that_matches_everything_is_rejected() -> None:
    with pytest.raises(ValueError, match="all occurrences"):
        create_take_back(OccurrenceFilter(), created_by=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "all occurrences would match"),
        ({"contact": "eve@example.com"}, "No contact has the e-mail"),
        ({"since": "yesterday", "event_key": "k"}, "yesterday is no datetime"),
    ],
)
def test_the_command_rejects_wrong_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("take_back", **options)
    assert len(left()) == 6


def test_the_command_counts_first() -> None:
    out = StringIO()
    call_command("take_back", event_key="login", dry_run=True, stdout=out)
    assert out.getvalue() == "2 occurrences of 1 contacts match.\n"
    assert len(left()) == 6


def test_the_command_takes_back() -> None:
    call_command("take_back", event_key="login")
    assert left() == [1, 2, 3, 4]


def test_the_page_names_the_true_number_and_starts_the_job(admin: User) -> None:
    browser = browser_of(admin)
    page = open_page(browser, f"{URL}?key=purchase&provider=loop")
    assert "3 occurrences of 2 contacts match" in text_of(page)
    form = {"key": "purchase", "provider": "loop", "number": "3"}
    response = browser.post(URL, form)
    assert response.headers["Location"] == f"/admin/crm/job/{Job.objects.get().pk}/change/"
    run_next()
    assert left() == [3, 5, 6]


def test_the_page_starts_nothing_if_the_number_has_changed(admin: User) -> None:
    page = browser_of(admin).post(URL, {"key": "purchase", "number": "3"}).content.decode()
    assert "Other occurrences match than before" in text_of(page)
    assert not Job.objects.exists()


def test_the_page_rejects_an_empty_filter(admin: User) -> None:
    page = browser_of(admin).post(URL, {"number": "6"}).content.decode()
    assert "all occurrences would match" in text_of(page)
    assert not Job.objects.exists()


def test_the_list_leads_to_the_page_with_its_filters(admin: User) -> None:
    page = open_page(browser_of(admin), "/admin/events/eventoccurrence/?key=login")
    assert f'href="{URL}?key=login"' in page


def test_who_may_not_delete_occurrences_sees_no_page() -> None:
    browser = browser_of(staff_user("view_job", "view_subscriber", "view_eventoccurrence"))
    assert browser.get(URL).status_code == 403
