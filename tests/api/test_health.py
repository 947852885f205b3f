"""/healthz, /readyz and the way to the admin; and what a lost or read-only database changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import DjangoDbBlocker
from pytest_django import Settings as SettingsFixture
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from crm.passwords import create_application_password
from events.models import TrackedEvent
from tests.api.conftest import basic
from tests.backups import daily_backup, old_store

EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}


@pytest.fixture
def committed_api(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[APIClient]:
    """A client as `api`, outside a transaction. Its rows are deleted, and the roles stay."""
    with django_db_blocker.unblock():
        user = User.objects.create(username="admin", is_superuser=True, is_staff=True)
        _, secret = create_application_password(user, "test", "manage")
        create({"email": "ada@example.com"})
        yield APIClient(HTTP_AUTHORIZATION=basic("admin", secret))
        for model in (Subscriber, Session, User):
            model._default_manager.all().delete()


def lose_connection() -> None:
    """Let PostgreSQL end this process's connection, as a restart does."""
    with connection.cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def lost_connection(committed_api: APIClient) -> None:
    """Begin without a connection that works."""
    lose_connection()


@pytest.fixture
def read_only(committed_api: APIClient) -> Iterator[None]:
    """Let the database reject writes, as a standby does."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")


@pytest.mark.parametrize("path", ["/", "/admin"])
def test_the_root_leads_to_the_admin(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.headers["Location"]) == (302, "/admin/")


@pytest.mark.django_db
def test_a_missing_migration_is_not_ready(client: Client) -> None:
    last = MigrationRecorder.Migration.objects.filter(app="events").latest("id")
    last.delete()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "waiting_for": "migrations"}
    assert response.headers["Retry-After"] == "1"


@pytest.mark.django_db
def test_a_missing_migration_leaves_the_process_healthy(client: Client) -> None:
    MigrationRecorder.Migration.objects.all().delete()
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_api_reconnects_after_a_lost_connection(
    committed_api: APIClient, lost_connection: None
) -> None:
    assert committed_api.get("/tags").status_code == 200


def test_readyz_reconnects_after_a_lost_connection(client: Client, lost_connection: None) -> None:
    assert client.get("/readyz").status_code == 200


def test_the_admin_reconnects_after_a_lost_connection(
    client: Client, committed_api: APIClient
) -> None:
    client.force_login(User.objects.get())
    lose_connection()
    assert client.get("/admin/").status_code == 200


def test_a_read_only_database_still_answers_reads(
    committed_api: APIClient, read_only: None
) -> None:
    assert committed_api.get("/tags").status_code == 200


def test_a_read_only_database_rejects_an_unknown_password(read_only: None) -> None:
    client = APIClient(HTTP_AUTHORIZATION="Bearer unknown")
    assert client.get("/tags").status_code == 401


def test_a_read_only_database_answers_writes_with_503(
    committed_api: APIClient, read_only: None
) -> None:
    response = committed_api.post("/subscribers/track-event", EVENT)
    assert response.status_code == 503
    assert response.json()["code"] == "service_unavailable"
    assert response.headers["Retry-After"] == "1"
    assert not TrackedEvent.objects.exists()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_health_check_by_address_is_answered(db: None, client: Client, path: str) -> None:
    assert client.get(path, headers={"host": "10.0.3.7:8000"}).status_code == 200


def test_any_other_path_checks_the_host(client: Client) -> None:
    assert client.get("/admin/login/", headers={"host": "10.0.3.7:8000"}).status_code == 400


def readiness(client: Client) -> dict[str, Any]:
    """Return the body of /readyz, which has to be 200."""
    response = client.get("/readyz")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def test_readyz_has_the_age_of_the_newest_backup(db: None, client: Client, backups: Path) -> None:
    daily_backup(backups, hours_ago=2)
    body = readiness(client)
    assert 7200 <= body["backup_age_seconds"] < 7260
    assert "backup" not in body


def test_a_late_backup_is_reported_and_stays_ready(db: None, client: Client, backups: Path) -> None:
    daily_backup(backups, hours_ago=30)
    assert readiness(client)["backup"] == "The newest backup is 30 hours old."


def test_an_old_store_without_a_backup_is_reported(db: None, client: Client, backups: Path) -> None:
    old_store()
    body = readiness(client)
    assert body["backup"] == "There is no daily backup."
    assert "backup_age_seconds" not in body


def test_a_new_store_without_a_backup_is_not_late(db: None, client: Client, backups: Path) -> None:
    assert "backup" not in readiness(client)


def test_backups_that_are_switched_off_are_not_mentioned(
    db: None, client: Client, backups: Path, settings: SettingsFixture
) -> None:
    settings.BACKUPS = 0
    old_store()
    daily_backup(backups, hours_ago=30)
    assert {"backup", "backup_age_seconds"} & readiness(client).keys() == set()
