"""What all layers share: one PostgreSQL for the run, and the profiles of Hypothesis."""

import gc
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as profiles
from pytest_django import DjangoDbBlocker

from config.server.postgres import USER, EmbeddedPostgres
from tests.databases import flush, set_fsync, use

# tests/system and tests/browser share one server.
pytest_plugins = ["tests.system.fixtures"]
pytest.register_assert_rewrite("tests.browser.chromium", "tests.system.database")

# `make test` plays the same examples at each run, `make test-long` more, and others each time.
profiles.register_profile(
    "short",
    max_examples=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
profiles.register_profile(
    "long", profiles.get_profile("short"), max_examples=1000, derandomize=False
)
profiles.load_profile("short")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The embedded PostgreSQL of the tests, in a data folder of its own."""
    server = EmbeddedPostgres(Path(settings.DATA_DIR))
    server.lock("The tests run.")
    server.start()
    # Tests that kill PostgreSQL start one of their own, which waits for the disk.
    set_fsync(server.socket_dir, "off")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres, django_db_blocker: DjangoDbBlocker) -> str:
    """The name of a database with all migrations, and no store yet. Others are copied from it."""
    name = "migrated"
    with psycopg.connect(host=str(postgres.socket_dir), user=USER, dbname="postgres") as sql:
        sql.autocommit = True
        sql.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        sql.execute(f"CREATE DATABASE {name}")
    with django_db_blocker.unblock(), use(name):
        call_command("migrate", verbosity=0, interactive=False)
    return name


@pytest.fixture(scope="session")
def django_db_modify_db_settings(migrated: str) -> None:
    """Let pytest-django copy its database."""
    connection.settings_dict["TEST"]["TEMPLATE"] = migrated


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Empty the database quickly after a test that commits, but for what the migrations wrote."""
    connection.ops.sql_flush = flush  # type: ignore[method-assign]


# These files take longest. They come first, so that both workers end at about the same time.
LONGEST = [
    *("test_faults", "test_browser", "test_api_description", "test_readme", "test_roles"),
    *("test_automation_races", "test_serve", "test_load", "test_merging", "test_sequences"),
    *("test_matrix", "test_migrations", "test_filter_model", "test_automation_model"),
]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the longest files to the front."""
    positions = {name: position for position, name in enumerate(LONGEST)}
    items.sort(key=lambda item: positions.get(item.path.stem, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of garbage collections: a twelfth of the time."""
    gc.freeze()
