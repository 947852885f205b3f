"""In process: DRF's APIClient on the real PostgreSQL, each test in a transaction rolled back."""

from base64 import b64encode
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from crm.passwords import create_application_password

MakePassword = Callable[..., str]


def basic(username: str, secret: str) -> str:
    """Return the Authorization header of HTTP Basic."""
    return "Basic " + b64encode(f"{username}:{secret}".encode()).decode()


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
def ada(db: None) -> Subscriber:
    """The contact ada@example.com, subscribed."""
    return create({"email": "ada@example.com", "status": "subscribed"})
