"""Upgrade with an embedded PostgreSQL, as processes of which some are killed in the middle."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from pytest_django import DjangoDbBlocker

from config.server.bootstrap import bootstrap
from config.server.postgres import USER, EmbeddedPostgres, socket_dir
from tests.databases import use
from tests.long import long
from tests.system.processes import postmaster
from tests.system.server import ROOT, Server
from tests.system.stores import begun, wait_for_statement
from tests.system.trackers import start_trackers, stop_trackers, wait_for_events

SLEEP = "SELECT pg_sleep(600)"
LATER = {"DJANGO_SETTINGS_MODULE": "tests.system.later.settings", "TALLYBOOK_WORKERS": "1"}
OLD_MIGRATION, NEW_MIGRATION = "0001_initial", "0003_last"


class State(NamedTuple):
    """What shows whether a store is old or new, and what is beside it."""

    last_migration: str
    has_its_table: bool
    contacts: int
    databases: list[str]


class Store:
    """A data folder, with the versions of Tallybook that use it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.present = Server(folder, TALLYBOOK_WORKERS="1")
        # The port stays, because clients go on.
        self.port = str(self.present.port)
        self.socket = str(socket_dir(self.present.data_dir))

    def later(self, last_migration: str = "SELECT 1") -> Server:
        """Return the later version, whose last migration runs a statement."""
        server = Server(self.folder, ROOT, **LATER, LAST_MIGRATION=last_migration, PORT=self.port)
        server.port, server.auth = self.present.port, self.present.auth
        return server

    def state(self) -> State:
        """Return the state of the store, whose PostgreSQL runs."""
        with psycopg.connect(host=self.socket, user=USER, dbname="tallybook") as connection:
            [state] = connection.execute(
                "SELECT (SELECT name FROM django_migrations WHERE app = 'transfers' "
                "ORDER BY id DESC LIMIT 1), to_regclass('later_than_all') IS NOT NULL, "
                "(SELECT count(*) FROM crm_subscriber), "
                "(SELECT array_agg(datname::text ORDER BY 1) FROM pg_database "
                "WHERE NOT datistemplate)"
            )
        return State(*state)

    def served_state(self) -> State:
        """Return the state that `serve` of this version finds and makes ready."""
        client = self.present.start().client(None)
        assert client("GET", "/readyz").status == 200
        client.close()
        state = self.state()
        self.present.stop()
        return state

    @contextmanager
    def running_postgres(self) -> Iterator[None]:
        """Run the PostgreSQL of the store without `serve`."""
        postgres = EmbeddedPostgres(self.present.data_dir)
        postgres.lock("A test reads.")
        postgres.start()
        try:
            yield
        finally:
            postgres.stop()

    def state_at_rest(self) -> State:
        """Return the state that a command has left."""
        with self.running_postgres():
            return self.state()

    def state_after_bootstrap(self) -> State:
        """Return the state that `serve` makes before it starts the web server."""
        with self.running_postgres(), use("tallybook", self.socket):
            bootstrap()
            return self.state()


OLD = State(OLD_MIGRATION, False, 1, ["postgres", "tallybook"])
NEW = State(NEW_MIGRATION, True, 1, ["postgres", "tallybook"])


@pytest.fixture(scope="module")
def store(
    first_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Store]:
    """A store of this version, in which Django may read."""
    folder = tmp_path_factory.mktemp("embedded")
    first_server.copy(folder)
    store = Store(folder)
    with django_db_blocker.unblock():
        yield store
    store.present.ensure_stopped()


def test_a_killed_upgrade_leaves_the_old_store_and_no_other(store: Store) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        process.kill()
        process.communicate()
    assert store.state_after_bootstrap() == OLD


def test_a_killed_postgresql_is_reported_and_leaves_the_old_store(store: Store) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        os.kill(postmaster(store.present), signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "The migration transfers.0003_last failed: " in errors
    assert "The store is as it was before" in errors
    assert store.state_after_bootstrap() == OLD


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_stopped_upgrade_leaves_the_old_store(
    store: Store, number: signal.Signals, code: int
) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == code
    assert store.state_at_rest() == OLD


def test_a_migration_that_fails_ends_the_command_with_1_and_the_old_version_goes_on(
    store: Store,
) -> None:
    done = store.later("SELECT 1/0").command("upgrade")
    assert done.returncode == 1
    assert "CommandError: The migration transfers.0003_last failed: division by" in done.stderr
    assert store.served_state() == OLD


def test_serve_names_an_upgrade_that_runs(store: Store) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        serve = store.present.command("serve")
        process.terminate()
        process.communicate()
    assert f"is in use: An upgrade runs as process {process.pid}." in serve.stderr


def test_an_upgrade_names_a_serve_that_runs(store: Store) -> None:
    postgres = EmbeddedPostgres(store.present.data_dir)
    postgres.lock("Tallybook runs.")
    done = store.later().command("upgrade")
    postgres.stop()
    assert done.returncode == 1
    assert "is in use: Tallybook runs. Stop it first." in done.stderr


@long
def test_trackers_count_each_event_once_over_an_upgrade(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.present.start()
    trackers = start_trackers(store.present, 4)
    wait_for_events(trackers, 20)
    store.present.stop()
    later = store.later()
    later.manage("upgrade")
    later.start()
    wait_for_events(trackers, 20)
    answered = stop_trackers(trackers)
    with psycopg.connect(host=store.socket, user=USER, dbname="tallybook") as connection:
        query = "SELECT title, counter FROM events_trackedevent WHERE event_key = 'load'"
        counters: dict[str, int] = dict(connection.execute(query).fetchall())
    assert later.manage("verify")
    later.stop()
    assert counters == dict.fromkeys(answered, 1)


@pytest.fixture
def copied(store: Store, tmp_path: Path) -> Store:
    """A copy of the store, whose upgrade may succeed."""
    shutil.copytree(store.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("socket"))
    return Store(tmp_path / "copy")


@pytest.fixture(scope="module")
def whole_seconds(store: Store, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long an upgrade takes that is not killed."""
    folder = tmp_path_factory.mktemp("whole") / "copy"
    shutil.copytree(store.folder, folder, ignore=shutil.ignore_patterns("socket"))
    started = time.monotonic()
    Store(folder).later().manage("upgrade")
    return time.monotonic() - started


@long
@pytest.mark.parametrize("tenth", range(10))
def test_an_upgrade_killed_at_any_moment_leaves_a_whole_store(
    copied: Store, whole_seconds: float, tenth: int
) -> None:
    with begun(copied.later(), "upgrade") as process:
        time.sleep(whole_seconds * (tenth + random.random()) / 10)
        process.kill()
        process.communicate()
    assert copied.served_state() in (OLD, NEW)


@long
@pytest.mark.parametrize("statement", ["CREATE DATABASE", "VACUUM"])
def test_an_upgrade_leaves_the_old_store_if_postgresql_is_killed_during(
    copied: Store, statement: str
) -> None:
    with begun(copied.later(), "upgrade") as process:
        wait_for_statement(copied.socket, statement)
        os.kill(postmaster(copied.present), signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "The store is as it was before" in errors
    assert copied.served_state() == OLD
