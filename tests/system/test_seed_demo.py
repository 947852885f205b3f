"""The command seed_demo as a process: while events arrive, and when its connection ends."""

import re
import subprocess
import sys

import psycopg
import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from tests.databases import use
from tests.system.database import counted, fetch_value
from tests.system.fixtures import SERVED
from tests.system.server import ROOT, Client, Server, wait_until

CONTACTS = 50
SEED = ("seed_demo", "--contacts", str(CONTACTS), "--events-per-contact", "10")
DEMO_EMAIL = re.compile(r"(?:^|\.)demo(\d+)@example\.(com|net|org)$")


def start_seeding(server: Server) -> subprocess.Popen[str]:
    """Start the command on the server's database."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *SEED],
        cwd=ROOT,
        env=server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def demo_numbers(store: psycopg.Connection) -> list[int]:
    """Return the numbers in the e-mails of demo contacts, in the order of their ids."""
    rows = store.execute("SELECT email FROM crm_subscriber ORDER BY id").fetchall()
    matches = [DEMO_EMAIL.search(email) for (email,) in rows]
    return [int(match[1]) for match in matches if match]


def test_a_second_run_adds_contacts_while_events_arrive_and_counters_stay_right(
    server: Server,
    http: Client,
    store: psycopg.Connection,
    django_db_blocker: DjangoDbBlocker,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with django_db_blocker.unblock(), use(SERVED):
        call_command(*SEED)
    contact_id = http.contact("demo70@example.org")
    before = counted(store)
    process = start_seeding(server)
    posts = 0
    while process.poll() is None:
        # The command uses the same key.
        answer = http.track(event_key="login", title=f"t{posts % 3}", subscriber_id=contact_id)
        assert answer.status == 200
        posts += 1
    printed, _ = process.communicate()
    match = re.search(r"50 contacts added, with 500 events and (\d+) occurrences\.", printed)
    assert match
    assert posts > 0
    assert demo_numbers(store)[CONTACTS:] == list(range(70, 70 + 1 + CONTACTS))
    assert counted(store) == tuple(number + posts + int(match[1]) for number in before)
    with django_db_blocker.unblock(), use(SERVED):
        call_command("verify")
    assert "every counter is right" in capsys.readouterr().out


def test_a_run_whose_connection_ends_leaves_nothing_but_tags_and_lists(
    server: Server, store: psycopg.Connection
) -> None:
    process = start_seeding(server)
    end_waiting = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks "
        "WHERE NOT granted AND relation = 'events_trackedevent'::regclass"
    )
    with store.transaction():
        # The command has written contacts and occurrences when it waits for this lock.
        store.execute("LOCK TABLE events_trackedevent")
        wait_until(lambda: store.execute(end_waiting).fetchone(), 30)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "The database does not answer" in errors
    tables = ("crm_subscriber", "events_eventname", "crm_tag", "crm_list")
    counts = [fetch_value(store, f"SELECT count(*) FROM {table}") for table in tables]
    assert counts == [0, 0, 8, 4]
    assert counted(store) == (0, 0)
