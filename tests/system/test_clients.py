"""Real programs against Tallybook: their requests, and what their code reads of the responses."""

from collections.abc import Callable, Mapping
from functools import cache
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg
import pytest

from tests.clients.replay import TYPES, Program, programs, replay, value_at
from tests.system.admin_session import log_in
from tests.system.server import API, Answer, Server, basic

PROGRAMS = programs()


@pytest.fixture(scope="module")
def credentials(server: Server, sql: psycopg.Connection) -> Mapping[str, str]:
    """What a user types into a program: an application password, and ActiveCampaign's account."""
    assert server.auth
    row = sql.execute("SELECT actid, key FROM events_trackingkey").fetchone()
    assert row
    return {
        "basic": server.auth,
        "token": server.password().replace(" ", ""),
        "actid": row[0],
        "key": row[1],
        "host": f"http://127.0.0.1:{server.port}",
    }


@pytest.fixture(scope="module")
def responses(
    server: Server, sql: psycopg.Connection, emptying: str, credentials: Mapping[str, str]
) -> Callable[[Program], list[Answer]]:
    """Send the calls of a program to an empty store, once, and return the responses."""

    @cache
    def of(program: Program) -> list[Answer]:
        sql.execute(emptying)
        client = server.client(None)
        answers = replay(client, program, credentials)
        client.close()
        return answers

    return of


@pytest.mark.parametrize(
    ("program", "position"),
    [
        pytest.param(program, position, id=f"{program.name}: {call.name}")
        for program in PROGRAMS
        for position, call in enumerate(program.calls)
    ],
)
def test_a_program_gets_the_response_that_its_code_reads(
    responses: Callable[[Program], list[Answer]], program: Program, position: int
) -> None:
    call, answers = program.calls[position], responses(program)
    assert position < len(answers), "An earlier response lacks a value that this request needs."
    answer = answers[position]
    assert answer.status == call.status, answer.body
    assert {name: answer.headers[name] for name in call.response_headers} == call.response_headers
    if call.reads or call.equals or call.lacks:
        data = answer.json()
        types = {path: type(value_at(data, path)) for path in call.reads}
        assert types == {path: TYPES[name] for path, name in call.reads.items()}, data
        assert {path: value_at(data, path) for path in call.equals} == call.equals
        assert [key for key in call.lacks if key in data] == []


def test_each_call_of_a_program_has_a_name_of_its_own() -> None:
    names = [(program.name, call.name) for program in PROGRAMS for call in program.calls]
    assert len(set(names)) == len(names)


def test_the_authorize_button_of_wp_fusion_ends_with_a_password_that_connects(
    server: Server, store: psycopg.Connection
) -> None:
    """Source: wp-fusion-lite, class-fluentcrm-rest-admin.php, handle_rest_authentication."""
    settings = "https://shop.example.com/wp-admin/options-general.php?page=wpf-settings"
    query = urlencode(
        {"app_name": "WP Fusion - Shop", "success_url": f"{settings}&crm=fluentcrm-rest"}
    )
    session = log_in(server)
    answer = session.submit(
        f"/wp-admin/authorize-application.php?{query}",
        {"name": "WP Fusion - Shop", "scope": "manage", "approve": "Approve"},
    )
    session.close()
    back = answer.headers["Location"]
    assert back.startswith(f"{settings}&crm=fluentcrm-rest&"), answer.body
    given = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    assert given["site_url"] == f"http://127.0.0.1:{server.port}"
    client = server.client(basic(given["user_login"], given["password"]))
    assert client("GET", f"{API}/subscribers").status == 200
    client.close()
