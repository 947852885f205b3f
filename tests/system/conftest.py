"""Stores in databases of their own, for the tests of backup and restore."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker
from pytest_django import Settings as SettingsFixture

from config.server.backup import write_backup
from config.server.bootstrap import bootstrap
from config.server.postgres import USER, EmbeddedPostgres
from crm.contacts import create
from crm.models import Status
from events.tracking import track
from tests.databases import use
from tests.system.stores import (
    DRAFT,
    FRESH,
    GRACE,
    LATER,
    REPLACED,
    SHOP,
    TARGET,
    Databases,
    emails,
)


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres) -> Iterator[Databases]:
    """The databases of the tests' PostgreSQL."""
    host = str(postgres.socket_dir)
    with psycopg.connect(host=host, user=USER, dbname="postgres", autocommit=True) as sql:
        yield Databases(sql)


@pytest.fixture(scope="session")
def fresh(databases: Databases, django_db_blocker: DjangoDbBlocker, migrated: str) -> None:
    """The database FRESH, as the first start leaves it."""
    databases.create(FRESH, migrated)
    with django_db_blocker.unblock(), use(FRESH):
        bootstrap()


@pytest.fixture(scope="session")
def shop_backup(
    fresh: None,
    databases: Databases,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A backup of the database SHOP: two contacts, a repeated event, a session, its key."""
    path = tmp_path_factory.mktemp("backup") / "shop.backup"
    databases.create(SHOP, FRESH)
    with django_db_blocker.unblock(), use(SHOP):
        create({"email": GRACE, "status": Status.SUBSCRIBED})
        for _ in range(2):
            track({"event_key": "k", "title": "t", "email": GRACE})
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_session VALUES ('secret-session', '', now())")
            cursor.execute("INSERT INTO crm_sharedkey VALUES (1, 'secret-key')")
        write_backup(path, replace=False)
    return path


@pytest.fixture
def own_server(
    databases: Databases, django_db_blocker: DjangoDbBlocker, settings: SettingsFixture
) -> Iterator[Databases]:
    """The tests' PostgreSQL as one of DATABASE_URL, which Django may connect to."""
    settings.EMBEDDED_POSTGRES = False
    with django_db_blocker.unblock():
        yield databases


@pytest.fixture
def source(shop_backup: Path, own_server: Databases) -> Iterator[None]:
    """Django's connection to SHOP, which tests leave as it is."""
    with use(SHOP):
        yield


@pytest.fixture
def empty(own_server: Databases) -> Iterator[Databases]:
    """A database without tables, TARGET, to which Django is connected."""
    own_server.create(TARGET)
    with use(TARGET):
        yield own_server


@pytest.fixture
def target(shop_backup: Path, own_server: Databases) -> Iterator[Databases]:
    """A copy of SHOP, TARGET, with a contact that is later than the backup."""
    own_server.create(TARGET, SHOP)
    with use(TARGET):
        create({"email": LATER})
        yield own_server


@pytest.fixture(scope="module")
def copy_of_shop(
    shop_backup: Path, databases: Databases, django_db_blocker: DjangoDbBlocker
) -> None:
    """The store TARGET of a whole file."""
    databases.create(TARGET, SHOP)
    with django_db_blocker.unblock(), use(TARGET):
        create({"email": LATER})


@pytest.fixture
def untouched(copy_of_shop: None, own_server: Databases) -> Iterator[Databases]:
    """The target of a restore that has to fail. Its store stays, and nothing is left beside it."""
    with use(TARGET):
        yield own_server
    with use(TARGET):
        assert emails() == {"ada@example.com", GRACE, LATER}
    assert own_server.names() & {DRAFT, REPLACED} == set()
