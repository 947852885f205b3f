"""Automations whose processes are killed start each contact once, and do each step once.

Their webhooks arrive at least once, under one id.
"""

import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_django import DjangoDbBlocker
from pytest_django import Settings as SettingsFixture

from automations.writing import create_automation, publish
from config.server.postgres import USER, socket_dir
from config.server.processes import AUTOMATIONS_NAME, WORKER_NAME
from crm.models import Tag
from tests.api.receivers import Receiver
from tests.databases import use
from tests.long import long
from tests.system.automations import ALL_ORPHANS
from tests.system.database import assert_nothing_is_orphaned_or_miscounted, fetch_value
from tests.system.processes import named, postmaster
from tests.system.server import Server, wait_until
from tests.system.unreliable import check_deliveries, pass_pauses, unreliable_receiver

CLIENTS = 4
STEPS = 7
# A run without a doubled or a lost step has these, in this order.
OUTCOMES = ["done", "done", "yes", "done", "done", "done", "done"]
SEED = """
INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, life_time_value,
                            custom_values, created_at, updated_at)
SELECT email, email, 'subscribed', 'lead', 0, 0, '{}', now(), now()
FROM (SELECT 'c' || n || '@example.com' AS email FROM generate_series(1, %s) n) row
"""
# An hour passes.
PASS_TIME = "UPDATE automations_run SET due_at = clock_timestamp() WHERE due_at > clock_timestamp()"
LEDGER = """
SELECT outcomes, count(*) FROM (
    SELECT r.id, array_agg(s.outcome::text ORDER BY s.id) AS outcomes
    FROM automations_run r LEFT JOIN automations_runstep s ON s.run_id = r.id
    WHERE r.status = 'completed' GROUP BY r.id) run
GROUP BY outcomes
"""
TRACKED = """
SELECT event_key, count(*), count(DISTINCT subscriber_id), sum(counter)::int
FROM events_trackedevent GROUP BY event_key ORDER BY event_key
"""
Kill = Callable[[Server], None]


@pytest.fixture
def killed(
    first_server: Server,
    tmp_path: Path,
    django_db_blocker: DjangoDbBlocker,
    settings: SettingsFixture,
) -> Iterator[Server]:
    """A server of its own, whose processes are killed. Django may write into its store."""
    variables = {"TALLYBOOK_WORKERS": "1", "TALLYBOOK_WEBHOOK_ALLOWED_NETS": "127.0.0.0/8"}
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.0/8")]
    server = first_server.copy(tmp_path, **variables).start()
    with django_db_blocker.unblock():
        yield server
    server.ensure_stopped()


@pytest.fixture
def one() -> Iterator[Receiver]:
    """A receiver of the webhooks, which fails at times."""
    with unreliable_receiver() as running:
        yield running


def connect(server: Server) -> psycopg.Connection:
    host = str(socket_dir(server.data_dir))
    return psycopg.connect(host=host, user=USER, dbname="tallybook", autocommit=True)


