"""One PostgreSQL and one server for the whole run; tests that kill things start their own."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.test import Client as InProcess
from hypothesis import HealthCheck
from hypothesis import settings as profiles

from config.server.postgres import USER, EmbeddedPostgres
from crm.passwords import PREFIX_LENGTH, SECRET_LENGTH, secret_hash
from tests.people import Person, first_user
from tests.server import Client, Server

pytest.register_assert_rewrite("tests.browser")
SERVED = "served"

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
    """pytest-django asks for this before it makes its database."""


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


# Not TRUNCATE: making new files costs more than these few rows.
EMPTY = ";".join(
    f"DELETE FROM {table}"
    for table in (
        *("events_trackedevent", "events_eventoccurrence", "events_trackingswitch"),
        *("events_idempotencykey", "events_eventname"),
        *("crm_subscriber_tags", "crm_subscriber_lists", "crm_subscriber", "crm_tag", "crm_list"),
        "crm_segment",
    )
)


@pytest.fixture
def store(sql: psycopg.Connection) -> psycopg.Connection:
    """The server's database, with nothing in it but the first user."""
    sql.execute(EMPTY)
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


@pytest.fixture
def people(db: None) -> "InProcess":
    """A browser of a superuser, for tests inside the process."""
    from django.contrib.auth.models import User

    browser = InProcess()
    browser.force_login(User.objects.create_superuser("admin", "admin@example.com"))
    return browser


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
