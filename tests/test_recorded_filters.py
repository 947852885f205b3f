"""Which contacts a real FluentCRM found for 200 filters, and we find in the same order."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tests.conftest import EMPTY
from tests.system.server import API, Client, Server

RECORDED = json.loads((Path(__file__).parent / "conformance" / "filters.json").read_text())


def load(sql: psycopg.Connection) -> None:
    """The contacts and events of the recording; its tags and lists keep their ids."""
    sql.execute(EMPTY)
    for kind in ("tag", "list"):
        public = ", is_public" if kind == "list" else ""
        for row in RECORDED[f"{kind}s"]:
            sql.execute(
                f"INSERT INTO crm_{kind} (id, title, slug, created_at, updated_at{public}) "
                f"VALUES (%(id)s, %(title)s, %(slug)s, now(), now(){', false' if public else ''})",
                row,
            )
    for contact in RECORDED["contacts"]:
        [[contact_id]] = sql.execute(
            "INSERT INTO crm_subscriber (email, first_name, last_name, status, contact_type, "
            "country, total_points, life_time_value, custom_values, created_at, updated_at) VALUES "
            "(%(email)s, %(first_name)s, %(last_name)s, %(status)s, %(contact_type)s, "
            "%(country)s, 0, 0, '{}', now(), now()) RETURNING id",
            contact,
        ).fetchall()
        for kind in ("tag", "list"):
            sql.execute(
                f"INSERT INTO crm_subscriber_{kind}s (subscriber_id, {kind}_id) "
                "SELECT %s, unnest(%s::bigint[])",
                [contact_id, contact[f"{kind}s"]],
            )
    for event in RECORDED["events"]:
        sql.execute(
            "INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, "
            "counter, unlogged, repeatable, created_at, updated_at) "
            "SELECT id, %(event_key)s, %(title)s, %(value)s, %(provider)s, %(counter)s, "
            "%(counter)s, true, now(), now() FROM crm_subscriber WHERE email = %(email)s",
            event,
        )


@pytest.fixture(scope="module")
def recorded(server: Server, sql: psycopg.Connection) -> Iterator[Client]:
    """A client of the server with the contacts of the recording."""
    load(sql)
    client = server.client()
    yield client
    client.close()
    sql.execute(EMPTY)


@pytest.mark.parametrize("number", range(200))
def test_finds_the_contacts_that_fluentcrm_found(recorded: Client, number: int) -> None:
    case = RECORDED["cases"][number]
    query = {
        "filter_type": "advanced",
        "advanced_filters": json.dumps(case["advanced_filters"]),
        "per_page": "1000",
        "sort_by": "id",
        "sort_type": "ASC",
    }
    answer = recorded("GET", f"{API}/subscribers?{urlencode(query)}")
    assert answer.status == 200, answer.body
    page: dict[str, Any] = answer.json()["subscribers"]
    assert [contact["email"] for contact in page["data"]] == case["emails"]
    assert page["total"] == len(case["emails"])


def test_every_recorded_filter_is_played() -> None:
    assert len(RECORDED["cases"]) == 200
    assert sum(bool(case["emails"]) for case in RECORDED["cases"]) > 100
