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
from tests.system.stores import DRAFT, GRACE, LATER, REPLACED, SHOP, TARGET, Databases, emails, use


def set_fsync(sql: psycopg.Connection, value: str) -> None:
    """Change a setting of the tests' PostgreSQL."""
    sql.execute(f"ALTER SYSTEM SET fsync = {value}")
    sql.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module")
def databases(
    postgres: EmbeddedPostgres, django_db_blocker: DjangoDbBlocker
) -> Iterator[Databases]:
    """The databases of the tests' PostgreSQL, to which Django may connect."""
    own = connection.settings_dict["NAME"]
    host = str(postgres.socket_dir)
    with (
        django_db_blocker.unblock(),
        psycopg.connect(host=host, user=USER, dbname="postgres", autocommit=True) as sql,
    ):
        made = Databases(sql)
        # Each CREATE and DROP DATABASE waits for the disk, which these tests do not need.
        set_fsync(sql, "off")
        yield made
        use(own)
        for name in (SHOP, TARGET):
            made.drop(name)
        set_fsync(sql, "on")


@pytest.fixture(scope="module")
def shop(databases: Databases) -> Databases:
    """A store with two contacts, an event that happened twice, and a session."""
    databases.create(SHOP)
    use(SHOP)
    bootstrap()
    create({"email": GRACE, "status": Status.SUBSCRIBED})
    for _ in range(2):
        track({"event_key": "k", "title": "t", "email": GRACE})
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_session VALUES ('secret-session', '', now())")
    return databases


@pytest.fixture(scope="module")
def shop_backup(shop: Databases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the shop."""
    path = tmp_path_factory.mktemp("backup") / "shop.backup"
    use(SHOP)
    write_backup(path, replace=False)
    return path


@pytest.fixture
def own_server(settings: SettingsFixture) -> None:
    """Let the commands see the tests' PostgreSQL as one of DATABASE_URL."""
    settings.EMBEDDED_POSTGRES = False


@pytest.fixture
def source(shop: Databases, own_server: None) -> None:
    """Django's connection to the shop, which tests back up and leave as it is."""
    use(SHOP)


@pytest.fixture
def empty(shop: Databases, own_server: None) -> Databases:
    """A database without tables, to which Django is connected."""
    use(TARGET)
    shop.create(TARGET)
    return shop


@pytest.fixture
def target(shop_backup: Path, shop: Databases, own_server: None) -> Databases:
    """A copy of the shop with a contact that is later than the backup. Django is connected."""
    use(TARGET)
    shop.create(TARGET, SHOP)
    create({"email": LATER})
    return shop


@pytest.fixture(scope="module")
def copy_of_shop(shop_backup: Path, shop: Databases) -> Databases:
    """The target of a whole file, which no test may change."""
    use(TARGET)
    shop.create(TARGET, SHOP)
    create({"email": LATER})
    return shop


@pytest.fixture
def untouched(copy_of_shop: Databases, own_server: None) -> Iterator[Databases]:
    """The target of a restore that has to fail. Its store stays, and nothing is left beside it."""
    use(TARGET)
    yield copy_of_shop
    assert emails() == {"ada@example.com", GRACE, LATER}
    assert copy_of_shop.names() & {DRAFT, REPLACED} == set()
