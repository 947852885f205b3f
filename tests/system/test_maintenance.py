"""Maintenance by processes: exit codes, a missing database, and the hourly command of serve."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from config.server.backup import read_manifest
from tests.backups import files_in
from tests.system.database import fetch_value
from tests.system.server import ROOT, Client, Server, manage, wait_until

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
# A server that does not wait a minute before it runs its hourly command.
SERVE_AT_ONCE = """
from config.management.commands import serve
from django.core.management import call_command
serve.SETTLED_SECONDS = 0
call_command("serve")
"""


def second_server(server: Server, folder: Path) -> Server:
    """Return another server on the same database."""
    return Server(folder, DATABASE_URL=server.environment["DATABASE_URL"])


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
    server: Server, http: Client, store: psycopg.Connection, ada_id: int
) -> None:
    http.track(**EVENT)
    store.execute("UPDATE events_trackedevent SET counter = 5")
    process = server.command("verify")
    assert process.returncode == 1
    assert "1 events differ" in process.stderr
    assert "Traceback" not in process.stderr
    assert server.command("verify", "--repair").returncode == 0
    assert server.command("verify").returncode == 0


def test_an_invalid_age_exits_with_2(server: Server) -> None:
    process = server.command("prune_occurrences", "--older-than=1y")
    assert process.returncode == 2
    assert "--older-than" in process.stderr
    assert "Traceback" not in process.stderr


def test_serve_prunes_old_keys_sessions_and_wrong_passwords(
    server: Server, http: Client, store: psycopg.Connection, tmp_path: Path, ada_id: int
) -> None:
    http.track(**EVENT, idempotency_key="a")
    store.execute("UPDATE events_idempotencykey SET created_at = now() - interval '8 days'")
    store.execute("INSERT INTO django_session VALUES ('old', '', now() - interval '1 day')")
    store.execute(
        "INSERT INTO axes_accessattempt (user_agent, ip_address, username, http_accept, path_info, "
        "attempt_time, get_data, post_data, failures_since_start) "
        "VALUES ('', '192.0.2.1', 'old', '', '', now() - interval '1 day', '', '', 1)"
    )
    count = (
        "SELECT (SELECT count(*) FROM events_idempotencykey) "
        "+ (SELECT count(*) FROM django_session WHERE session_key = 'old') "
        "+ (SELECT count(*) FROM axes_accessattempt WHERE username = 'old')"
    )
    with serving_at_once(second_server(server, tmp_path)):
        wait_until(lambda: fetch_value(store, count) == 0, 30)


def test_serve_makes_a_backup_after_its_start(
    server: Server, http: Client, tmp_path: Path, ada_id: int
) -> None:
    second = second_server(server, tmp_path)
    second.environment["TALLYBOOK_BACKUPS"] = "7"
    folder = second.data_dir / "backups"
    with serving_at_once(second):
        wait_until(lambda: list(folder.glob("tallybook-*.backup")), 120)
    (made,) = files_in(folder)
    assert read_manifest(made).tables["public.crm_subscriber"] == 1


@pytest.mark.parametrize(("command", "code"), [("verify", 1), ("check_database", 2)])
def test_a_command_without_a_database_reports_it_in_one_line(
    server: Server, command: str, code: int
) -> None:
    environment = server.environment | {"DATABASE_URL": "postgres://nobody@/:1/nothing"}
    process = manage([command], environment)
    assert process.returncode == code
    assert "The database does not answer; is it running?" in process.stderr
    assert "Traceback" not in process.stderr
