"""In process: DRF's APIClient on the real PostgreSQL, each test in a transaction rolled back."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from rest_framework.test import APIClient

from automations.models import Run
from config.refusals import refusals
from crm.contacts import create
from crm.models import Subscriber
from crm.passwords import create_application_password
from tests.api.automation import HOUR, MARK, happens, published, work
from tests.api.rsgi import HTTPProtocol, connections_kept, load_module, scope

MakePassword = Callable[..., str]
Sent = tuple[int, dict[str, str], bytes]


def basic(username: str, secret: str) -> str:
    """Return the Authorization header of HTTP Basic."""
    return "Basic " + b64encode(f"{username}:{secret}".encode()).decode()


@pytest.fixture
def backups(settings: Settings, tmp_path: Path) -> Path:
    """The empty folder of daily backups, which are switched on."""
    settings.BACKUPS, settings.BACKUPS_DIR, settings.DATA_DIR = 7, tmp_path, tmp_path
    return tmp_path


@pytest.fixture(autouse=True)
def no_refusals() -> None:
    """No wrong credentials of earlier tests, which came from the same address."""
    refusals.clear()


@pytest.fixture
def admin(db: None) -> User:
    """The superuser "admin", whose password is of no use."""
    return User.objects.create(
        username="admin", email="admin@example.com", is_superuser=True, is_staff=True
    )


@pytest.fixture
def make_password(db: None) -> MakePassword:
    """Create an application password: `make_password(user, scope="manage")` returns its secret."""

    def make(user: User, scope: str = "manage") -> str:
        _, secret = create_application_password(user, "test", scope)
        return secret.replace(" ", "")

    return make


@pytest.fixture
def anonymous(db: None) -> APIClient:
    """A client without credentials."""
    return APIClient()


@pytest.fixture
def api(admin: User, make_password: MakePassword) -> APIClient:
    """A client with an application password of the superuser "admin", scope manage.

    It sends JSON: `api.post("/subscribers/track-event", {"event_key": …})`.
    """
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("admin", make_password(admin)))
    return client


@pytest.fixture
def token(admin: User, make_password: MakePassword) -> APIClient:
    """A client with a manage password in the header Api-Token."""
    client = APIClient()
    client.credentials(HTTP_API_TOKEN=make_password(admin))
    return client


@pytest.fixture
def ada(db: None) -> Subscriber:
    """The contact ada@example.com, subscribed."""
    return create({"email": "ada@example.com", "status": "subscribed"})


@pytest.fixture
def waiting(ada: Subscriber) -> Run:
    """The run of ada, who waits an hour after an event was tracked."""
    published(MARK, HOUR)
    happens(ada)
    work()
    return Run.objects.get()


@pytest.fixture(scope="session")
def rsgi() -> ModuleType:
    """The module config.server.rsgi."""
    return load_module()


@pytest.fixture
def send(rsgi: ModuleType, db: None) -> Callable[..., Sent]:
    """Send a request through the web server: `send(body, method="POST", path=…, headers=…)`.

    Returns the status, headers and content of the response.
    """

    def call(*pieces: bytes, **parts: Any) -> Sent:
        protocol = HTTPProtocol(*pieces)
        with connections_kept():
            rsgi.application.begin(scope(**parts), protocol)
            rsgi.application.send_due()
        [(status, headers, body)] = protocol.sent
        return status, dict(headers), body

    return call
