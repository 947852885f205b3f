"""One server for the whole run; tests that kill things start their own."""

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest

from config.server.postgres import USER, EmbeddedPostgres
from crm.passwords import PREFIX_LENGTH, SECRET_LENGTH, secret_hash
from tests.system.people import Person, first_user
from tests.system.server import Client, Server

SERVED = "served"


@pytest.fixture(scope="session")
def served_url(postgres: EmbeddedPostgres) -> str:
    """An empty database for the server."""
    with psycopg.connect(host=str(postgres.socket_dir), user=USER, dbname="postgres") as connection:
        connection.autocommit = True
        connection.execute(f"DROP DATABASE IF EXISTS {SERVED} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {SERVED}")
    return f"postgres://{USER}@/{postgres.socket_dir}/{SERVED}"


@pytest.fixture(scope="session")
def server(served_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Tallybook over DATABASE_URL, as an operator runs it; its store is emptied between tests."""
    folder = tmp_path_factory.mktemp("served")
    running = Server(folder, DATABASE_URL=served_url).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def sql(postgres: EmbeddedPostgres, server: Server) -> Iterator[psycopg.Connection]:
    """The server's database, to look into."""
    with psycopg.connect(
        host=str(postgres.socket_dir), user=USER, dbname=SERVED, autocommit=True
    ) as connection:
        yield connection


# Rows that the first start makes, which every test of the server needs.
KEPT = "'auth_%', 'django_%', 'crm_applicationpassword', 'events_trackingkey'"
TABLES = f"""
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND NOT relname LIKE ANY (ARRAY[{KEPT}])
"""


@pytest.fixture(scope="session")
def emptying(sql: psycopg.Connection) -> str:
    """The statement that empties all tables but KEPT; contacts go after what refers to them."""
    tables = sorted((row[0] for row in sql.execute(TABLES)), key=len, reverse=True)
    # Not TRUNCATE: making new files costs more than these few rows.
    return ";".join(f'DELETE FROM "{table}"' for table in tables)


@pytest.fixture
def store(sql: psycopg.Connection, emptying: str) -> psycopg.Connection:
    """The server's database, with nothing in it but the first user."""
    sql.execute(emptying)
    return sql


@pytest.fixture
def api(server: Server, store: psycopg.Connection) -> Iterator[Client]:
    """A client of the server as its admin, over an empty store."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def password(sql: psycopg.Connection) -> Callable[..., str]:
    """Makes an application password: `password(scope, user="admin")` gives its secret."""

    def make(scope: str, user: str = "admin") -> str:
        secret = secrets.token_hex(SECRET_LENGTH // 2)
        sql.execute(
            "INSERT INTO crm_applicationpassword (user_id, name, scope, prefix, secret_hash, "
            "created_at) SELECT id, 'test', %s, %s, %s, now() FROM auth_user WHERE username = %s",
            [scope, secret[:PREFIX_LENGTH], secret_hash(secret), user],
        )
        return secret

    return make


@pytest.fixture(scope="module")
def first(server: Server) -> Iterator[Person]:
    """The first user at the admin, who logs in once."""
    person = first_user(server)
    yield person
    person.close()


@pytest.fixture
def person(first: Person, api: Client) -> Person:
    """The first user at the admin, over an empty store."""
    return first
