"""Every command of the README, run as it stands; make run is serve, make test is CI's."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.server import ROOT, Server

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("readme"), TALLYBOOK_WORKERS="1").start()
    yield server
    server.stop()


def run(server: Server, command: str) -> str:
    secret = re.search(r"application password of admin: (.+)\n", server.said())
    assert secret
    command = command.replace("APPLICATION_PASSWORD", secret[1].replace(" ", ""))
    command = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    command = command.replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl --silent ")],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_its_curl_lines_get_the_answers_it_shows(started: Server) -> None:
    track, answer = BLOCKS[1][1], BLOCKS[2][1].strip()
    assert run(started, track) == answer
    timeline = run(started, BLOCKS[3][1])
    assert '"event_key":"checkout","title":"Order placed"' in timeline
    assert '"total":1' in timeline


def test_its_password_command_and_its_python_work(started: Server) -> None:
    password = next(text for _, text in BLOCKS if "create_application_password" in text)
    assert re.search(r"\n(\w{4} ){5}\w{4}$", run(started, password))
    python = next(text for kind, text in BLOCKS if kind == "python")
    assert run(started, f".venv/bin/python manage.py shell -v 0 -c '{python}'") == "1"


def test_every_command_block_is_run_somewhere() -> None:
    commands = [text.split()[0:2] for kind, text in BLOCKS if kind == "sh"]
    assert commands == [
        ["make", "run"],  # as manage.py serve: test_serve.py
        ["curl", "-u"],
        ["curl", "-u"],
        ["make", "test"],  # .ci/run
        [".venv/bin/python", "manage.py"],
    ]


def test_it_says_how_to_start_before_anything_else_and_its_links_lead_somewhere() -> None:
    assert README.index("make run") < 1200
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
