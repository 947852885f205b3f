"""/metrics, the access log and the log of slow statements, in this process."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse
from pytest_django import Settings as SettingsFixture

from automations.models import Endpoint
from config import json_log
from config.log_writer import writer
from crm.models import Job, Subscriber
from crm.models.jobs import JobState
from tests.api.automation import MARK, happens, published
from tests.backups import daily_backup

TOKEN = "a-token-of-metrics"
BEARER = {"authorization": f"Bearer {TOKEN}"}
API = "/wp-json/fluent-crm/v2"


@pytest.fixture
def token(settings: SettingsFixture) -> None:
    settings.METRICS_TOKEN = TOKEN


@pytest.fixture
def scrape(db: None, token: None, client: Client) -> Callable[[], dict[tuple[str, ...], float]]:
    """Read /metrics: values by name and values of the labels."""

    def read() -> dict[tuple[str, ...], float]:
        text = client.get("/metrics", headers=BEARER).content.decode()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in parse(text)
            for sample in family.samples
        }

    return read


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return the lines of JSON that were written."""
    lines: list[bytes] = []
    monkeypatch.setattr(writer, "add", lambda line, **_: lines.append(line))
    return lambda: [json.loads(line) for line in lines if line.startswith(b"{")]


@pytest.fixture
def access_log(logged: Any, settings: SettingsFixture) -> Any:
    """Write the access log, and return its lines."""
    settings.ACCESS_LOG = True
    return logged


def test_without_a_token_there_are_no_metrics(client: Client) -> None:
    assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer größe"]
)
def test_metrics_need_the_token(client: Client, token: None, sent: str) -> None:
    response = client.get("/metrics", headers={"authorization": sent})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="metrics"'
    assert b"tallybook" not in response.content


@pytest.mark.django_db
def test_the_scheme_of_the_token_is_read_in_any_case(client: Client, token: None) -> None:
    headers = {"authorization": f"bearer {TOKEN}"}
    assert client.get("/metrics", headers=headers).status_code == 200


def test_metrics_are_only_read(client: Client, token: None) -> None:
    assert client.post("/metrics", headers=BEARER).status_code == 405


@pytest.mark.django_db
def test_metrics_are_answered_by_address(client: Client, token: None) -> None:
    response = client.get("/metrics", headers=BEARER | {"host": "10.0.3.7:8000"})
    assert response.status_code == 200


@pytest.mark.django_db
def test_who_asks_for_openmetrics_gets_them(client: Client, token: None) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = client.get("/metrics", headers=BEARER | accept)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert [*parse_openmetrics(response.content.decode())]  # type: ignore[no-untyped-call]


def test_metrics_have_the_version_and_the_disk(scrape: Any) -> None:
    found = scrape()
    assert found["tallybook_info", "0.1.0"] == 1
    assert found["tallybook_disk_bytes",] > found["tallybook_disk_free_bytes",] > 0


def test_metrics_have_the_time_of_the_last_backup(scrape: Any, backups: Path) -> None:
    assert ("tallybook_last_backup_time_seconds",) not in scrape()
    daily_backup(backups, hours_ago=2)
    age = time.time() - scrape()["tallybook_last_backup_time_seconds",]
    assert 7100 < age < 7300


def test_metrics_have_the_bytes_of_each_table(scrape: Any) -> None:
    found = scrape()
    assert found["tallybook_database_up",] == 1
    assert found["tallybook_table_bytes", "indexes", "events_eventoccurrence"] > 0
    assert found["tallybook_database_bytes",] > 1_000_000


def test_metrics_have_the_jobs_that_wait(scrape: Any) -> None:
    assert scrape()["tallybook_jobs", "waiting"] == 0
    for state in (JobState.WAITING, JobState.WAITING, JobState.DONE):
        Job.objects.create(kind="k", title="t", state=state)
    found = scrape()
    assert (found["tallybook_jobs", "waiting"], found["tallybook_jobs", "running"]) == (2, 0)


def test_metrics_have_what_automations_have_not_acted_on(scrape: Any, ada: Subscriber) -> None:
    published(MARK)
    happens(ada)
    found = scrape()
    assert found["tallybook_outbox_entries",] == 1
    assert 0 < found["tallybook_outbox_oldest_seconds",] < 60


def test_metrics_have_the_deliveries_that_wait(scrape: Any) -> None:
    endpoint = Endpoint.objects.create(url="https://example.com/", secret="s")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO automations_delivery (message_id, endpoint_id, body, status, attempts,"
            " tries, next_at) VALUES ('m', %s, '', 'held', 0, 0, now())",
            [endpoint.pk],
        )
    found = scrape()
    assert found["tallybook_webhook_deliveries", "held"] == 1
    assert found["tallybook_webhook_deliveries", "pending"] == 0


