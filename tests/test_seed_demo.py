"""seed_demo: a believable store, made past track(), that looks as if track() had made it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from tests.conftest import EMPTY
from tests.system.server import API, ROOT, Server, wait_until
from tests.system.tools import counted

CONTACTS, EVENTS = 50, 10
SEED = ("seed_demo", "--contacts", str(CONTACTS), "--events-per-contact", str(EVENTS))
WHO_DID_WHAT = r"""
SELECT array_agg((email, first_name, status, event_key, title, value, counter) ORDER BY e.id)
FROM events_trackedevent e JOIN crm_subscriber s ON s.id = subscriber_id
WHERE email ~ '\mdemo([1-9]|[1-4][0-9]|50)@'
"""


@pytest.fixture(scope="module")
def seeded(server: Server, sql: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A store that the command filled once; tests that write come after those that read."""
    sql.execute(EMPTY)
    # Room that other tests left would be filled first.
    sql.execute("TRUNCATE events_eventoccurrence")
    server.manage(*SEED)
    yield sql
    sql.execute(EMPTY)


def value(store: psycopg.Connection, query: str) -> Any:
    row = store.execute(query).fetchone()
    assert row is not None
    return row[0]


def numbers(store: psycopg.Connection) -> list[int]:
    rows = store.execute("SELECT email FROM crm_subscriber ORDER BY id").fetchall()
    found = [re.search(r"(?:^|\.)demo(\d+)@example\.(com|net|org)$", email) for (email,) in rows]
    return [int(match[1]) for match in found if match]


def test_it_makes_as_many_contacts_and_events_as_asked(seeded: psycopg.Connection) -> None:
    assert numbers(seeded) == list(range(1, CONTACTS + 1))
    per_contact = "SELECT count(*) FROM events_trackedevent GROUP BY subscriber_id"
    assert seeded.execute(per_contact).fetchall() == [(EVENTS,)] * CONTACTS
    assert 1.5 < value(seeded, "SELECT avg(counter) FROM events_trackedevent") < 2.5
    assert value(seeded, "SELECT max(counter) FROM events_trackedevent") > 8
    assert value(seeded, "SELECT count(*) FROM crm_subscriber_tags") > CONTACTS / 2
    assert value(seeded, "SELECT count(*) FROM crm_subscriber_lists") > CONTACTS / 2


def test_the_log_tells_what_the_events_say(seeded: psycopg.Connection) -> None:
    events = """
    SELECT id, counter, subscriber_id, event_key, provider, value, created_at, updated_at
    FROM events_trackedevent ORDER BY id
    """
    logged = """
    SELECT event_id, count(*), min(subscriber_id), min(event_key),
           (array_agg(provider ORDER BY id))[1], (array_agg(value ORDER BY id DESC))[1],
           min(occurred_at), max(occurred_at)
    FROM events_eventoccurrence GROUP BY event_id ORDER BY event_id
    """
    assert seeded.execute(events).fetchall() == seeded.execute(logged).fetchall()
    others = """
    SELECT count(*) FROM events_trackedevent
    WHERE NOT repeatable OR created_by_id IS NOT NULL OR unlogged <> 0
    """
    assert value(seeded, others) == 0


def test_the_occurrences_of_an_event_count_from_1(seeded: psycopg.Connection) -> None:
    counts = """
    SELECT counter, row_number() OVER (PARTITION BY event_id ORDER BY occurred_at, id)
    FROM events_eventoccurrence
    """
    assert all(counter == place for counter, place in seeded.execute(counts).fetchall())


def test_times_are_neither_in_the_future_nor_before_the_contact(
    seeded: psycopg.Connection,
) -> None:
    wrong = """
    SELECT count(*) FROM events_eventoccurrence o JOIN crm_subscriber s ON s.id = subscriber_id
    WHERE received_at <> occurred_at OR occurred_at > now() OR occurred_at < s.created_at
       OR occurred_at < now() - interval '401 days' OR occurred_at > last_activity
    """
    assert value(seeded, wrong) == 0
    lately = "SELECT avg((occurred_at > now() - '100 days'::interval)::int) FROM {}"
    assert value(seeded, lately.format("events_eventoccurrence")) > 0.4


@pytest.mark.parametrize(
    ("table", "moment"),
    [("events_eventoccurrence", "received_at"), ("events_trackedevent", "created_at")],
)
def test_ids_ascend_in_the_order_of_time(
    seeded: psycopg.Connection, table: str, moment: str
) -> None:
    by_id, by_time = (
        value(seeded, f"SELECT array_agg({moment} ORDER BY {column}) FROM {table}")
        for column in ("id", moment)
    )
    assert by_id == by_time


