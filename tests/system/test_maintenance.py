"""Maintenance by processes: exit codes, a missing database, and the hourly command of serve."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from config.server.backup import read_manifest
from tests.backups import files_in
from tests.databases import use
from tests.system.database import fetch_value
from tests.system.fixtures import SERVED
from tests.system.server import ROOT, Client, Server, manage, wait_until

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
# A server that does not wait a minute before it runs its hourly command.
SERVE_AT_ONCE = """
from config.management.commands import serve
from django.core.management import call_command
serve.SETTLED_SECONDS = 0
call_command("serve")
"""


@contextmanager
def serving_at_once(server: Server) -> Iterator[None]:
    """Run `serve` with its hourly command, and stop it at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", SERVE_AT_ONCE],
        cwd=ROOT,
        env=server.environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_verify_exits_with_1_while_an_event_differs(
    server: Server,
    http: Client,
    store: psycopg.Connection,
    ada_id: int,
    django_db_blocker: DjangoDbBlocker,
) -> None:
    http.track(**EVENT)
    store.execute("UPDATE events_trackedevent SET counter = 5")
    process = server.command("verify")
    assert process.returncode == 1
    assert "1 events differ" in process.stderr
    assert "Traceback" not in process.stderr
    with django_db_blocker.unblock(), use(SERVED):
        call_command("verify", "--repair")
        call_command("verify")


def test_an_invalid_age_exits_with_2(server: Server) -> None:
    process = server.command("prune_occurrences", "--older-than=1y")
    assert process.returncode == 2
    assert "--older-than" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(("command", "code"), [("verify", 1), ("check_database", 2)])
def test_a_command_without_a_database_reports_it_in_one_line(
    server: Server, command: str, code: int
) -> None:
    environment = server.environment | {"DATABASE_URL": "postgres://nobody@/:1/nothing"}
    process = manage([command], environment)
    assert process.returncode == code
    assert "The database does not answer; is it running?" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.fixture(scope="module")
def backups(
    server: Server,
    sql: psycopg.Connection,
    emptying: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """The folder of backups of a `serve` that finds a contact, and rows that are old.

    `serve` runs until the last test of this file.
    """
    sql.execute(emptying)
    with closing(server.client()) as client:
        client.contact("ada@example.com")
        client.track(**EVENT, idempotency_key="a")
    sql.execute("UPDATE events_idempotencykey SET created_at = now() - interval '8 days'")
    sql.execute("INSERT INTO django_session VALUES ('old', '', now() - interval '1 day')")
    sql.execute(
        "INSERT INTO axes_accessattempt (user_agent, ip_address, username, http_accept, "
        "path_info, attempt_time, get_data, post_data, failures_since_start) "
        "VALUES ('', '192.0.2.1', 'old', '', '', now() - interval '1 day', '', '', 1)"
    )
    second = Server(
        tmp_path_factory.mktemp("second"),
        DATABASE_URL=server.environment["DATABASE_URL"],
        TALLYBOOK_BACKUPS="7",
        TALLYBOOK_WORKERS="1",
    )
    with serving_at_once(second):
        yield second.data_dir / "backups"


@pytest.mark.usefixtures("backups")
def test_serve_prunes_old_keys_sessions_and_wrong_passwords(sql: psycopg.Connection) -> None:
    count = (
        "SELECT (SELECT count(*) FROM events_idempotencykey) "
        "+ (SELECT count(*) FROM django_session WHERE session_key = 'old') "
        "+ (SELECT count(*) FROM axes_accessattempt WHERE username = 'old')"
    )
    wait_until(lambda: fetch_value(sql, count) == 0, 30)


def test_serve_makes_a_backup_after_its_start(backups: Path) -> None:
    wait_until(lambda: list(backups.glob("tallybook-*.backup")), 120)
    (made,) = files_in(backups)
    assert read_manifest(made).tables["public.crm_subscriber"] == 1