def test_a_request_is_counted_by_its_class_and_status(scrape: Any, send: Any) -> None:
    counted = ("tallybook_requests_total", "401", "api")
    before = scrape().get(counted, 0)
    send(path=f"{API}/tags")
    assert scrape()[counted] == before + 1


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_probe_is_not_counted_as_tracking(scrape: Any, send: Any, path: str) -> None:
    probes = "tallybook_request_duration_seconds_count", "probes"
    tracking = "tallybook_request_duration_seconds_count", "tracking"
    before = scrape()
    send(path=path)
    after = scrape()
    assert (after[probes], after[tracking]) == (before[probes] + 1, before[tracking])


def test_the_duration_of_a_request_is_counted(scrape: Any, send: Any) -> None:
    counted = ("tallybook_request_duration_seconds_count", "people")
    before = scrape()[counted]
    send(path="/admin/login/")
    assert scrape()[counted] == before + 1


def test_a_rejected_body_is_counted(scrape: Any, send: Any) -> None:
    counted = ("tallybook_requests_total", "413", "api")
    before = scrape().get(counted, 0)
    headers = {"host": "localhost", "content-length": "99999999", "content-type": "text/plain"}
    send(method="POST", path=f"{API}/subscribers", headers=headers)
    assert scrape()[counted] == before + 1


def test_a_response_has_no_request_id_while_nothing_is_logged(send: Any) -> None:
    _, headers, _ = send(path=f"{API}/tags")
    assert "X-Request-ID" not in headers


def test_a_response_has_the_id_of_its_line_in_the_access_log(send: Any, access_log: Any) -> None:
    _, headers, body = send(path=f"{API}/tags", client="192.0.2.7:4000")
    [line] = access_log()
    assert line["request"] == headers["X-Request-ID"]
    assert {**line, "time": "", "ms": 0, "request": ""} == {
        "time": "",
        "log": "access",
        "request": "",
        "client": "192.0.2.7",
        "method": "GET",
        "path": f"{API}/tags",
        "status": 401,
        "ms": 0,
        "bytes": len(body),
        "work": "api",
    }


def test_a_response_has_the_id_that_a_proxy_has_sent(send: Any, access_log: Any) -> None:
    headers = {"host": "localhost", "x-request-id": "from-the-proxy"}
    assert send(path=f"{API}/tags", headers=headers)[1]["X-Request-ID"] == "from-the-proxy"


def test_the_access_log_has_the_client_that_a_proxy_names(
    send: Any, access_log: Any, settings: SettingsFixture
) -> None:
    settings.PROXIES = 1
    headers = {"host": "localhost", "x-forwarded-for": "6.6.6.6, 192.0.2.9"}
    send(path=f"{API}/tags", headers=headers)
    assert access_log()[0]["client"] == "192.0.2.9"


def test_the_access_log_has_no_query_and_no_credential(send: Any, access_log: Any) -> None:
    headers = {"host": "localhost", "authorization": "Bearer secret", "api-token": "secret"}
    send(path="/api/3/contacts", query_string="email=secret", headers=headers)
    assert "secret" not in json.dumps(access_log())


def test_a_rejected_request_has_an_id_and_a_line(send: Any, access_log: Any) -> None:
    headers = {"host": "localhost", "content-length": "99999999", "content-type": "text/plain"}
    _, headers, _ = send(method="POST", path=f"{API}/subscribers", headers=headers)
    [line] = access_log()
    assert (line["status"], line["request"]) == (413, headers["X-Request-ID"])


@pytest.fixture
def slow_statements(db: None, settings: SettingsFixture, logged: Any) -> Any:
    """Write statements of 1 ms or more, and return the lines so far."""
    settings.SLOW_STATEMENT_MS = 1
    kept = connection.connection.cursor_factory
    json_log.time_statements(connection)
    yield logged
    connection.connection.cursor_factory = kept


def test_a_slow_statement_is_written_without_its_parameters(slow_statements: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.01), -- why\n  %s::text", ["secret"])
    [line] = slow_statements()
    assert line["statement"] == "SELECT pg_sleep(0.01), %s::text"
    assert line["ms"] >= 10


def test_a_slow_statement_that_fails_is_written(slow_statements: Any) -> None:
    with pytest.raises(Exception, match="division"), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / length(pg_sleep(0.01)::text)")
    assert len(slow_statements()) == 1


def test_a_quick_statement_is_not_written(slow_statements: Any, settings: SettingsFixture) -> None:
    settings.SLOW_STATEMENT_MS = 10_000
    Subscriber.objects.count()
    assert slow_statements() == []


def test_a_slow_statement_has_the_id_of_its_request(
    slow_statements: Any, settings: SettingsFixture, send: Any
) -> None:
    settings.SLOW_STATEMENT_MS = 0
    _, headers, _ = send(path="/readyz")
    lines = slow_statements()
    assert lines
    assert {line["request"] for line in lines} == {headers["X-Request-ID"]}