def test_the_log_lies_on_disk_in_the_order_of_time(seeded: psycopg.Connection) -> None:
    # As its BRIN index needs it; known because the command has analyzed the table.
    lies = (
        "SELECT correlation FROM pg_stats "
        "WHERE tablename = 'events_eventoccurrence' AND attname = 'received_at'"
    )
    assert value(seeded, lies) > 0.95


def test_all_40_keys_are_used_and_in_the_catalogue(seeded: psycopg.Connection) -> None:
    names = "SELECT name, first_seen_at FROM events_eventname ORDER BY name"
    used = "SELECT event_key, min(created_at) FROM events_trackedevent GROUP BY 1 ORDER BY 1"
    rows = seeded.execute(names).fetchall()
    assert rows == seeded.execute(used).fetchall()
    assert len(rows) == 40
    assert {"purchase", "login", "lesson_completed"} < {name for name, _ in rows}


def test_values_are_numbers_where_the_key_calls_for_them(seeded: psycopg.Connection) -> None:
    totals = (
        "SELECT value, properties->>'total' FROM events_eventoccurrence "
        "WHERE event_key IN ('purchase', 'cart_total')"
    )
    rows = seeded.execute(totals).fetchall()
    assert rows
    assert all(0 <= float(number) <= 1000 for number, _ in rows)
    assert all(float(number) == float(total) for number, total in rows)


def test_its_contacts_are_found_by_the_api(server: Server, seeded: psycopg.Connection) -> None:
    client = server.client()
    found = client("GET", f"{API}/subscribers?search=demo7@").json()["subscribers"]
    assert found["total"] == 1
    contact = found["data"][0]["id"]
    page = client("GET", f"{API}/subscribers/{contact}/tracking-events").json()
    client.close()
    assert page["events"]["total"] == EVENTS


def test_a_further_run_adds_others_while_events_arrive_and_every_counter_is_right(
    server: Server, seeded: psycopg.Connection
) -> None:
    client = server.client()
    ada = client.contact("demo70@example.org")
    before = counted(seeded)
    process = subprocess.Popen(
        [sys.executable, "manage.py", *SEED],
        cwd=ROOT,
        env=server.environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    posts = 0
    while process.poll() is None:
        # Keys that the command uses, too, and one of its contacts.
        answer = client.track(event_key="login", title=f"t{posts % 3}", subscriber_id=ada)
        assert answer.status == 200
        posts += 1
    client.close()
    said, _ = process.communicate()
    told = re.search(r"50 contacts added, with 500 events that happened (\d+) times.", said)
    assert told
    assert numbers(seeded)[CONTACTS:] == list(range(70, 70 + 1 + CONTACTS))
    assert counted(seeded) == tuple(number + posts + int(told[1]) for number in before)
    assert "every counter is right" in server.manage("verify_counters")


def test_every_empty_store_gets_the_same(server: Server, seeded: psycopg.Connection) -> None:
    first = value(seeded, WHO_DID_WHAT)
    seeded.execute(EMPTY)
    server.manage(*SEED)
    assert len(first) == CONTACTS * EVENTS
    assert value(seeded, WHO_DID_WHAT) == first


def test_a_run_that_breaks_off_leaves_nothing_but_tags_and_lists(
    server: Server, store: psycopg.Connection
) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", *SEED],
        cwd=ROOT,
        env=server.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    waiting = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks "
        "WHERE NOT granted AND relation = 'events_trackedevent'::regclass"
    )
    with store.transaction():
        # Contacts and occurrences are written before.
        store.execute("LOCK TABLE events_trackedevent")
        wait_until(lambda: store.execute(waiting).fetchone(), 30)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "The database does not answer" in said
    tables = ("crm_subscriber", "events_eventname", "crm_tag", "crm_list")
    assert [value(store, f"SELECT count(*) FROM {table}") for table in tables] == [0, 0, 8, 4]
    assert counted(store) == (0, 0)


@pytest.mark.parametrize(
    ("contacts", "events", "why"),
    [
        (0, 10, "--contacts must be 1 or more"),
        (-1, 10, "--contacts must be 1 or more"),
        (10, 0, "--events-per-contact must be 1 to 200"),
        (10, 201, "--events-per-contact must be 1 to 200"),
        (1_000_000, 11, "At most 10,000,000 events at once"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_the_database_is_asked(
    contacts: int, events: int, why: str
) -> None:
    # pytest-django would not let it near the database.
    with pytest.raises(CommandError, match=why):
        call_command("seed_demo", contacts=contacts, events_per_contact=events)
