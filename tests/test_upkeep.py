"""verify_counters, prune_occurrences, prune_idempotency_keys: commands on a running store."""

import subprocess
import sys
from typing import Any

import psycopg
import pytest

from tests.system.server import API, ROOT, Client, Server, manage, wait_until
from tests.system.tools import counted

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com")


def run(server: Server, *arguments: str) -> tuple[int, str]:
    """The exit code of a command and all that it says."""
    done = server.command(*arguments)
    return done.returncode, done.stdout + done.stderr


def test_verify_counters_finds_nothing_in_a_store_that_only_tracking_wrote(
    server: Server, api: Client, ada: int
) -> None:
    for number in range(3):
        api.track(**EVENT | {"title": f"t{number % 2}"})
    assert run(server, "verify_counters") == (0, "2 events, every counter is right.\n")


def test_verify_counters_names_what_differs_and_repairs_it_on_request(
    server: Server, api: Client, store: psycopg.Connection, ada: int
) -> None:
    ids = [api.track(**EVENT | {"title": title}).json()["id"] for title in "abcc"][:3]
    changes = ("counter = counter + 5", "counter = counter - 1", "unlogged = 3, counter = 7")
    for event, change in zip(ids, changes, strict=True):
        store.execute(f"UPDATE events_trackedevent SET {change} WHERE id = %s", [event])
    code, said = run(server, "verify_counters")
    assert code == 1
    assert (
        f"event {ids[0]} of contact {ada} ('k', 'a'): "
        "counter 6, but 0 unlogged + 1 occurrences" in said
    )
    for event in ids:
        assert f"event {event} of contact {ada}" in said
    assert "3 events differ" in said
    code, said = run(server, "verify_counters", "--repair")
    assert (code, said.splitlines()[-1]) == (0, "3 events repaired.")
    rows = store.execute("SELECT counter FROM events_trackedevent ORDER BY id").fetchall()
    assert rows == [(1,), (1,), (5,)]
    assert run(server, "verify_counters")[0] == 0


def test_pruning_moves_old_occurrences_into_unlogged_and_counters_stay(
    server: Server, api: Client, store: psycopg.Connection, ada: int
) -> None:
    for day in ("2020-01-01", "2020-06-01", "2021-01-01"):
        api.track(**EVENT, occurred_at=f"{day} 12:00:00")
        api.track(**EVENT | {"event_key": "other"}, occurred_at=f"{day} 12:00:00")
    api.track(**EVENT)
    code, said = run(server, "prune_occurrences", "--older-than", "400d", "--event-key", "k")
    assert code == 0
    assert "3 occurrences removed" in said
    assert "100%" in said  # the progress bar
    rows = "SELECT event_key, counter, unlogged FROM events_trackedevent ORDER BY event_key"
    assert store.execute(rows).fetchall() == [("k", 4, 3), ("other", 3, 0)]
    assert counted(store) == (7, 4)
    assert run(server, "verify_counters")[0] == 0
    page = api("GET", f"{API}/subscribers/{ada}/timeline").json()["timeline"]["data"]
    assert len(page) == 4
    assert "3 occurrences removed" in run(server, "prune_occurrences", "--older-than", "52w")[1]
    assert "0 occurrences removed" in run(server, "prune_occurrences", "--older-than", "52w")[1]
    assert store.execute(rows).fetchall() == [("k", 4, 3), ("other", 3, 3)]
    # What comes afterwards counts on.
    assert api.track(**EVENT).status == 200
    event = store.execute("SELECT id FROM events_trackedevent WHERE event_key = 'k'").fetchone()
    assert event
    shown = api("GET", f"{API}/subscribers/{ada}/tracking-events/{event[0]}/occurrences").json()
    assert shown["occurrences"]["total"] == 2
    assert shown["occurrences"]["data"][0]["counter"] == "5"


