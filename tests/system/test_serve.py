"""`manage.py serve` and its embedded PostgreSQL: what it prints, writes and reports."""

import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from config.server.postgres import EmbeddedPostgres, PostgresError, socket_dir
from tests.long import long
from tests.system.admin_session import AdminSession
from tests.system.server import API, Server, manage, wait_until


@pytest.fixture(scope="module")
def started(first_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The store of a first start, started again behind a proxy, in a folder with a long name."""
    folder = tmp_path_factory.mktemp("a-folder-whose-name-is-long-" + "x" * 60)
    settings = {"TALLYBOOK_WORKERS": "1", "http_proxy": "http://127.0.0.1:1"}
    server = first_server.copy(folder, **settings).start()
    yield server
    server.ensure_stopped()


def serve_elsewhere(server: Server, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py serve` in the server's environment, with changes, until it ends."""
    return manage(["serve"], server.environment | environment)


def test_the_printed_curl_line_works_when_pasted(first_server: Server, started: Server) -> None:
    line = re.search(r"^\s*(curl .*)$", first_server.output(), re.MULTILINE)
    assert line
    # The copy has a port of its own.
    pasted = line[1].replace(f":{first_server.port}/", f":{started.port}/")
    process = subprocess.run(
        ["bash", "-c", f"{pasted} --silent"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r'\{"message":"Event has been tracked","id":\d+\}', process.stdout)


@pytest.mark.parametrize(
    "pattern",
    [
        "http://127.0.0.1:{port}",
        r"login: +admin, password \S{{16}}",
        r"application password of admin: (\w{{4}} ){{5}}\w{{4}}\n",
    ],
    ids=["URL", "login", "application password"],
)
def test_the_first_start_prints_the_url_and_the_passwords(
    first_server: Server, pattern: str
) -> None:
    assert re.search(pattern.format(port=first_server.port), first_server.output())


def test_the_printed_login_opens_the_admin(first_server: Server, started: Server) -> None:
    assert re.fullmatch(r"\S{16}", first_server.admin_password())
    session = AdminSession(started)
    fields = {"username": "admin", "password": first_server.admin_password(), "next": "/admin/"}
    answer = session.submit("/admin/login/", fields)
    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")
    session.close()


def test_the_root_redirects_to_the_admin(started: Server) -> None:
    client = started.client(None)
    assert client("GET", "/").headers["Location"] == "/admin/"
    client.close()


@pytest.mark.parametrize(
    ("name", "mode"),
    [(".", 0o700), ("postgres", 0o700), ("secret_key", 0o600), ("postgres.log", 0o600)],
)
def test_only_the_owner_may_read_the_data_folder(started: Server, name: str, mode: int) -> None:
    assert stat.S_IMODE((started.data_dir / name).stat().st_mode) == mode


def test_only_the_owner_may_use_the_socket(started: Server) -> None:
    assert stat.S_IMODE(socket_dir(started.data_dir).stat().st_mode) == 0o700


def test_a_second_start_in_the_same_folder_names_the_running_server(started: Server) -> None:
    process = serve_elsewhere(started, PORT="1")
    assert process.returncode == 1
    assert f"Tallybook runs at http://127.0.0.1:{started.port}" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_port_in_use_is_reported(started: Server, tmp_path: Path) -> None:
    process = serve_elsewhere(started, TALLYBOOK_DATA_DIR=str(tmp_path))
    assert process.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{started.port}" in process.stderr


def test_a_new_application_password_is_the_last_line_and_works(started: Server) -> None:
    printed = started.manage(
        "create_application_password", "admin", "--name", "shop", "--scope", "track"
    )
    secret = printed.splitlines()[-1]
    assert re.fullmatch(r"(\w{4} ){5}\w{4}", secret)
    client = started.client(f"Bearer {secret}")
    assert client.track(event_key="k", title="t", email="ada@example.com").status == 200
    assert client("GET", f"{API}/subscribers").status == 403
    client.close()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nobody", "--name", "x", "--scope", "read"], r"^There is no user nobody\.$"),
        (["admin", "--name", "x", "--scope", "all"], "Error: argument --scope: invalid choice"),
        (["admin", "--scope", "read"], "Error: the following arguments are required: --name"),
    ],
    ids=["unknown user", "unknown scope", "no name"],
)
@pytest.mark.django_db
def test_invalid_arguments_for_an_application_password_are_rejected(
    arguments: list[str], error: str
) -> None:
    User.objects.create(username="admin")
    with pytest.raises(CommandError, match=error):
        call_command("create_application_password", *arguments)


@pytest.mark.django_db
def test_createsuperuser_works_as_in_django(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")
    arguments = ("--noinput", "--username", "second", "--email", "second@example.com")
    call_command("createsuperuser", *arguments)
    assert "Superuser created" in capsys.readouterr().out


def test_a_second_start_keeps_the_data_and_prints_no_password(started: Server) -> None:
    client = started.client()
    contact = client.contact("kept@example.com")
    client.close()
    assert started.stop(signal.SIGINT) == 0
    started.start()
    assert "application password of" not in started.output()
    client = started.client()
    shown = client("GET", f"{API}/subscribers/{contact}").json()["subscriber"]
    assert shown["email"] == "kept@example.com"
    client.close()


def test_a_start_behind_a_proxy_of_the_environment_asks_its_own_server_directly(
    started: Server,
) -> None:
    assert started.environment["http_proxy"] == "http://127.0.0.1:1"
    assert f"Tallybook answers at http://127.0.0.1:{started.port}" in started.output()


def test_a_broken_cluster_is_reported(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    with pytest.raises(PostgresError, match="PostgreSQL did not start"):
        EmbeddedPostgres(tmp_path).start()


def test_a_database_that_does_not_answer_is_reported_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "TALLYBOOK_DATA_DIR": str(tmp_path)}
    environment["DATABASE_URL"] = "postgres://x@127.0.0.1:1/x"
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    process = manage(["serve"], environment)
    assert process.returncode == 1
    assert "The database does not answer" in process.stderr
    assert "Traceback" not in process.stderr


@long
def test_a_start_waits_for_a_recovery_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres = EmbeddedPostgres(tmp_path)
    postgres.start()
    postgres.stop()
    # Before it answers, PostgreSQL looks for a file of its log, and waits for this command.
    (postgres.cluster / "recovery.signal").touch()
    with (postgres.cluster / "postgresql.auto.conf").open("a") as file:
        file.write("restore_command = 'sleep 1; false'\nhot_standby = off\n")
    postgres = EmbeddedPostgres(tmp_path)
    monkeypatch.setattr("config.server.postgres.READY_SECONDS", 0.5)
    try:
        postgres.start()
    finally:
        postgres.stop()


def test_a_killed_embedded_postgresql_is_started_again(started: Server) -> None:
    pid = int((started.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    client = started.client()
    wait_until(lambda: client("GET", "/readyz").status == 200, 20)
    assert "PostgreSQL died and is started again" in started.output()
    client.close()


def test_the_database_lies_in_the_data_folder(started: Server) -> None:
    with psycopg.connect(
        host=str(socket_dir(started.data_dir)), user="tallybook", dbname="tallybook"
    ) as connection:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
    assert row == (str(started.data_dir / "postgres"),)
