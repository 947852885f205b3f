"""Without a database: pytest-django rejects each connection that a test would open."""

import pytest
from pytest_django import Settings


@pytest.fixture
def berlin(settings: Settings) -> None:
    """Set TIME_ZONE to Europe/Berlin: UTC+1, and UTC+2 in summer."""
    settings.TIME_ZONE = "Europe/Berlin"