def test_pruning_goes_batch_by_batch_through_a_large_log(
    server: Server, api: Client, store: psycopg.Connection, ada: int
) -> None:
    event = api.track(**EVENT).json()["id"]
    store.execute(
        "INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, "
        "counter, properties, context, occurred_at, received_at) "
        "SELECT %s, %s, 'k', 'custom', '', n, '{}', '{}', '2020-01-01', now() "
        "FROM generate_series(1, 25000) n",
        [event, ada],
    )
    store.execute("UPDATE events_trackedevent SET counter = 25001")
    code, said = run(server, "prune_occurrences", "--older-than", "1d")
    assert (code, "25000 occurrences removed" in said) == (0, True)
    row = store.execute("SELECT counter, unlogged FROM events_trackedevent").fetchone()
    assert row == (25_001, 25_000)


@pytest.mark.parametrize("age", ["400", "-1d", "1y"])
def test_an_age_that_is_none_is_refused(server: Server, api: Client, age: str) -> None:
    code, said = run(server, "prune_occurrences", f"--older-than={age}")
    assert code == 2
    assert "--older-than" in said
    assert "Traceback" not in said


def test_an_occurrence_with_a_living_key_is_not_pruned_and_its_retry_still_counts_nothing(
    server: Server, api: Client, store: psycopg.Connection, ada: int
) -> None:
    old = {"occurred_at": "2020-01-01 12:00:00"}
    first = api.track(**EVENT, **old, idempotency_key="a")
    api.track(**EVENT, **old)
    assert "1 occurrences removed" in run(server, "prune_occurrences", "--older-than", "1d")[1]
    again = api.track(**EVENT, **old, idempotency_key="a")
    assert (again.status, again.body) == (200, first.body)
    assert counted(store) == (2, 1)
    assert run(server, "verify_counters")[0] == 0


def test_keys_are_kept_for_24_hours_and_then_forgotten(
    server: Server, api: Client, store: psycopg.Connection, ada: int
) -> None:
    for key in "ab":
        api.track(**EVENT, idempotency_key=key)
    age = "UPDATE events_idempotencykey SET created_at = now() - %s::interval WHERE key = %s"
    store.execute(age, ["23 hours 59 minutes", "a"])
    store.execute(age, ["24 hours 1 minute", "b"])
    # Older than it need be, and still there: a retry counts nothing.
    assert api.track(**EVENT, idempotency_key="b").headers["Idempotency-Replayed"] == "true"
    assert run(server, "prune_idempotency_keys") == (0, "1 idempotency keys forgotten.\n")
    for key, replayed in (("a", "true"), ("b", None)):
        answer = api.track(**EVENT, idempotency_key=key)
        assert (answer.status, answer.headers["Idempotency-Replayed"]) == (200, replayed)
    assert counted(store) == (3, 3)


def test_serve_forgets_old_keys_by_itself(
    server: Server, api: Client, store: psycopg.Connection, tmp_path: Any, ada: int
) -> None:
    api.track(**EVENT, idempotency_key="a")
    store.execute("UPDATE events_idempotencykey SET created_at = now() - interval '25 hours'")
    # Another server on the same database, which does not wait a minute.
    other = Server(tmp_path, DATABASE_URL=server.environment["DATABASE_URL"])
    script = (
        "from config.management.commands import serve\n"
        "from django.core.management import call_command\n"
        "serve.SETTLED_SECONDS = 0\n"
        "call_command('serve')"
    )
    process = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
        cwd=ROOT,
        env=other.environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        count = "SELECT count(*) FROM events_idempotencykey"
        wait_until(lambda: store.execute(count).fetchone() == (0,), 30)
    finally:
        process.terminate()
        process.wait(30)


def test_a_command_without_a_database_says_so(server: Server) -> None:
    environment = server.environment | {"DATABASE_URL": "postgres://nobody@/:1/nothing"}
    done = manage(["verify_counters"], environment)
    assert done.returncode == 1
    assert "The database does not answer; is it running?" in done.stderr
    assert "Traceback" not in done.stderr
