"""Fixtures of tests/system and tests/browser: one served Tallybook for the whole run.

tests/conftest.py loads them as a plugin, so that both folders share the server.
"""

import fcntl
import os
import secrets
import signal
from collections.abc import Callable, Iterator

import psycopg
import pytest

from config.server.postgres import USER, EmbeddedPostgres
from crm.passwords import PREFIX_LENGTH, SECRET_LENGTH, secret_hash
from tests.databases import deletion
from tests.system.server import Client, Server, basic

SERVED = "served"
# Rows that the first start writes and every test of the server needs.
KEPT = "'auth_%', 'django_%', 'crm_applicationpassword', 'crm_sharedkey', 'events_trackingkey'"
TABLES = f"""
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND NOT relname LIKE ANY (ARRAY[{KEPT}])
"""


def pytest_configure() -> None:
    """Restore SIGINT, because a shell lets its background jobs and their children ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def served_url(postgres: EmbeddedPostgres, migrated: str) -> str:
    """A database for the first start of the server, which finds all migrations there."""
    with psycopg.connect(host=str(postgres.socket_dir), user=USER, dbname="postgres") as connection:
        connection.autocommit = True
        connection.execute(f"DROP DATABASE IF EXISTS {SERVED} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {SERVED} TEMPLATE {migrated}")
    return f"postgres://{USER}@/{postgres.socket_dir}/{SERVED}"


@pytest.fixture(scope="session")
def server(served_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Tallybook on DATABASE_URL, as an operator runs it. Tests that kill start their own."""
    folder = tmp_path_factory.mktemp("served")
    running = Server(folder, DATABASE_URL=served_url).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def first_server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server with an embedded PostgreSQL that was started once, and has stopped.

    Tests copy it for a store of their own, because a first start takes seconds. The workers of
    pytest-xdist share it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    # The path of a socket in it is longer than the system permits.
    folder = base / ("a-folder-whose-name-is-long-" + "x" * 60)
    with (base / "first.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = Server(folder, TALLYBOOK_WORKERS="1")
        if not folder.exists():
            folder.mkdir()
            server.start().stop()
        else:
            server.port = server.printed_port()
    server.auth = basic("admin", server.password())
    return server


@pytest.fixture(scope="session")
def sql(postgres: EmbeddedPostgres, server: Server) -> Iterator[psycopg.Connection]:
    """A connection to the server's database, with the rows of earlier tests."""
    with psycopg.connect(
        host=str(postgres.socket_dir), user=USER, dbname=SERVED, autocommit=True
    ) as connection:
        yield connection


@pytest.fixture(scope="session")
def emptying(sql: psycopg.Connection) -> str:
    """The statement that empties all tables but KEPT."""
    return deletion(name for (name,) in sql.execute(TABLES))


@pytest.fixture
def store(sql: psycopg.Connection, emptying: str) -> psycopg.Connection:
    """A connection to the server's database, emptied except for the superuser "admin"."""
    sql.execute(emptying)
    return sql


@pytest.fixture
def http(server: Server, store: psycopg.Connection) -> Iterator[Client]:
    """A client over the socket with a manage password of "admin", on an empty store."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def ada_id(http: Client) -> int:
    """The id of the contact ada@example.com, subscribed."""
    return http.contact("ada@example.com")


@pytest.fixture
def password(sql: psycopg.Connection) -> Callable[..., str]:
    """Create an application password: `password(scope, user="admin")` returns its secret."""

    def make(scope: str, user: str = "admin") -> str:
        secret = secrets.token_hex(SECRET_LENGTH // 2)
        sql.execute(
            "INSERT INTO crm_applicationpassword (user_id, name, scope, prefix, secret_hash, "
            "created_at) SELECT id, 'test', %s, %s, %s, now() FROM auth_user WHERE username = %s",
            [scope, secret[:PREFIX_LENGTH], secret_hash(secret), user],
        )
        return secret

    return make
