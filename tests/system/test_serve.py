"""What a newcomer does: start, paste the curl line, start again, look into the files."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.server.postgres import (
    MAX_SOCKET_DIR_LENGTH,
    EmbeddedPostgres,
    PostgresError,
    socket_dir,
)
from tests.system.server import API, ROOT, Server, manage, wait_until

SETTINGS = ROOT / "config" / "settings.py"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A first start with the embedded PostgreSQL, in a folder with a long name."""
    folder = tmp_path_factory.mktemp("a-folder-whose-name-is-long-" + "x" * 60)
    server = Server(folder, TALLYBOOK_WORKERS="1").start()
    yield server
    if not server.has_ended():
        server.stop()


def data(server: Server) -> Path:
    return Path(server.environment["TALLYBOOK_DATA_DIR"])


def test_the_printed_curl_line_works_when_pasted(started: Server) -> None:
    line = re.search(r"^\s*(curl .*)$", started.output(), re.MULTILINE)
    assert line
    done = subprocess.run(
        ["bash", "-c", f"{line[1]} --silent"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r'\{"message":"Event has been tracked","id":\d+\}', done.stdout)


def test_the_first_start_tells_the_address_the_login_and_the_application_password(
    started: Server,
) -> None:
    said = started.output()
    assert f"http://127.0.0.1:{started.port}" in said
    assert re.search(r"login: +admin, password \S{16}", said)
    assert re.search(r"application password of admin: (\w{4} ){5}\w{4}\n", said)


def test_the_printed_login_opens_the_admin(started: Server) -> None:
    password = re.search(r"password (\S{16})\n", started.output())
    assert password
    client = started.client(None)
    page = client("GET", "/admin/login/")
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert token
    cookie = page.headers["Set-Cookie"].split(";")[0]
    form = {
        "username": "admin",
        "password": password[1],
        "csrfmiddlewaretoken": token[1].decode(),
        "next": "/admin/",
    }
    answer = client("POST", "/admin/login/", form=form, headers={"Cookie": cookie})
    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")
    assert client("GET", "/").headers["Location"] == "/admin/"
    client.close()


def test_the_data_folder_is_the_owners_alone(started: Server) -> None:
    modes = {
        name: stat.S_IMODE((data(started) / name).stat().st_mode)
        for name in (".", "postgres", "secret_key")
    }
    assert modes == {".": 0o700, "postgres": 0o700, "secret_key": 0o600}
    assert stat.S_IMODE(socket_dir(data(started)).stat().st_mode) == 0o700


def test_a_second_start_in_the_same_folder_says_what_runs_already(started: Server) -> None:
    second = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={**started.environment, "PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"Tallybook runs at http://127.0.0.1:{started.port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_that_is_taken_is_told(started: Server, tmp_path: Path) -> None:
    other = started.environment | {"TALLYBOOK_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env=other,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{started.port}" in done.stderr


def test_a_new_application_password_is_the_last_line_and_works(started: Server) -> None:
    said = started.manage(
        "create_application_password", "admin", "--name", "shop", "--scope", "track"
    )
    secret = said.splitlines()[-1]
    assert re.fullmatch(r"(\w{4} ){5}\w{4}", secret)
    client = started.client(f"Bearer {secret}")
    assert client.track(event_key="k", title="t", email="ada@example.com").status == 200
    assert client("GET", f"{API}/subscribers").status == 403
    client.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nobody", "--name", "x", "--scope", "read"],
        ["admin", "--name", "x", "--scope", "all"],
        ["admin", "--scope", "read"],
    ],
)
def test_a_password_for_nobody_or_of_no_scope_is_refused(
    started: Server, arguments: list[str]
) -> None:
    with pytest.raises(AssertionError, match="rror"):
        started.manage("create_application_password", *arguments)


def test_createsuperuser_works_as_in_django(started: Server) -> None:
    started.environment |= {"DJANGO_SUPERUSER_PASSWORD": "correct horse battery"}
    arguments = ("--noinput", "--username", "second", "--email", "second@example.com")
    assert "Superuser created" in started.manage("createsuperuser", *arguments)


def test_a_second_start_keeps_everything_and_tells_no_secret(started: Server) -> None:
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


def test_a_data_folder_of_another_major_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresError, match=r"made by PostgreSQL 15, and this is PostgreSQL 18"):
        EmbeddedPostgres(tmp_path).start()


def test_a_broken_cluster_is_told_with_postgresqls_own_words(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    with pytest.raises(PostgresError, match="PostgreSQL did not start"):
        EmbeddedPostgres(tmp_path).start()


def test_a_socket_path_is_never_too_long(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 200)
    assert len(os.fsencode(socket_dir(long))) <= MAX_SOCKET_DIR_LENGTH
    assert socket_dir(long) == socket_dir(long)
    assert socket_dir(long) != socket_dir(tmp_path / ("y" * 200))
    assert socket_dir(Path("/srv/var")) == Path("/srv/var/socket")


def test_a_database_that_does_not_answer_is_told_in_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "TALLYBOOK_DATA_DIR": str(tmp_path)}
    environment |= {"DATABASE_URL": "postgres://x@127.0.0.1:1/x", "DJANGO_SETTINGS_MODULE": ""}
    del environment["DJANGO_SETTINGS_MODULE"]
    done = manage(["serve"], environment)
    assert done.returncode == 1
    assert "The database does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    read = dict(
        re.findall(
            r'env\.\w+\(\s*"(\w+)"(?:,\s*default=(.*?))?\)(?: or|$| if|\n)',
            SETTINGS.read_text(),
            re.MULTILINE,
        )
    )
    example = dict(
        re.findall(r"^#?\s?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
    assert set(example) == set(read)
    python = {"False": "false", "True": "true", "[]": "", '""': "", "0": "0"}
    for name, default in read.items():
        plain = python.get(default, default.strip('"'))
        if default.startswith('["'):
            plain = ",".join(re.findall(r'"([^"]+)"', default))
        assert example[name] == plain, name


def test_an_env_file_made_from_the_example_changes_nothing(tmp_path: Path) -> None:
    """Every line of it, uncommented, is the default."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    uncommented = [line.lstrip("# ") for line in lines if re.match(r"#?\s?[A-Z_]+=", line)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TALLYBOOK")
    }
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    script = (
        "from django.conf import settings as s; print(s.HOST, s.PORT, s.DEBUG, s.TIME_ZONE, "
        "s.ALLOWED_HOSTS, s.HTTPS, s.WORKERS, s.EMBEDDED_POSTGRES, s.DATA_DIR.name)"
    )

    def settings(extra: dict[str, str]) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**environment, **extra},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    pairs = dict(line.split("=", 1) for line in uncommented)
    assert settings(pairs) == settings({})


def test_a_dead_embedded_postgresql_does_not_stop_the_web_server(started: Server) -> None:
    pid = int((data(started) / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    client = started.client()
    wait_until(lambda: client("GET", "/readyz").status == 200, 20)
    assert "PostgreSQL died and is started again" in started.output()
    client.close()


def test_the_server_needs_no_database_server_to_be_installed(started: Server) -> None:
    with psycopg.connect(
        host=str(socket_dir(data(started))), user="tallybook", dbname="tallybook"
    ) as connection:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
    assert row == (str(data(started) / "postgres"),)
