"""Restore with the embedded PostgreSQL: running, stopped, and killed in the middle."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.server.postgres import USER, socket_dir
from tests.system.server import API, Server, manage
from tests.system.stores import begun, changed, wait_for_statement

SLEEP = "SELECT pg_sleep(600);"


@pytest.fixture(scope="module")
def server_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an embedded PostgreSQL that was started once, and is stopped."""
    server = Server(tmp_path_factory.mktemp("embedded"), TALLYBOOK_WORKERS="1").start()
    server.stop()
    yield server
    if not server.has_ended():
        server.stop()


@pytest.fixture(scope="module")
def backup_of_stopped(server_of_its_own: Server) -> Path:
    """A backup of that store, written while it is stopped."""
    path = server_of_its_own.data_dir.parent / "b"
    server_of_its_own.manage("backup", str(path))
    return path


@pytest.fixture(scope="module")
def slow_backup(backup_of_stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup whose restore stays in the middle."""
    return changed(backup_of_stopped, tmp_path_factory.mktemp("slow"), lambda _: {}, SLEEP)


@pytest.fixture
def socket(server_of_its_own: Server) -> str:
    """The folder of the embedded PostgreSQL's socket."""
    return str(socket_dir(server_of_its_own.data_dir))


def test_serve_names_the_restore_that_uses_the_folder(
    server_of_its_own: Server, slow_backup: Path, socket: str
) -> None:
    with begun(server_of_its_own, "restore", str(slow_backup), "--replace") as process:
        wait_for_statement(socket, SLEEP)
        serve = server_of_its_own.command("serve")
    assert serve.returncode == 1
    assert f"is in use: A restore runs as process {process.pid}." in serve.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_restore_leaves_the_old_store_and_no_other(
    server_of_its_own: Server, slow_backup: Path, socket: str, number: signal.Signals
) -> None:
    with begun(server_of_its_own, "restore", str(slow_backup), "--replace") as process:
        wait_for_statement(socket, SLEEP)
        process.send_signal(number)
        process.communicate()
    client = server_of_its_own.start().client()
    assert client("GET", f"{API}/subscribers").json()["subscribers"]["total"] == 1
    client.close()
    with psycopg.connect(host=socket, user=USER, dbname="postgres") as connection:
        names = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
    assert names == [("postgres",), ("tallybook",), ("template0",), ("template1",)]
    server_of_its_own.stop()


def test_a_restore_of_a_running_store_names_the_server(
    server_of_its_own: Server, backup_of_stopped: Path
) -> None:
    server_of_its_own.start()
    process = server_of_its_own.command("restore", str(backup_of_stopped), "--replace")
    server_of_its_own.stop()
    assert process.returncode == 1
    url = f"http://127.0.0.1:{server_of_its_own.port}"
    assert f"Tallybook runs at {url} as process" in process.stderr
    assert "Stop it first. Nothing was changed." in process.stderr


def test_a_backup_without_a_store_is_reported(server_of_its_own: Server, tmp_path: Path) -> None:
    environment = server_of_its_own.environment | {"TALLYBOOK_DATA_DIR": str(tmp_path / "none")}
    process = manage(["backup", str(tmp_path / "b")], environment)
    assert process.returncode == 1
    assert f"There is no store in {tmp_path / 'none'}." in process.stderr
