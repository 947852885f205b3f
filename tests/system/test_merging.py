"""Contacts are merged while events and contacts arrive, and while what merges them is killed."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from config.api.errors import InvalidFields
from config.database import fetch_rows
from config.server.postgres import USER, socket_dir
from crm.aliases import find_holder
from crm.contacts import (
    EmailTaken,
    create,
    create_for_events,
    create_or_update,
    update,
)
from crm.merge_plans import Choice
from crm.merging import merge_contacts
from crm.models import Subscriber
from events.models import TrackedEvent
from events.tracking import track
from events.tracking.batches import Tracked, track_many
from events.verification import find_differences
from tests.long import long
from tests.system.database import (
    assert_nothing_is_orphaned_or_miscounted,
    count_deadlocks,
    counted,
    fetch_value,
    waiting_for_locks,
)
from tests.system.processes import postmaster
from tests.system.server import API, Client, Server, wait_until
from tests.system.stores import begun, wait_for_statement
from tests.system.threads import in_threads

ADA, BOB, CYD = (f"{name}@example.com" for name in ("ada", "bob", "cyd"))
EVENT = {"event_key": "k", "title": "t"}
in_store = pytest.mark.django_db(transaction=True)


def merge_during(work: Callable[[], Any], *take: str) -> Any:
    """Return the result of work that has to wait until Bob is merged into Ada."""
    ada, bob = (create({"email": email}) for email in (ADA, BOB))
    create({"email": CYD})

    def in_thread() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            merge_contacts(ada.pk, ("contact", str(bob.pk)), Choice(take))
            result = threads.submit(in_thread)
            wait_until(lambda: waiting_for_locks(connection.connection))
        return result.result(10)


def is_ada(contact_id: int) -> bool:
    """Return whether this is the survivor, and whether no other contact has one of its e-mails."""
    others = Subscriber.objects.exclude(pk=contact_id).values_list("email", flat=True)
    return list(others) == [CYD] and {find_holder(("email", each)) for each in (ADA, BOB)} == {
        contact_id
    }


@in_store
@pytest.mark.parametrize(("email", "take"), [(BOB, ()), (ADA, ("email",))])
def test_an_insert_that_waits_for_the_merge_makes_no_second_contact(
    email: str, take: tuple[str, ...]
) -> None:
    @transaction.atomic
    def insert() -> str:
        try:
            return create({"email": email}).email
        except EmailTaken:
            return "taken"

    assert merge_during(insert, *take) == "taken"
    assert is_ada(Subscriber.objects.exclude(email=CYD).get().pk)


@in_store
def test_an_event_that_would_make_a_contact_makes_none() -> None:
    assert merge_during(lambda: create_for_events([BOB, "new@example.com"], "pending"))
    emails = Subscriber.objects.values_list("email", flat=True)
    assert set(emails) == {ADA, CYD, "new@example.com"}


@in_store
@pytest.mark.parametrize("email", [ADA, BOB])
def test_a_write_that_waits_for_the_merge_changes_the_survivor(email: str) -> None:
    @transaction.atomic
    def write() -> int:
        return create_or_update({"email": email, "city": "Rome"})[0].pk

    assert is_ada(merge_during(write))
    assert Subscriber.objects.get(email=ADA).city == "Rome"


@in_store
@pytest.mark.parametrize(
    ("email", "is_keyed", "take"),
    [(BOB, False, ()), (BOB, True, ()), (ADA, False, ("email",)), (BOB, True, ("email",))],
)
def test_an_event_that_waits_for_the_merge_counts_on_the_survivor(
    email: str, is_keyed: bool, take: tuple[str, ...]
) -> None:
    key = {"idempotency_key": "a"} if is_keyed else {}
    contact_id = merge_during(lambda: track({**EVENT, "email": email, **key}).subscriber_id, *take)
    assert is_ada(contact_id)
    assert TrackedEvent.objects.get().counter == 1


@in_store
@pytest.mark.parametrize("atomic", [False, True])
def test_a_batch_that_waits_for_the_merge_counts_on_the_survivor(atomic: bool) -> None:
    events = [{**EVENT, "email": email} for email in (BOB, CYD, ADA, BOB)]
    outcomes = merge_during(lambda: track_many(events, atomic=atomic))
    assert all(isinstance(outcome, Tracked) for outcome in outcomes)
    counters = TrackedEvent.objects.values_list("subscriber__email", "counter")
    assert dict(counters) == {ADA: 3, CYD: 1}
    assert find_differences() == []


@in_store
def test_a_contact_that_gets_another_email_just_then_is_not_merged_by_the_old_one() -> None:
    ada, bob = (create({"email": email}) for email in (ADA, BOB))

    def merge() -> None:
        try:
            merge_contacts(ada.pk, ("email", BOB))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            update(bob, {"email": CYD})
            merging = threads.submit(merge)
            wait_until(lambda: waiting_for_locks(connection.connection))
        with pytest.raises(InvalidFields, match="does not exist"):
            merging.result(10)
    assert set(Subscriber.objects.values_list("email", flat=True)) == {ADA, CYD}


@in_store
def test_a_merge_whose_connection_ends_in_the_middle_changes_nothing() -> None:
    ada, bob = (create({"email": email}) for email in (ADA, BOB))
    for contact in (ada, bob):
        track({**EVENT, "subscriber_id": contact.pk}, idempotency_key=contact.email)

    def rows() -> list[Any]:
        tables = ["crm_subscriber", "crm_identity", "events_trackedevent"]
        tables += ["events_eventoccurrence", "events_idempotencykey"]
        return [fetch_rows(f"SELECT * FROM {table} ORDER BY 1", {}) for table in tables]

    def merge() -> None:
        try:
            merge_contacts(ada.pk, ("contact", str(bob.pk)))
        finally:
            connection.close()

    before = rows()
    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            # It has moved the keys then.
            TrackedEvent.objects.select_for_update().get(subscriber=bob)
            merging = threads.submit(merge)
            wait_until(lambda: waiting_for_locks(connection.connection))
            fetch_rows(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE NOT granted", {}
            )
        with pytest.raises(OperationalError):
            merging.result(10)
    assert rows() == before
    merge()
    assert (Subscriber.objects.get().pk, TrackedEvent.objects.get().counter) == (ada.pk, 2)


@pytest.mark.parametrize("between", [20, pytest.param(60, marks=long)])
def test_eight_clients_track_and_write_contacts_while_these_are_merged(
    server: Server, http: Client, store: psycopg.Connection, between: int
) -> None:
    survivor = http.contact(ADA)
    emails = [f"c{number}@example.com" for number in range(6)]
    ids = [http.contact(email, user_id=f"u{email}") for email in emails]
    before = count_deadlocks(store)
    is_merged = threading.Event()
    # The accepted events of each client.
    accepted: Counter[int] = Counter()

    def named(number: int) -> dict[str, Any]:
        """Name one of the contacts by its e-mail, its id or its user_id."""
        index = number % len(ids)
        names = {"email": emails[index], "subscriber_id": ids[index]}
        names["user_id"] = f"u{emails[index]}"
        name = list(names)[number % 3]
        return {"event_key": "k", "title": f"t{number % 2}", name: names[name]}

    def single(client: Client, number: int) -> int:
        answer = client.track(**named(number), idempotency_key=f"s{number}")
        assert answer.status == 200, answer.body
        return 1

    def batch(client: Client, number: int) -> int:
        events = [named(number + index) for index in range(12)]
        path = f"{API}/subscribers/track-events?atomic={number % 2}"
        answer = client("POST", path, {"events": events})
        assert (answer.status, answer.json()["failed"]) == (200, 0), answer.body
        return 12

    def write(client: Client, number: int) -> int:
        contacts = [{"email": email, "city": str(number)} for email in emails]
        answer = client("POST", f"{API}/subscribers/bulk-add-update", {"contacts": contacts})
        assert (answer.status, answer.json()["created"]) == (200, []), answer.body
        return 0

    def merge(client: Client) -> None:
        for contact_id in ids:
            wait_for_events()
            path = f"{API}/subscribers/{survivor}/merge"
            answer = client("POST", path, {"other_id": contact_id})
            assert (answer.status, answer.json()["other_id"]) == (200, contact_id), answer.body
        wait_for_events()

    def wait_for_events() -> None:
        number = accepted.total() + between
        wait_until(lambda: accepted.total() > number)

    work = [single] * 4 + [batch] * 4 + [write]

    def run(index: int) -> None:
        client = server.client()
        try:
            if index == len(work):
                merge(client)
            number = index
            while not is_merged.is_set() and index < len(work):
                accepted[index] += work[index](client, number)
                number += 10
        finally:
            # Of an error, too, so that the others end.
            if index == len(work):
                is_merged.set()
            client.close()

    in_threads(len(work) + 1, run)
    assert store.execute("SELECT id FROM crm_subscriber").fetchall() == [(survivor,)]
    assert counted(store) == (accepted.total(), accepted.total())
    assert fetch_value(store, "SELECT count(*) FROM events_trackedevent") == 2
    assert_nothing_is_orphaned_or_miscounted(store)
    assert count_deadlocks(store) == before


FILL = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
    unlogged, repeatable, created_at, updated_at)
SELECT id, 'k' || n, 't', '', 'custom', 500, 0, true, now(), now()
FROM crm_subscriber, generate_series(1, 100) n;
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
    properties, context, occurred_at, received_at)
SELECT id, subscriber_id, event_key, 'custom', '', n, '{}', '{}', now(), now()
FROM events_trackedevent, generate_series(1, 500) n;
INSERT INTO events_idempotencykey (occurrence_id, subscriber_id, credential, key, content,
    created_at)
SELECT id, subscriber_id, 'p', id::text, '\\x00', now() FROM events_eventoccurrence
"""
FIGURES = """
SELECT (SELECT count(*) FROM crm_subscriber), (SELECT count(*) FROM events_trackedevent),
    (SELECT count(*) FROM events_eventoccurrence o JOIN crm_subscriber s ON s.id = subscriber_id
     WHERE s.email = 'ada@example.com'),
    (SELECT count(*) FROM events_idempotencykey k JOIN crm_subscriber s ON s.id = subscriber_id
     WHERE s.email = 'ada@example.com')
"""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an embedded PostgreSQL, in which both contacts have 50,000 occurrences."""
    server = Server(tmp_path_factory.mktemp("merging")).start()
    try:
        client = server.client()
        client.contact(BOB)  # Ada is a contact of each new store
        client.close()
        with connect(server) as sql:
            sql.execute("DELETE FROM events_eventoccurrence; DELETE FROM events_trackedevent")
            sql.execute(FILL)
        yield server
    finally:
        server.stop()


def connect(server: Server) -> psycopg.Connection:
    """Connect to the server's embedded PostgreSQL."""
    host = str(socket_dir(server.data_dir))
    return psycopg.connect(host=host, user=USER, dbname="tallybook", autocommit=True)


def figures(server: Server) -> Any:
    """Return FIGURES as soon as PostgreSQL runs and has ended the transactions of the killed."""
    found: list[Any] = []

    def read() -> bool:
        try:
            with connect(server) as sql:
                running = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
                found[:] = [fetch_value(sql, running), sql.execute(FIGURES).fetchone()]
        except psycopg.OperationalError:
            return False
        return not found[0]

    wait_until(read, 30)
    return found[1]


@long
def test_a_merge_that_is_killed_in_the_middle_is_undone_and_can_be_repeated(
    own_server: Server,
) -> None:
    host = str(socket_dir(own_server.data_dir))
    statements = ("\nWITH pair AS MATERIALIZED", "\nUPDATE events_eventoccurrence")
    for turn in range(20):
        with begun(own_server, "merge_contacts", ADA, BOB) as process:
            wait_for_statement(host, statements[turn % 2])
            os.kill(process.pid if turn % 4 < 2 else postmaster(own_server), signal.SIGKILL)
            process.wait(30)
        assert figures(own_server) == (2, 200, 50_000, 50_000)
    own_server.manage("merge_contacts", ADA, BOB)
    assert figures(own_server) == (1, 100, 100_000, 100_000)
    assert "every counter is right" in own_server.manage("verify")
