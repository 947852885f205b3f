"""Changing a contact in the admin while programs, and other people, change it as well."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from config.server.postgres import USER, EmbeddedPostgres
from tests.conftest import SERVED
from tests.system.people import Person, fields_of
from tests.system.server import Answer, Client, wait_until

ADD = "/admin/crm/subscriber/add/"


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com", first_name="Ada", tags=["one", "two"])


@pytest.fixture
def meanwhile(
    postgres: EmbeddedPostgres, store: psycopg.Connection
) -> Iterator[psycopg.Connection]:
    """Another transaction, open until it is committed."""
    with psycopg.connect(host=str(postgres.socket_dir), user=USER, dbname=SERVED) as connection:
        yield connection


def edit(contact: int) -> str:
    return f"/admin/crm/subscriber/{contact}/change/"


def waiting(store: psycopg.Connection) -> bool:
    """Whether somebody waits for a lock."""
    row = store.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database()"
    ).fetchone()
    return bool(row and row[0])


def while_waiting(
    store: psycopg.Connection, work: Callable[[], Answer], then: Callable[[], object]
) -> Answer:
    """The answer to a request that has to wait for what `then()` lets go."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    wait_until(lambda: waiting(store), 5)
    then()
    thread.join()
    return answers[0]


def test_what_was_not_touched_is_not_written(
    person: Person, api: Client, store: psycopg.Connection, ada: int
) -> None:
    page = person("GET", edit(ada)).body.decode()
    changes = {
        "status": "unsubscribed",
        "custom_values": {"plan": "pro"},
        "attach_tags": ["three"],
        "force_update": "yes",
    }
    assert api("PUT", f"/subscribers/{ada}", {"subscriber": changes}).status == 200
    form = fields_of(page, last_name="Lovelace")
    assert person.fill(edit(ada), page, form).status == 302
    row = store.execute(
        "SELECT first_name, last_name, status, custom_values FROM crm_subscriber"
    ).fetchone()
    assert row == ("Ada", "Lovelace", "unsubscribed", {"plan": "pro"})


def test_a_tag_that_came_meanwhile_stays_and_one_that_was_unticked_goes(
    person: Person, store: psycopg.Connection, ada: int
) -> None:
    page = person("GET", edit(ada)).body.decode()
    ids = [row[0] for row in store.execute("SELECT id FROM crm_tag ORDER BY id").fetchall()]
    store.execute(
        "WITH tag AS (INSERT INTO crm_tag (title, slug, created_at, updated_at) "
        "VALUES ('three', 'three', now(), now()) RETURNING id) "
        "INSERT INTO crm_subscriber_tags (subscriber_id, tag_id) SELECT %s, id FROM tag",
        [ada],
    )
    form = fields_of(page, tags=[str(ids[1])])
    assert person.fill(edit(ada), page, form).status == 302
    rows = store.execute(
        "SELECT title FROM crm_tag t JOIN crm_subscriber_tags s ON s.tag_id = t.id ORDER BY title"
    ).fetchall()
    assert [row[0] for row in rows] == ["three", "two"]


def test_a_contact_that_was_deleted_meanwhile_does_not_come_back(
    person: Person, store: psycopg.Connection, meanwhile: psycopg.Connection, ada: int
) -> None:
    page = person("GET", edit(ada)).body.decode()
    form = fields_of(page, last_name="Lovelace")
    meanwhile.execute("DELETE FROM crm_subscriber_tags")
    meanwhile.execute("DELETE FROM crm_subscriber WHERE id = %s", [ada])
    answer = while_waiting(store, lambda: person.fill(edit(ada), page, form), meanwhile.commit)
    assert answer.status == 404
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (0,)


def test_an_email_that_somebody_else_takes_meanwhile_is_told(
    person: Person, store: psycopg.Connection, meanwhile: psycopg.Connection
) -> None:
    page = person("GET", ADD).body.decode()
    form = fields_of(page, email="eve@example.com")
    meanwhile.execute(
        "INSERT INTO crm_subscriber (email, status, contact_type, total_points, life_time_value, "
        "custom_values, created_at, updated_at) "
        "VALUES ('Eve@example.com', 'subscribed', 'lead', 0, 0, '{}', now(), now())"
    )
    answer = while_waiting(store, lambda: person.fill(ADD, page, form), meanwhile.commit)
    assert answer.status == 200
    assert "Another contact has this e-mail." in answer.body.decode()


def test_a_slug_that_somebody_else_takes_meanwhile_is_told(
    person: Person, store: psycopg.Connection, meanwhile: psycopg.Connection
) -> None:
    meanwhile.execute(
        "INSERT INTO crm_tag (title, slug, created_at, updated_at) "
        "VALUES ('News', 'news', now(), now())"
    )
    form = {"title": "News", "slug": "news"}
    answer = while_waiting(
        store, lambda: person.send("/admin/crm/tag/add/", form), meanwhile.commit
    )
    assert answer.status == 200
    assert "Another one has this slug." in answer.body.decode()
