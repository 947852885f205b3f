"""Upgrade with an embedded PostgreSQL, as processes of which some are killed in the middle."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from config.server.postgres import USER, socket_dir
from tests.long import long
from tests.system.processes import postmaster
from tests.system.server import ROOT, Server
from tests.system.stores import begun, wait_for_statement
from tests.system.trackers import start_trackers, stop_trackers, wait_for_events

SLEEP = "SELECT pg_sleep(600)"
LATER = {"DJANGO_SETTINGS_MODULE": "tests.system.later.settings", "TALLYBOOK_WORKERS": "1"}
OLD_MIGRATION, NEW_MIGRATION = "0001_initial", "0003_last"


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

    def state(self) -> tuple[str, bool, int, list[str]]:
        """Return what a `serve` that has just started finds.

        That is the last migration, whether its table is there, the number of contacts, and the
        databases.
        """
        with psycopg.connect(host=self.socket, user=USER, dbname="tallybook") as connection:
            [state] = connection.execute(
                "SELECT (SELECT name FROM django_migrations WHERE app = 'transfers' "
                "ORDER BY id DESC LIMIT 1), to_regclass('later_than_all') IS NOT NULL, "
                "(SELECT count(*) FROM crm_subscriber), "
                "(SELECT array_agg(datname::text ORDER BY 1) FROM pg_database "
                "WHERE NOT datistemplate)"
            )
        name, has_table, contacts, databases = state
        return name, has_table, contacts, databases

    def started_state(self, server: Server) -> tuple[str, bool, int, list[str]]:
        """Start a version, and return its state as soon as it is ready."""
        client = server.start().client(None)
        assert client("GET", "/readyz").status == 200
        client.close()
        state = self.state()
        server.stop()
        return state


OLD = (OLD_MIGRATION, False, 2, ["postgres", "tallybook"])
NEW = (NEW_MIGRATION, True, 2, ["postgres", "tallybook"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, shop_backup: Path) -> Iterator[Store]:
    """A store of this version, which was restored and never started."""
    store = Store(tmp_path_factory.mktemp("embedded"))
    store.present.manage("restore", str(shop_backup))
    yield store
    if not store.present.has_ended():
        store.present.stop()


def test_a_killed_upgrade_leaves_the_old_store_and_no_other(store: Store) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        process.kill()
        process.communicate()
    assert store.started_state(store.present) == OLD


def test_a_killed_postgresql_is_reported_and_leaves_the_old_store(store: Store) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        os.kill(postmaster(store.present), signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "The migration transfers.0003_last failed: " in errors
    assert "The store is as it was before" in errors
    assert store.started_state(store.present) == OLD


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
    assert store.started_state(store.present) == OLD


def test_a_migration_that_fails_ends_the_command_with_1_and_the_old_version_goes_on(
    store: Store,
) -> None:
    done = store.later("SELECT 1/0").command("upgrade")
    assert done.returncode == 1
    assert "CommandError: The migration transfers.0003_last failed: division by" in done.stderr
    assert store.started_state(store.present) == OLD


def test_serve_names_an_upgrade_that_runs(store: Store) -> None:
    with begun(store.later(SLEEP), "upgrade") as process:
        wait_for_statement(store.socket, SLEEP)
        serve = store.present.command("serve")
        process.terminate()
        process.communicate()
    assert f"is in use: An upgrade runs as process {process.pid}." in serve.stderr


def test_an_upgrade_names_a_serve_that_runs(store: Store) -> None:
    store.present.start()
    done = store.later().command("upgrade")
    store.present.stop()
    assert done.returncode == 1
    assert "is in use: Tallybook runs at " in done.stderr
    assert "Stop it first." in done.stderr


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
@pytest.mark.parametrize("victim", ["command", "PostgreSQL"])
def test_an_upgrade_killed_at_any_moment_leaves_a_whole_store(
    copied: Store, whole_seconds: float, victim: str, tenth: int
) -> None:
    with begun(copied.later(), "upgrade") as process:
        time.sleep(whole_seconds * (tenth + random.random()) / 10)
        if victim == "command":
            process.kill()
        else:
            kill_postgresql(copied)
        _, errors = process.communicate()
    state = copied.started_state(copied.present)
    assert state in (OLD, NEW)
    if "The store is as it was before" in errors:
        assert state == OLD
    print(f"{victim} killed at {tenth}: {'new' if state == NEW else 'old'} {errors[-300:]}")


def kill_postgresql(store: Store) -> None:
    """Kill PostgreSQL, unless it has not started or has ended."""
    with suppress(OSError, IndexError, ValueError):
        os.kill(postmaster(store.present), signal.SIGKILL)
