"""Without a database: pytest-django rejects each connection that a test would open."""

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from pytest_django import Settings


@pytest.fixture
def berlin(settings: Settings) -> None:
    """Set TIME_ZONE to Europe/Berlin: UTC+1, and UTC+2 in summer."""
    settings.TIME_ZONE = "Europe/Berlin"


@pytest.fixture
def quiet_responses() -> Iterator[None]:
    """Let a response be closed without looking at the database's connection, as test clients do."""
    request_finished.disconnect(close_old_connections)
    yield
    request_finished.connect(close_old_connections)
