"""Forms of the admin that wait for another transaction, which changes the same contact or tag."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.api.pages import form_of
from tests.system.admin_session import AdminSession, log_in
from tests.system.server import Answer, Client, Server, wait_until

ADD = "/admin/crm/subscriber/add/"


@pytest.fixture
def session(server: Server, store: psycopg.Connection) -> Iterator[AdminSession]:
    """The browser session of the superuser "admin", on an empty store."""
    session = log_in(server)
    yield session
    session.close()


@pytest.fixture
def tagged_id(http: Client) -> int:
    """The id of a contact with two tags."""
    return http.contact("ada@example.com", first_name="Ada", tags=["one", "two"])


@pytest.fixture
def meanwhile(store: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Another transaction, open until it is committed."""
    with psycopg.connect(store.info.dsn) as connection:
        yield connection


def is_waiting(store: psycopg.Connection) -> bool:
    """Return whether a statement waits for a lock."""
    row = store.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database()"
    ).fetchone()
    return bool(row and row[0])


def submit(session: AdminSession, path: str, form: dict[str, list[str]]) -> Answer:
    """Send the form of a page that was opened earlier, with its CSRF token."""
    return session("POST", path, form=[(name, one) for name in form for one in form[name]])


def while_waiting(
    store: psycopg.Connection, work: Callable[[], Answer], then: Callable[[], object]
) -> Answer:
    """Return the response to a request that has to wait for the lock that `then()` releases."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    wait_until(lambda: is_waiting(store), 5)
    then()
    thread.join()
    return answers[0]


def test_a_contact_that_was_deleted_meanwhile_does_not_come_back(
    session: AdminSession, store: psycopg.Connection, meanwhile: psycopg.Connection, tagged_id: int
) -> None:
    path = f"/admin/crm/subscriber/{tagged_id}/change/"
    page = session("GET", path).body.decode()
    form = form_of(page, last_name="Lovelace")
    meanwhile.execute("DELETE FROM crm_subscriber_tags")
    meanwhile.execute("DELETE FROM crm_subscriber WHERE id = %s", [tagged_id])
    answer = while_waiting(store, lambda: submit(session, path, form), meanwhile.commit)
    assert answer.status == 404
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (0,)


def test_an_email_that_was_added_meanwhile_is_rejected_by_the_form(
    session: AdminSession, store: psycopg.Connection, meanwhile: psycopg.Connection
) -> None:
    page = session("GET", ADD).body.decode()
    form = form_of(page, email="eve@example.com")
    meanwhile.execute(
        "INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, "
        "life_time_value, custom_values, created_at, updated_at) "
        "VALUES ('Eve@example.com', 'eve@example.com', 'subscribed', 'lead', 0, 0, '{}', "
        "now(), now())"
    )
    answer = while_waiting(store, lambda: submit(session, ADD, form), meanwhile.commit)
    assert answer.status == 200
    assert "Another contact has this e-mail." in answer.body.decode()


@pytest.mark.parametrize(
    ("insert", "path", "message"),
    [
        (
            "INSERT INTO crm_tag (title, slug, created_at, updated_at) "
            "VALUES ('News', 'news', now(), now())",
            "/admin/crm/tag/add/",
            "Another one has this slug.",
        ),
        (
            "INSERT INTO crm_segment (title, slug, filters, created_at, updated_at) "
            "VALUES ('News', 'news', '[]', now(), now())",
            "/admin/crm/segment/add/",
            "Another segment has this slug.",
        ),
    ],
    ids=["tag", "segment"],
)
def test_a_slug_that_was_added_meanwhile_is_rejected_by_the_form(
    session: AdminSession,
    store: psycopg.Connection,
    meanwhile: psycopg.Connection,
    insert: str,
    path: str,
    message: str,
) -> None:
    meanwhile.execute(insert)
    form = {"title": "News", "slug": "news", "filters": "[]"}
    answer = while_waiting(store, lambda: session.submit(path, form), meanwhile.commit)
    assert answer.status == 200
    assert message in answer.body.decode()
