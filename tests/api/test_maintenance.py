"""The commands verify, prune_occurrences and prune_idempotency_keys."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command, execute_from_command_line
from django.db import connection
from django.utils import timezone
from pytest_django import Settings as SettingsFixture
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from events import maintenance
from events.models import EventOccurrence, IdempotencyKey, TrackedEvent
from tests.api.counts import counted

TRACK = "/subscribers/track-event"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
OLD = {"occurred_at": "2020-01-01 12:00:00"}


def track(api: APIClient, **fields: Any) -> Any:
    """Track EVENT with other fields, which has to be accepted."""
    response = api.post(TRACK, EVENT | fields)
    assert response.status_code == 200
    return response


def run(*arguments: str) -> str:
    """Run a command, and return what it prints to stdout."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def counters() -> list[tuple[str, int, int]]:
    """Return key, counter and unlogged of each event."""
    events = TrackedEvent.objects.order_by("event_key", "id")
    return list(events.values_list("event_key", "counter", "unlogged"))


def test_verify_accepts_what_tracking_wrote(api: APIClient, ada: Subscriber) -> None:
    for title in ("t0", "t1", "t0"):
        track(api, title=title)
    assert run("verify") == "2 events, every counter is right, and no row is orphaned.\n"


@pytest.fixture
def wrong_counters(api: APIClient, ada: Subscriber) -> list[int]:
    """The ids of three events whose counters are wrong."""
    ids = [track(api, title=title).json()["id"] for title in ("a", "b", "c")]
    track(api, title="c")
    changes = ({"counter": 6}, {"counter": 0}, {"unlogged": 3, "counter": 7})
    for event_id, change in zip(ids, changes, strict=True):
        TrackedEvent.objects.filter(pk=event_id).update(**change)
    return ids


def test_verify_reports_events_that_differ(wrong_counters: list[int], ada: Subscriber) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="3 events differ") as error:
        call_command("verify", stdout=out)
    assert error.value.returncode == 1
    assert (
        f"event {wrong_counters[0]} of contact {ada.pk} ('k', 'a'): "
        "counter 6, but 0 unlogged + 1 occurrences\n" in out.getvalue()
    )
    for event_id in wrong_counters:
        assert f"event {event_id} of contact {ada.pk}" in out.getvalue()


def test_verify_repairs_events_on_request(wrong_counters: list[int]) -> None:
    assert run("verify", "--repair").splitlines()[-1] == "3 events repaired."
    assert counters() == [("k", 1, 0), ("k", 1, 0), ("k", 5, 3)]
    assert run("verify") == "3 events, every counter is right, and no row is orphaned.\n"


def test_verify_counts_the_occurrences_of_the_event_s_contact_only(
    api: APIClient, ada: Subscriber
) -> None:
    track(api)
    bob = create({"email": "bob@example.com"})
    EventOccurrence.objects.update(subscriber=bob)
    with pytest.raises(CommandError, match=r"1 occurrences without an event.*1 events differ"):
        run("verify")


@pytest.fixture
def old_events(api: APIClient, ada: Subscriber) -> None:
    """Three old occurrences each of the keys "k" and "other", and a new one of "k"."""
    for day in ("2020-01-01", "2020-06-01", "2021-01-01"):
        for key in ("k", "other"):
            track(api, event_key=key, occurred_at=f"{day} 12:00:00")
    track(api)


def prune(age: str, *arguments: str) -> str:
    """Prune occurrences, and return what the command prints."""
    return run("prune_occurrences", "--older-than", age, *arguments)


@pytest.mark.usefixtures("old_events")
class TestPruning:
    """prune_occurrences on a log with six old occurrences and a new one."""

    def test_old_occurrences_of_a_key_move_into_unlogged(self) -> None:
        assert "3 occurrences deleted" in prune("400d", "--event-key", "k")
        assert counters() == [("k", 4, 3), ("other", 3, 0)]
        assert counted() == (7, 4)
        assert "every counter is right" in run("verify")

    def test_the_progress_bar_reaches_100_percent(self, capsys: pytest.CaptureFixture[str]) -> None:
        prune("400d", "--event-key", "k")
        assert "100%" in capsys.readouterr().err

    def test_a_pruned_timeline_shows_what_is_left(self, api: APIClient, ada: Subscriber) -> None:
        prune("400d", "--event-key", "k")
        timeline = api.get(f"/subscribers/{ada.pk}/timeline").json()["timeline"]
        assert len(timeline["data"]) == 4

    def test_old_occurrences_of_all_keys_are_deleted(self) -> None:
        assert "6 occurrences deleted" in prune("52w")
        assert counters() == [("k", 4, 3), ("other", 3, 3)]

    def test_a_second_run_deletes_only_what_the_first_one_left(self) -> None:
        prune("400d", "--event-key", "k")
        assert "3 occurrences deleted" in prune("52w")
        assert "0 occurrences deleted" in prune("52w")
        assert counters() == [("k", 4, 3), ("other", 3, 3)]

    def test_later_events_continue_the_count(self, api: APIClient, ada: Subscriber) -> None:
        prune("52w")
        event_id = track(api).json()["id"]
        path = f"/subscribers/{ada.pk}/tracking-events/{event_id}/occurrences"
        occurrences = api.get(path).json()["occurrences"]
        assert occurrences["total"] == 2
        assert occurrences["data"][0]["counter"] == "5"


