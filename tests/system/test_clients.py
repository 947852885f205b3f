"""Real programs against Tallybook over a socket: their requests, and what their code reads of the responses."""

from collections.abc import Mapping

import psycopg
import pytest

from tests.clients.replay import TYPES, Call, Program, programs, replay, value_at
from tests.system.server import Answer, Server

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
def answers(
    request: pytest.FixtureRequest,
    server: Server,
    sql: psycopg.Connection,
    emptying: str,
    credentials: Mapping[str, str],
) -> list[Answer]:
    """The responses to all calls of a program, on an empty store."""
    sql.execute(emptying)
    client = server.client(None)
    responses = replay(client, request.param, credentials)
    client.close()
    return responses


def cases() -> list[object]:
    return [
        pytest.param(program, position, call, id=f"{program.name} {call.name}")
        for program in PROGRAMS
        for position, call in enumerate(program.calls)
    ]


@pytest.mark.parametrize(("answers", "position", "call"), cases(), indirect=["answers"])
def test_a_program_gets_the_response_that_its_code_reads(
    answers: list[Answer], position: int, call: Call
) -> None:
    assert position < len(answers), "The request could not be sent, because an earlier one failed."
    answer = answers[position]
    assert answer.status == call.status, answer.body
    for name, value in call.response_headers.items():
        assert answer.headers[name] == value
    if not (call.reads or call.equals or call.lacks):
        return
    data = answer.json()
    types = {path: type(value_at(data, path)) for path in call.reads}
    assert types == {path: TYPES[name] for path, name in call.reads.items()}, data
    assert {path: value_at(data, path) for path in call.equals} == call.equals
    assert [path for path in call.lacks if path in data] == []


def test_programs_have_names_and_calls_of_their_own() -> None:
    names = [(program.name, call.name) for program in PROGRAMS for call in program.calls]
    assert len(set(names)) == len(names)
    assert all(isinstance(program, Program) and program.calls for program in PROGRAMS)
