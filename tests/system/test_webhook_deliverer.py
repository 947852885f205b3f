"""Threads and processes that deliver webhooks: slow receivers, kills, and a stop."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db import connection, connections
from pytest_django import Settings as SettingsFixture

from automations.models import Attempt, Delivery, DeliveryStatus, Endpoint
from automations.webhooks import deliverer
from automations.webhooks.attempts import claim, deliver_due
from automations.webhooks.deliverer import SLOTS_PER_ENDPOINT, Deliverer
from automations.webhooks.endpoints import BREAKER_FAILURES
from crm.contacts import create, delete_contacts
from tests.api.receivers import Answering, Receiver, hangs, receiver, says
from tests.api.webhooks import deliver_to, let_time_pass
from tests.system.server import ROOT, wait_until
from tests.system.threads import in_threads

# The tables of one app are emptied after each test, because those of all take most of a second.
pytestmark = pytest.mark.django_db(transaction=True, available_apps=["automations"])
Serve = Callable[[Answering], Receiver]


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings: SettingsFixture) -> None:
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answering: stack.enter_context(receiver(answering))


@pytest.fixture
def running(serve: Serve) -> Iterator[Deliverer]:
    """A deliverer, which is stopped at the end."""
    started = Deliverer()
    yield started
    started.stop(5)


def delivered() -> int:
    return Delivery.objects.filter(status=DeliveryStatus.DELIVERED).count()


def test_a_backlog_is_delivered_without_another_tick(running: Deliverer, serve: Serve) -> None:
    receivers = [serve(says(200)) for _ in range(4)]
    for number in range(40):
        deliver_to(receivers[number % 4].url)
    running.tick()
    wait_until(lambda: delivered() == 40)
    assert [len(each.requests) for each in receivers] == [10] * 4


def test_a_slow_receiver_holds_up_itself_alone(running: Deliverer, serve: Serve) -> None:
    slow, quick = serve(hangs), serve(says(200))
    for _ in range(10):
        deliver_to(slow.url)
    for _ in range(20):
        deliver_to(quick.url)
    running.tick()
    wait_until(lambda: delivered() == 20)
    assert len(slow.requests) == SLOTS_PER_ENDPOINT
    slow.is_over.set()


def deliver_quickly(running: Deliverer, quick: Receiver) -> None:
    """Deliver to a receiver, or fail within three seconds."""
    delivery = deliver_to(quick.url)

    def has_arrived() -> bool:
        running.tick()
        return Delivery.objects.get(pk=delivery.pk).status == DeliveryStatus.DELIVERED

    wait_until(has_arrived, 3)


def test_a_quick_receiver_is_served_whatever_the_others_do(
    running: Deliverer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SLOW_SECONDS", 0.2)
    slow = [serve(hangs) for _ in range(12)]
    for _ in range(3):
        for each in slow:
            deliver_to(each.url)
    running.tick()
    quick = serve(says(200))
    for _ in range(3):
        deliver_quickly(running, quick)
    assert not any(each.is_over.is_set() for each in slow)
    for each in slow:
        each.is_over.set()


def test_endpoints_that_were_slow_have_a_part_of_the_slots(
    running: Deliverer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(deliverer, "SLOW_SLOTS", 3)
    slow = [serve(says(200)) for _ in range(6)]
    for each in slow:
        deliver_to(each.url)
    running.tick()
    wait_until(lambda: delivered() == 6)
    for each in slow:
        each.answering = hangs
        for _ in range(3):
            deliver_to(each.url)
    running.tick()
    wait_until(lambda: sum(each.at_once for each in slow) == 3)
    running.tick()
    assert Delivery.objects.filter(attempts=1, delivered_at=None).count() == 3
    for each in slow:
        each.is_over.set()


def test_a_slow_endpoint_that_is_quick_again_has_all_slots(
    running: Deliverer, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SLOW_SLOTS", 1)
    monkeypatch.setattr(deliverer, "SLOW_SECONDS", 0.0)
    one = serve(says(200))
    deliver_to(one.url)
    running.tick()
    wait_until(lambda: delivered() == 1)
    monkeypatch.setattr(deliverer, "SLOW_SECONDS", 2.0)
    deliver_to(one.url)
    running.tick()
    wait_until(lambda: delivered() == 2)
    one.answering = hangs
    for _ in range(3):
        deliver_to(one.url)
    running.tick()
    wait_until(lambda: one.at_once == SLOTS_PER_ENDPOINT)
    one.is_over.set()


def test_an_endpoint_has_two_deliveries_at_a_time(running: Deliverer, serve: Serve) -> None:
    def answer_later(connection: object, is_over: object) -> None:
        time.sleep(0.01)
        says(200)(connection, is_over)  # type: ignore[arg-type]

    one = serve(answer_later)
    for _ in range(20):
        deliver_to(one.url)
    running.tick()
    wait_until(lambda: delivered() == 20)
    assert one.most_at_once == SLOTS_PER_ENDPOINT


def test_concurrent_deliverers_make_each_attempt_once(serve: Serve) -> None:
    receivers = [serve(says(200)) for _ in range(5)]
    for number in range(60):
        deliver_to(receivers[number % 5].url)

    def work(_: int) -> None:
        while deliver_due():
            pass
        connections.close_all()

    in_threads(6, work)
    ids = Counter(request.headers["webhook-id"] for each in receivers for request in each.requests)
    assert len(ids) == 60
    assert set(ids.values()) == {1}
    assert set(Attempt.objects.values_list("number", flat=True)) == {1}


def test_of_concurrent_deliverers_one_probes_a_failing_endpoint(serve: Serve) -> None:
    one = serve(says(500))
    for _ in range(8):
        deliver_to(one.url)
    Endpoint.objects.update(failures=BREAKER_FAILURES)

    def work(_: int) -> int:
        number = len(claim(8))
        connections.close_all()
        return number

    assert sum(in_threads(6, work)) == 1


def test_a_stop_waits_for_what_is_on_its_way(serve: Serve) -> None:
    def answer_later(connection: object, is_over: object) -> None:
        time.sleep(0.2)
        says(200)(connection, is_over)  # type: ignore[arg-type]

    one = serve(answer_later)
    for _ in range(3):
        deliver_to(one.url)
    stopped = Deliverer()
    stopped.tick()
    stopped.stop(5)
    assert delivered() == SLOTS_PER_ENDPOINT
    stopped.tick()
    assert len(one.requests) == SLOTS_PER_ENDPOINT


def test_a_stop_leaves_what_takes_too_long_to_the_lease(serve: Serve) -> None:
    one = serve(hangs)
    delivery = deliver_to(one.url)
    stopped = Deliverer()
    stopped.tick()
    wait_until(lambda: one.requests)
    began = time.monotonic()
    stopped.stop(0.1)
    assert time.monotonic() - began < 1
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.PENDING
    # Its thread would use the store of the next test.
    one.is_over.set()
    stopped.stop(5)


DELIVER = """
import time
import django
django.setup()
from automations.webhooks.endpoints import BREAKER_FAILURES
from automations.webhooks.deliverer import Deliverer
running = Deliverer()
running.tick()
time.sleep(60)
"""


def test_a_delivery_whose_process_was_killed_arrives_under_the_same_id(serve: Serve) -> None:
    one = serve(hangs)
    delivery = deliver_to(one.url)
    database = connection.settings_dict
    process = subprocess.Popen(
        [sys.executable, "-c", DELIVER],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": f"postgres://{database['USER']}@/{database['HOST']}/{database['NAME']}",
            "TALLYBOOK_WEBHOOK_ALLOWED_NETS": "127.0.0.0/8",
        },
    )
    try:
        wait_until(lambda: one.requests, 30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    one.answering = says(200)
    assert deliver_due() == 0
    let_time_pass(timedelta(seconds=61))
    assert deliver_due() == 1
    assert [request.headers["webhook-id"] for request in one.requests] == [delivery.message_id] * 2


def test_a_contact_is_deleted_while_its_webhook_is_on_its_way(
    running: Deliverer, serve: Serve
) -> None:
    contact = create({"email": "ada@example.com"})
    one = serve(hangs)
    deliver_to(one.url, contact.pk)
    running.tick()
    wait_until(lambda: one.requests)
    assert delete_contacts([contact.pk])["webhook_deliveries"] == 1
    one.answering = says(200)
    one.is_over.set()
    running.stop(5)
    assert not Attempt.objects.exists()


def test_an_idle_thread_gives_its_connection_back(
    monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setattr(deliverer, "IDLE_SECONDS", 0.05)
    deliver_to(serve(says(200)).url)
    running = Deliverer()
    running.tick()
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"

    def connected() -> int:
        with connection.cursor() as cursor:
            cursor.execute(count)
            return int(cursor.fetchone()[0])

    wait_until(lambda: delivered() == 1)
    wait_until(lambda: connected() == 1)
    running.stop(5)
