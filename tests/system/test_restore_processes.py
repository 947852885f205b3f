"""Restore with an embedded PostgreSQL, as processes of which one is killed in the middle."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.server.postgres import USER, socket_dir
from tests.system.server import Server, manage
from tests.system.stores import begun, changed, wait_for_statement

SLEEP = "SELECT pg_sleep(600);"


@pytest.fixture(scope="module")
def stopped(first_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A stopped server with an embedded store."""
    server = first_server.copy(tmp_path_factory.mktemp("embedded"), TALLYBOOK_WORKERS="1")
    yield server
    server.ensure_stopped()


@pytest.fixture
def slow_backup(shop_backup: Path, tmp_path: Path) -> str:
    """A backup whose restore stays in the middle."""
    return str(changed(shop_backup, tmp_path, lambda _: {}, SLEEP))


@pytest.fixture
def socket(stopped: Server) -> str:
    """The folder of the embedded PostgreSQL's socket."""
    return str(socket_dir(stopped.data_dir))


def test_serve_names_a_restore_that_runs(stopped: Server, slow_backup: str, socket: str) -> None:
    with begun(stopped, "restore", slow_backup, "--replace") as process:
        wait_for_statement(socket, SLEEP)
        serve = stopped.command("serve")
        process.terminate()
        process.communicate()
    assert serve.returncode == 1
    assert f"is in use: A restore runs as process {process.pid}." in serve.stderr


def test_a_killed_restore_leaves_the_old_store_and_no_other(
    stopped: Server, slow_backup: str, socket: str
) -> None:
    with begun(stopped, "restore", slow_backup, "--replace") as process:
        wait_for_statement(socket, SLEEP)
        process.kill()
        process.communicate()
    client = stopped.start().client(None)
    assert client("GET", "/readyz").status == 200
    client.close()
    with psycopg.connect(host=socket, user=USER, dbname="tallybook") as connection:
        contacts = connection.execute("SELECT count(*) FROM crm_subscriber").fetchone()
        names = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
    assert contacts == (1,)
    assert names == [("postgres",), ("tallybook",), ("template0",), ("template1",)]


def test_a_backup_without_a_store_is_reported(stopped: Server, tmp_path: Path) -> None:
    environment = stopped.environment | {"TALLYBOOK_DATA_DIR": str(tmp_path / "none")}
    process = manage(["backup", str(tmp_path / "b")], environment)
    assert process.returncode == 1
    assert f"There is no store in {tmp_path / 'none'}." in process.stderr