def test_pruning_a_large_log_deletes_every_batch(api: APIClient, ada: Subscriber) -> None:
    event_id = track(api).json()["id"]
    with connection.cursor() as cursor:
        # The ORM takes ten times as long.
        cursor.execute(
            "INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, "
            "value, counter, properties, context, occurred_at, received_at) "
            "SELECT %s, %s, 'k', 'custom', '', n, '{}', '{}', '2020-01-01', now() "
            "FROM generate_series(1, 25000) n",
            [event_id, ada.pk],
        )
    TrackedEvent.objects.update(counter=25_001)
    assert "25000 occurrences deleted" in prune("1d")
    assert counters() == [("k", 25_001, 25_000)]


def test_pruning_goes_through_all_contacts(
    api: APIClient, ada: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "CONTACTS_PER_TURN", 1)
    create({"email": "bob@example.com"})
    for email in ("ada@example.com", "bob@example.com"):
        track(api, email=email, **OLD)
    assert "2 occurrences deleted" in prune("1d")
    assert counters() == [("k", 1, 1), ("k", 1, 1)]


def test_pruning_does_not_count_through_a_gap_of_ids(api: APIClient, ada: Subscriber) -> None:
    track(api, **OLD)
    with connection.cursor() as cursor:
        # The ids of another node of a distributed database.
        cursor.execute("ALTER SEQUENCE events_eventoccurrence_id_seq RESTART 281474976710656")
    track(api, **OLD)
    assert "2 occurrences deleted" in prune("1d")


@pytest.mark.parametrize("age", ["400", "-1d", "1y"])
def test_an_invalid_age_is_rejected(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        execute_from_command_line(["manage.py", "prune_occurrences", f"--older-than={age}"])
    assert error.value.code == 2
    assert "--older-than" in capsys.readouterr().err


def test_an_occurrence_whose_key_is_kept_is_not_pruned(api: APIClient, ada: Subscriber) -> None:
    first = track(api, **OLD, idempotency_key="a")
    track(api, **OLD)
    assert "1 occurrences deleted" in prune("1d")
    retry = track(api, **OLD, idempotency_key="a")
    assert retry.content == first.content
    assert counted() == (2, 1)
    assert "every counter is right" in run("verify")


@pytest.fixture
def aged_keys(api: APIClient, ada: Subscriber) -> None:
    """The keys "a" and "b", which are a minute younger and a minute older than 24 hours."""
    now = timezone.now()
    for key, minutes in (("a", -1), ("b", 1)):
        track(api, idempotency_key=key)
        created_at = now - timedelta(days=7, minutes=minutes)
        IdempotencyKey.objects.filter(key=key).update(created_at=created_at)


@pytest.mark.usefixtures("aged_keys")
def test_a_key_older_than_seven_days_is_recognized_until_it_is_pruned(api: APIClient) -> None:
    assert track(api, idempotency_key="b").headers["Idempotency-Replayed"] == "true"
    assert counted() == (2, 2)


@pytest.mark.usefixtures("aged_keys")
def test_keys_older_than_seven_days_are_pruned(api: APIClient) -> None:
    assert run("prune_idempotency_keys") == "1 idempotency keys deleted.\n"
    assert IdempotencyKey.objects.get().key == "a"


@pytest.mark.usefixtures("aged_keys")
def test_a_retry_after_its_key_was_pruned_counts_again(api: APIClient) -> None:
    run("prune_idempotency_keys")
    assert track(api, idempotency_key="a").headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in track(api, idempotency_key="b").headers
    assert counted() == (3, 3)


def test_sessions_that_ended_are_deleted_every_hour(db: None) -> None:
    for key, days in (("ended", -1), ("lasts", 1)):
        Session.objects.create(session_key=key, expire_date=timezone.now() + timedelta(days=days))
    call_command("hourly")
    assert Session.objects.get().session_key == "lasts"


def test_an_hourly_command_that_fails_is_reported_and_stops_no_other(
    db: None, settings: SettingsFixture
) -> None:
    settings.HOURLY_COMMANDS = ["no_such_command", "clearsessions"]
    Session.objects.create(session_key="ended", expire_date=timezone.now() - timedelta(days=1))
    stderr = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("hourly", stderr=stderr)
    assert ended.value.code == 1
    assert stderr.getvalue() == "no_such_command: Unknown command: 'no_such_command'\n"
    assert not Session.objects.exists()
