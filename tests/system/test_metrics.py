"""/metrics and the logs of a real server: under load, with a killed worker, without PostgreSQL."""

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system.processes import postmaster, wait_for_workers
from tests.system.server import Client, Server, wait_until

TOKEN = "a-token-of-metrics"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
CLIENTS, EVENTS = 4, 80


@pytest.fixture(scope="module")
def measured(first_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an embedded PostgreSQL, metrics and both logs."""
    server = first_server.copy(
        tmp_path_factory.mktemp("measured"),
        TALLYBOOK_WORKERS="2",
        TALLYBOOK_METRICS_TOKEN=TOKEN,
        TALLYBOOK_ACCESS_LOG="true",
        TALLYBOOK_SLOW_STATEMENT_MS="0",
    ).start()
    yield server
    server.stop()


@pytest.fixture
def client(measured: Server) -> Iterator[Client]:
    """A client with the first application password."""
    with closing(measured.client()) as client:
        yield client


def scrape(server: Server) -> dict[tuple[str, ...], float]:
    """Read /metrics: values by name and values of the labels."""
    with closing(server.client(auth=f"Bearer {TOKEN}")) as client:
        answer = client("GET", "/metrics")
    assert answer.status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def counters(found: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Return what never falls."""
    endings = ("_total", "_bucket", "_count", "_sum")
    return {key: value for key, value in found.items() if key[0].endswith(endings)}


def lines(server: Server) -> list[dict[str, Any]]:
    """Return the lines of JSON that the server has written."""
    return [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]


def track_until_each_is_accepted(server: Server) -> None:
    with closing(server.client()) as client:
        for _ in range(EVENTS):
            accepted = False
            while not accepted:
                with suppress(OSError, http.client.HTTPException):
                    accepted = client.track(**EVENT).status == 200


def test_no_counter_falls_when_a_worker_is_killed_under_load(measured: Server) -> None:
    counted = ("tallybook_requests_total", "200", "tracking")
    before = scrape(measured).get(counted, 0)
    clients = [
        threading.Thread(target=track_until_each_is_accepted, args=[measured])
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    seen = [scrape(measured)]
    wait_until(lambda: scrape(measured).get(counted, 0) > before + 100)
    os.kill(wait_for_workers(measured)[0], signal.SIGKILL)
    while any(client.is_alive() for client in clients):
        # The worker that is asked may be the killed one.
        with suppress(OSError, http.client.HTTPException):
            seen.append(scrape(measured))
    wait_until(lambda: scrape(measured)["tallybook_workers",] == 2)
    seen.append(scrape(measured))
    for earlier, later in zip(map(counters, seen), map(counters, seen[1:]), strict=False):
        assert {key for key in earlier if later.get(key, -1.0) < earlier[key]} == set()
    # The scrapes are counted too.
    assert seen[-1][counted] - before >= CLIENTS * EVENTS


def test_metrics_are_answered_while_postgresql_is_away(measured: Server) -> None:
    os.kill(postmaster(measured), signal.SIGKILL)
    wait_until(lambda: scrape(measured)["tallybook_database_up",] == 0)
    assert scrape(measured)["tallybook_workers",] == 2
    wait_until(lambda: scrape(measured)["tallybook_database_up",] == 1, 30)


def test_each_request_is_one_line_of_the_access_log(measured: Server, client: Client) -> None:
    ids = {client("GET", f"/subscribers?page={i}").headers["X-Request-ID"] for i in range(20)}
    assert len(ids) == 20

    def logged() -> list[str]:
        return [each["request"] for each in lines(measured) if each["log"] == "access"]

    wait_until(lambda: ids <= {*logged()})
    assert sum(id_ in ids for id_ in logged()) == 20


def test_a_statement_has_the_id_of_its_request_in_the_process_that_ran_it(
    measured: Server, client: Client
) -> None:
    answer = client("GET", "/tags", headers={"X-Request-ID": "of-the-proxy"})
    assert answer.headers["X-Request-ID"] == "of-the-proxy"

    def statements() -> list[str]:
        return [
            each["statement"]
            for each in lines(measured)
            if each["log"] == "statement" and each["request"] == "of-the-proxy"
        ]

    wait_until(lambda: len(statements()) >= 2)
    assert any("crm_tag" in statement for statement in statements())


def test_the_logs_have_no_secret_and_no_value(
    first_server: Server, measured: Server, client: Client
) -> None:
    secret = first_server.password().replace(" ", "")
    client.track(**EVENT | {"title": "A title of its own", "value": "a value of its own"})
    client("GET", f"/subscribers?search=grace@example.com&api_key={secret}")
    client("GET", f"/subscribers/{secret}")
    client("GET", "/tags", headers={"X-Request-ID": "last"})
    wait_until(lambda: any(each["request"] == "last" for each in lines(measured)))
    logged = json.dumps(lines(measured))
    for text in (secret, TOKEN, "ada@example", "grace@example", "of its own"):
        assert text not in logged


def test_a_line_of_the_text_log_has_the_id_of_its_request(measured: Server, client: Client) -> None:
    client("GET", "/tags", headers={"X-Request-ID": "refused-1"}, auth="Bearer wrong")
    wait_until(lambda: "tallybook.audit [refused-1] {" in measured.output())
