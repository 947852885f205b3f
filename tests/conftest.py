"""What all layers share: one PostgreSQL for the run, and the profiles of Hypothesis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import HealthCheck
from hypothesis import settings as profiles

from config.server.postgres import EmbeddedPostgres

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
    yield server
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: EmbeddedPostgres) -> None:
    """Start PostgreSQL before pytest-django creates its database."""
