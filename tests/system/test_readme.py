"""The commands of the README, docs/retries.md and docs/filters.md, run as they stand.

make run is serve, make test is CI's.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.server import ROOT, Server


def blocks(text: str) -> list[tuple[str, str]]:
    """Kind and text of the code blocks."""
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


README = (ROOT / "README.md").read_text()
BLOCKS = blocks(README)
RETRIES = blocks((ROOT / "docs" / "retries.md").read_text())
FILTERS = blocks((ROOT / "docs" / "filters.md").read_text())


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("readme"), TALLYBOOK_WORKERS="1").start()
    yield server
    server.stop()


def filled(server: Server, text: str) -> str:
    """With the password and the port of this server."""
    secret = re.search(r"application password of admin: (.+)\n", server.output())
    assert secret
    text = text.replace("APPLICATION_PASSWORD", secret[1].replace(" ", ""))
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")


def run(server: Server, command: str) -> str:
    command = filled(server, command).replace(".venv/bin/python", sys.executable)
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
    everything = json.loads(run(started, BLOCKS[4][1]))["timeline"]
    assert [row["event_key"] for row in everything["data"]] == ["checkout"]


def test_its_commands_and_its_python_work(started: Server) -> None:
    password = next(text for _, text in BLOCKS if "create_application_password" in text)
    assert re.search(r"\n(\w{4} ){5}\w{4}$", run(started, password))
    keys = next(text for _, text in BLOCKS if "tracking_keys" in text)
    assert re.search(r"^actid=\d+ key=[0-9a-f]{40}$", run(started, keys))
    found = next(text for _, text in BLOCKS if "event_since" in text)
    assert json.loads(run(started, found))["subscribers"]["total"] == 1
    export = next(text for _, text in BLOCKS if "export_contact" in text)
    assert json.loads(run(started, export))["contact"]["email"] == "ada@example.com"
    demo = next(text for _, text in BLOCKS if "seed_demo" in text)
    assert run(started, demo).startswith("200 contacts added, with 2000 events that happened ")
    python = next(text for kind, text in BLOCKS if kind == "python")
    assert run(started, f".venv/bin/python manage.py shell -v 0 -c '{python}'") == "1"


def test_every_command_block_is_run_somewhere() -> None:
    commands = [text.split()[0:2] for kind, text in BLOCKS if kind == "sh"]
    assert commands == [
        ["make", "run"],  # as manage.py serve: test_serve.py
        ["curl", "-u"],
        ["curl", "-u"],
        ["curl", "-u"],
        [".venv/bin/python", "manage.py"],
        [".venv/bin/python", "manage.py"],
        ["make", "test"],  # .ci/run
        [".venv/bin/python", "manage.py"],
        [".venv/bin/python", "manage.py"],
        ["curl", "-u"],
    ]


def test_it_says_how_to_start_before_anything_else_and_its_links_lead_somewhere() -> None:
    assert README.index("make run") < 1200
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_page_on_retries_shows_what_happens(tmp_path: Path) -> None:
    kinds = [kind for kind, _ in RETRIES]
    assert kinds == ["sh", "json", "sh", "json", "python", "text"]
    (_, once), (_, answer), (_, batch), (_, outcome), (_, python), (_, printed) = RETRIES
    server = Server(tmp_path, TALLYBOOK_WORKERS="1").start()
    try:
        for _ in range(2):
            assert run(server, once) == answer.strip()
            assert run(server, batch) == outcome.strip()
        script = tmp_path / "retry.py"
        script.write_text(filled(server, python))
        assert run(server, f".venv/bin/python {script}") == printed.strip()
        timeline = json.loads(
            run(
                server,
                RETRIES[0][1].split("-H")[0] + "http://127.0.0.1:8000/subscribers/1/timeline",
            )
        )["timeline"]["data"]
        assert [row["title"] for row in timeline] == [
            "Logged in",
            *("Lesson 2", "Lesson 1"),
            "Order placed",
        ]
    finally:
        server.stop()


def test_the_page_on_filters_shows_what_happens(tmp_path: Path) -> None:
    kinds = [kind for kind, _ in FILTERS]
    assert kinds == ["sh", "json", "sh", "sh", "python"]
    (_, advanced), (_, refusal), (_, simple), (_, segment), (_, python) = FILTERS
    server = Server(tmp_path, TALLYBOOK_WORKERS="1").start()
    try:
        assert json.loads(run(server, simple))["subscribers"]["total"] == 0
        for _ in range(3):
            run(server, BLOCKS[1][1])
        assert json.loads(run(server, simple))["subscribers"]["total"] == 1
        found = json.loads(run(server, advanced))["subscribers"]
        assert [row["email"] for row in found["data"]] == ["ada@example.com"]
        [place] = json.loads(refusal)
        wrong = advanced.replace('"operator":"in"', '"operator":"is"')
        assert place in json.loads(run(server, wrong))
        assert json.loads(run(server, segment))["segment"]["slug"] == "bought-once"
        printed = run(server, f".venv/bin/python manage.py shell -v 0 -c '{python}'")
        assert printed.split() == ["1", "True"]
    finally:
        server.stop()
