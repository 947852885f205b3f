"""ActiveCampaign's event call over the socket: its own clients, many calls at once, statements."""

import json
import shutil
import subprocess
from typing import Any

import psycopg
import pytest

from tests.system.database import count_statements, counted
from tests.system.server import ROOT, Client, Server
from tests.system.threads import in_threads

SPAWNED = {"success": 1, "message": "Event spawned"}
CLIENTS = ROOT / "tests" / "clients"
# The official PHP wrapper's request. Its version 2 sends the API key in the query string.
PHP_QUERY = "?api_key=0123456789abcdef"
PHP_BODY = (CLIENTS / "php-wrapper.txt").read_text().strip()
EVENT = {"event": "my_custom_event", "eventdata": "12345"}
FORM = {"event": "e", "visit": json.dumps({"email": "ada@example.com"})}


@pytest.fixture
def pair(store: psycopg.Connection) -> dict[str, str]:
    """The credential that the first start made: actid and key."""
    row = store.execute("SELECT actid, key FROM events_trackingkey").fetchone()
    assert row
    return {"actid": row[0], "key": row[1]}


def test_the_recorded_request_of_the_php_wrapper_counts(
    http: Client, store: psycopg.Connection, pair: dict[str, str], ada_id: int
) -> None:
    body = PHP_BODY.replace("ACTID", pair["actid"]).replace("KEY", pair["key"])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http("POST", f"/event{PHP_QUERY}", body=body.encode(), headers=headers, auth=None)
    assert (answer.status, answer.json()) == (200, SPAWNED)
    row = store.execute("SELECT event_key, value FROM events_eventoccurrence").fetchone()
    assert row == ("my_custom_event", "12345 & more")


@pytest.fixture
def node() -> str:
    """The path of node, with the npm package `activecampaign`."""
    path = shutil.which("node")
    if not path:
        pytest.skip("node is not installed: apt-get install nodejs npm")
    if not (CLIENTS / "node_modules" / "activecampaign").exists():
        pytest.skip("the npm package is not installed: make install")
    return path


@pytest.mark.parametrize(
    ("change", "expected", "count"),
    [
        (
            {"calls": [EVENT, EVENT | {"visit": {"ip4": "192.0.2.1"}}, EVENT | {"eventdata": 7}]},
            [SPAWNED] * 3,
            3,
        ),
        (
            {"email": "nobody@example.com"},
            [{"success": 0, "message": "There is no contact with this email address."}],
            0,
        ),
        ({"actid": ""}, [{"success": 0, "message": "An account ID must be provided."}], 0),
        # Version 2 sends the API key in the query string.
        ({"version": 2}, [SPAWNED], 1),
        # Without track_email the package sends `visit` unchanged.
        (
            {"email": "", "calls": [EVENT | {"visit": {"email": "ada@example.com"}}]},
            [SPAWNED],
            1,
        ),
    ],
    ids=["three calls", "unknown contact", "no account id", "version 2", "visit unchanged"],
)
def test_the_npm_package_works_with_another_host(
    server: Server,
    store: psycopg.Connection,
    node: str,
    pair: dict[str, str],
    ada_id: int,
    change: dict[str, Any],
    expected: list[Any],
    count: int,
) -> None:
    given = {"email": "ada@example.com", "version": 1, "calls": [EVENT], **pair}
    assert run_npm_package(node, server, given | change) == expected
    assert counted(store) == (count, count)


def run_npm_package(node: str, server: Server, given: dict[str, Any]) -> list[Any]:
    """Return what the package says of each call."""
    login = {"host": f"http://127.0.0.1:{server.port}", "token": server.password()}
    process = subprocess.run(
        [node, str(CLIENTS / "track.js")],
        input=json.dumps(login | given),
        capture_output=True,
        text=True,
        check=True,
    )
    said: list[Any] = json.loads(process.stdout)
    return said


@pytest.mark.parametrize(
    ("version", "calls", "expected"),
    [
        (1, ["credentials_test", {}], {"success": 1, "username": "admin"}),
        (1, ["account/view", {}], {"success": 1}),
        (1, ["contact/sync", {"email": "grace@example.com"}], {"success": 1}),
        (1, ["contact/view?email=ada@example.com", {}], {"success": 1, "email": "ada@example.com"}),
        (1, ["contact/tag_add", {"email": "ada@example.com", "tags": "Lead"}], {"success": 1}),
        (1, ["contact/tag_remove", {"email": "ada@example.com", "tags": "Lead"}], {"success": 1}),
        (1, ["contact/view?email=unknown@example.com", {}], {"success": 0}),
        (1, ["campaign/list", {}], {"success": 0, "error": "Tallybook has no such call."}),
        (2, ["tracking/event/list", {}], {"success": 1}),
        (2, ["tracking/event/status", {"status": "enable"}], {"success": 1}),
        (2, ["tracking/site/list", {}], {"success": 0}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_npm_package_reads_the_responses_of_the_old_door(
    server: Server,
    node: str,
    pair: dict[str, str],
    ada_id: int,
    version: int,
    calls: list[Any],
    expected: dict[str, Any],
) -> None:
    given = {"email": "", "version": version, "calls": [calls], **pair}
    [said] = run_npm_package(node, server, given)
    assert {name: said.get(name) for name in expected} == expected, said


def test_320_calls_of_16_clients_at_once_count_320(
    server: Server, store: psycopg.Connection, pair: dict[str, str], ada_id: int
) -> None:
    clients = [server.client(None) for _ in range(16)]

    def work(index: int) -> set[int]:
        answers = [clients[index]("POST", "/event", form=pair | FORM) for _ in range(20)]
        return {answer.json()["success"] for answer in answers}

    assert in_threads(16, work) == [{1}] * 16
    assert counted(store) == (320, 320)
    for client in clients:
        client.close()


def test_a_call_costs_2_statements(
    http: Client, store: psycopg.Connection, pair: dict[str, str], ada_id: int
) -> None:
    def work() -> None:
        assert http("POST", "/event", form=pair | FORM, auth=None).json() == SPAWNED

    assert count_statements(store, work) == 2