def kill_named(server: Server, name: str) -> None:
    assert server.process
    for pid in named(server.process.pid, name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_worker(server: Server) -> None:
    kill_named(server, AUTOMATIONS_NAME)


def kill_web(server: Server) -> None:
    kill_named(server, WORKER_NAME)


def kill_postgres(server: Server) -> None:
    with suppress(OSError, ProcessLookupError):
        os.kill(postmaster(server), signal.SIGKILL)


def kill_serve(server: Server) -> None:
    """Kill `serve`, and start it again."""
    server.stop(signal.SIGKILL)
    server.start()


KILLS: tuple[Kill, ...] = (kill_worker, kill_web, kill_postgres, kill_serve)


def track_until_accepted(server: Server, numbers: range, is_over: threading.Event) -> None:
    """Let contacts check out, and repeat each request with its key until it is accepted."""
    client = server.client(timeout=5)
    for number in numbers:
        event = {"event_key": "checkout", "title": "Order", "email": f"c{number}@example.com"}
        while not is_over.is_set():
            with suppress(OSError, http.client.HTTPException):
                if client.track(**event, idempotency_key=f"order-{number}").status == 200:
                    break
            is_over.wait(0.05)
    client.close()


def fetch(server: Server, query: str, default: Any) -> Any:
    """Return the first column of a query, or the default while PostgreSQL is away."""
    with suppress(psycopg.OperationalError), connect(server) as store:
        return fetch_value(store, query)
    return default


def publish_ledger(server: Server, url: str) -> None:
    """Publish the automation whose steps OUTCOMES has."""

    def mark(key: str) -> dict[str, Any]:
        return {"type": "track_event", "event_key": key, "title": "Marked"}

    with use("tallybook", str(socket_dir(server.data_dir))):
        vip = Tag.objects.create(title="VIP", slug="vip").pk
        condition = {"source": ["segment", "tags"], "operator": "in", "value": [vip]}
        branches = {"then": [mark("two")], "else": [mark("none")]}
        data = {
            "title": "Ledger",
            "trigger": {"type": "event", "event_key": "checkout"},
            "reentry": "after_end",
            "max_starts_per_hour": 1_000_000,
            "steps": [
                {"type": "add_tags", "tags": [vip]},
                mark("one"),
                {"type": "if", "conditions": [[condition]], **branches},
                {"type": "webhook", "url": url},
                {"type": "wait", "wait": {"hours": 1}},
                mark("three"),
            ],
        }
        publish(create_automation(data).pk)


def run_with_kills(server: Server, url: str, contacts: int, kills: list[Kill]) -> None:
    """Let each contact check out once while processes are killed, and wait until all is done.

    Each run posts to the URL.
    """
    publish_ledger(server, url)
    with connect(server) as store:
        store.execute(SEED.replace("%s", str(contacts)))
        armed = "SELECT count(*) FROM automations_automation WHERE armed_at IS NOT NULL"
        wait_until(lambda: fetch_value(store, armed), 30)
    is_over = threading.Event()
    shares = [range(first, contacts + 1, CLIENTS) for first in range(1, CLIENTS + 1)]
    clients = [
        threading.Thread(target=track_until_accepted, args=(server, share, is_over))
        for share in shares
    ]
    for thread in clients:
        thread.start()
    steps = "SELECT count(*)::int FROM automations_runstep"
    try:
        for number, kill in enumerate(kills):
            # Spread over the whole.
            aim = contacts * STEPS * (number + 1) // (len(kills) + 2)
            wait_for(server, steps, aim)
            kill(server)
        for thread in clients:
            thread.join(300)
    finally:
        is_over.set()
    completed = "SELECT count(*)::int FROM automations_run WHERE status = 'completed'"
    wait_for(server, completed, contacts)
    ended = "SELECT count(*)::int FROM automations_delivery WHERE status <> 'pending'"
    wait_for(server, ended, contacts)


def wait_for(server: Server, query: str, number: int) -> None:
    """Wait until a query returns at least a number, while the time of waits and retries passes."""
    wait_until(lambda: pass_time(server) and fetch(server, query, 0) >= number, 300)


def pass_time(server: Server) -> bool:
    """Let waits end, and retries be due. Returns whether PostgreSQL is there."""
    time.sleep(0.1)
    with suppress(psycopg.OperationalError), connect(server) as store:
        store.execute(PASS_TIME)
        pass_pauses(store)
        return True
    return False


def check(server: Server, contacts: int) -> None:
    """Check that each contact has started once and done each step once."""
    with connect(server) as store:
        assert store.execute(LEDGER).fetchall() == [(OUTCOMES, contacts)]
        assert fetch_value(store, "SELECT count(*) FROM automations_run") == contacts
        once = (contacts, contacts, contacts)
        tracked = {key: tuple(row) for key, *row in store.execute(TRACKED).fetchall()}
        assert tracked == {"checkout": once, "one": once, "two": once, "three": once}
        assert fetch_value(store, "SELECT count(*) FROM crm_subscriber_tags") == contacts
        assert fetch_value(store, "SELECT count(*) FROM crm_outboxentry") == 0
        assert store.execute(ALL_ORPHANS).fetchall() == []
        assert_nothing_is_orphaned_or_miscounted(store)


def test_automations_whose_processes_are_killed_do_each_step_once(
    killed: Server, one: Receiver
) -> None:
    run_with_kills(killed, one.url, 60, [kill_worker, kill_postgres, kill_web])
    check(killed, 60)
    with connect(killed) as store:
        check_deliveries(store, one)


@long
def test_5000_starts_survive_twenty_kills(killed: Server, one: Receiver) -> None:
    chance = random.Random(17)
    run_with_kills(killed, one.url, 5_000, [chance.choice(KILLS) for _ in range(20)])
    check(killed, 5_000)
    with connect(killed) as store:
        check_deliveries(store, one)
