"""The commands of README.md and docs, run as they stand.

A line such as `<!-- test: track -->` above a code block gives the block its name.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings as SettingsFixture

from automations.webhooks.client import post
from automations.webhooks.signing import new_secret, signed_headers
from config.server.postgres import USER, socket_dir
from tests.databases import deletion
from tests.system.fixtures import TABLES
from tests.system.server import ROOT, Server, free_port, wait_until

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = re.compile(r"<!-- test: ([\w-]+) -->\n```\w+\n(.*?)```", re.DOTALL)
BLOCKS: list[tuple[str, str]] = [
    block for page in PAGES for block in NAMED.findall(page.read_text())
]
TEXTS = dict(BLOCKS)
# make run is manage.py serve, which test_serve.py runs. make test runs this test.
RUN_ELSEWHERE = {"make-run", "make-test"}
# Ids begin with 1 again.
RESTART = """
SELECT setval(s.oid, 1, false) FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
WHERE s.relkind = 'S' AND d.refobjid = ANY (%s::regclass[])
"""


@pytest.fixture(scope="module")
def used() -> Iterator[set[str]]:
    """The names of the blocks that the tests of this file have used."""
    names: set[str] = set(RUN_ELSEWHERE)
    yield names
    assert names == set(TEXTS)


@pytest.fixture(scope="module")
def served(first_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this file. It is not started."""
    server = first_server.copy(tmp_path_factory.mktemp("readme"), TALLYBOOK_WORKERS="1")
    yield server
    server.ensure_stopped()


@pytest.fixture
def started(first_server: Server, served: Server, tmp_path: Path, used: set[str]) -> "Reader":
    """A person who reads the documentation with a store as the first start leaves it."""
    if served.has_ended():
        served.start()
    folder = str(socket_dir(served.data_dir))
    with psycopg.connect(host=folder, user=USER, dbname="tallybook", autocommit=True) as sql:
        tables = [name for (name,) in sql.execute(TABLES)]
        sql.execute(deletion(tables))
        sql.execute(RESTART, [tables])
    with closing(served.client()) as client:
        client.contact("ada@example.com", first_name="Ada", last_name="Lovelace")
    return Reader(served, first_server.password(), used, tmp_path)


class Reader:
    """Runs the named blocks against a server, with a home folder of its own."""

    def __init__(self, server: Server, password: str, used: set[str], home: Path) -> None:
        self.server = server
        self.password = password.replace(" ", "")
        self.used = used
        self.environment = {**server.environment, "HOME": str(home)}

    def text(self, name: str) -> str:
        """Return a block with the password and the port of the server."""
        self.used.add(name)
        text = TEXTS[name].strip().replace("APPLICATION_PASSWORD", self.password)
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.server.port}")

    def run(self, name: str) -> str:
        """Run the commands of a block. Return what they print."""
        return self.shell(self.text(name))

    def shell(self, command: str) -> str:
        """Run a command in the checkout. Return what it prints."""
        command = command.replace(".venv/bin/python", sys.executable)
        done = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl --silent ")],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def python(self, name: str) -> str:
        """Run a block in the server's Django shell. Return what it prints."""
        return self.shell(f".venv/bin/python manage.py shell -v 0 -c '{self.text(name)}'")


def test_each_name_of_a_block_is_given_once() -> None:
    assert sorted(TEXTS) == sorted(name for name, _ in BLOCKS)


def test_the_readme_says_how_to_start_before_anything_else() -> None:
    assert PAGES[0].read_text().index("make run") < 1200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_the_first_steps_show_what_happens(started: Reader) -> None:
    assert started.run("track") == TEXTS["track-response"].strip()
    events = json.loads(started.run("tracking-events"))["events"]["data"]
    assert [(row["event_key"], row["counter"]) for row in events] == [("checkout", "1")]
    [occurrence] = json.loads(started.run("timeline"))["timeline"]["data"]
    assert (occurrence["event_key"], occurrence["title"]) == ("checkout", "Order placed")
    assert started.run("seed-demo").startswith("200 contacts added, with 2000 events and ")
    assert json.loads(started.run("find-contacts"))["subscribers"]["total"] == 1
    assert json.loads(started.run("tutorial-segment"))["segment"]["slug"] == "buyers"
    buyers = json.loads(started.run("tutorial-segment-contacts"))["subscribers"]["total"]
    assert 1 < buyers <= 200 + 3


def test_the_commands_of_the_guides_print_what_a_program_needs(started: Reader) -> None:
    assert re.search(r"\n(\w{4} ){5}\w{4}$", started.run("create-password"))
    assert re.search(r"^actid=\d+ key=[0-9a-f]{40}$", started.run("tracking-keys"))
    assert json.loads(started.run("export-contact"))["contact"]["email"] == "ada@example.com"
    assert started.python("python-track") == "1"


def test_the_page_on_retries_shows_what_happens(started: Reader, tmp_path: Path) -> None:
    for _ in range(2):
        assert started.run("retry-header") == started.text("retry-header-response")
        assert started.run("retry-batch") == started.text("retry-batch-response")
    script = tmp_path / "retry.py"
    script.write_text(started.text("retry-python"))
    printed = started.shell(f".venv/bin/python {script}")
    assert printed == started.text("retry-python-output")
    timeline = json.loads(started.run("timeline"))["timeline"]["data"]
    titles = [row["title"] for row in timeline]
    assert titles == ["Logged in", "Lesson 2", "Lesson 1", "Order placed"]
    assert started.run("retry-take-back") == started.text("retry-take-back-response")
    assert started.run("retry-header") == started.text("retry-header-response")


def test_the_page_on_filters_shows_what_happens(started: Reader) -> None:
    assert json.loads(started.run("simple-parameters"))["subscribers"]["total"] == 0
    for _ in range(3):
        assert started.run("track") == started.text("track-response")
    assert json.loads(started.run("simple-parameters"))["subscribers"]["total"] == 1
    found = json.loads(started.run("advanced-filter"))["subscribers"]
    assert [row["email"] for row in found["data"]] == ["ada@example.com"]
    for name in ("left-carts", "dear-checkouts"):
        asked = re.sub(
            r"\[\[.*\]\]", started.text(name), started.text("advanced-filter"), flags=re.DOTALL
        )
        assert json.loads(started.shell(asked))["subscribers"]["total"] == 0
    invalid = started.text("advanced-filter").replace('"operator":"in"', '"operator":"is"')
    [error] = json.loads(started.text("filter-error"))
    assert error in json.loads(started.shell(invalid))
    assert json.loads(started.run("save-segment"))["segment"]["slug"] == "bought-once"
    assert started.python("filter-python").split() == ["1", "True"]


def test_the_tutorial_on_abandoned_carts_shows_what_happens(started: Reader) -> None:
    assert '"status":"draft"' in started.run("cart-create")
    dry = json.loads(started.run("cart-dry-run"))["dry_run"]
    assert [step["type"] for step in dry["steps"]] == ["wait_until", "add_tags"]
    assert '"status":"published"' in started.run("cart-publish")

    def runs() -> list[str]:
        return [row["status"] for row in json.loads(started.run("cart-runs"))["runs"]["data"]]

    client = started.server.client()
    wait_until(lambda: client("GET", "/automations/1").json()["automation"]["armed_at"], 30)
    client.close()
    started.run("cart-track")
    wait_until(lambda: runs() == ["active"], 30)
    started.run("cart-checkout")
    wait_until(lambda: runs() == ["completed"], 30)


def test_the_page_on_moving_shows_what_happens(started: Reader) -> None:
    started.run("track")
    printed = started.run("import-contacts")
    assert printed.count("created: 2") == 2
    assert printed.count("Geburtstag: date_of_birth") == 2
    printed = started.run("import-events")
    assert "imported: 3" in printed
    assert "there already: 3" in printed
    assert started.run("export").count("rows: ") == 4
    assert started.run("take-back").startswith("0 occurrences of 0 contacts match.")


def test_the_page_on_backups_brings_the_store_back(started: Reader, tmp_path: Path) -> None:
    started.run("track")
    assert "/tallybook.backup has " in started.run("backup")
    started.run("track")
    started.server.stop()
    assert started.run("restore-replace").startswith("The store has ")
    assert started.run("check-backup").startswith("The store has ")
    started.run("unpack-backup")
    assert (tmp_path / "unpacked" / "store.sql").exists()
    started.server.start()
    [event] = json.loads(started.run("tracking-events"))["events"]["data"]
    assert (event["event_key"], event["counter"]) == ("checkout", "1")


@pytest.mark.parametrize(
    ("language", "command"),
    [("python", [sys.executable]), ("node", ["node"]), ("php", ["php", "-S", "127.0.0.1:9000"])],
    ids=["python", "node", "php"],
)
def test_the_receivers_of_the_page_on_webhooks_accept_what_is_signed_once(
    used: set[str],
    tmp_path: Path,
    settings: SettingsFixture,
    language: str,
    command: list[str],
) -> None:
    used.add(f"webhook-{language}")
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    settings.WEBHOOK_ALLOWED_HOSTS = ["127.0.0.1"]
    port, secret, id_ = str(free_port()), new_secret(), f"msg_{time.time_ns()}"
    script, output = tmp_path / f"receiver.{language}", tmp_path / "output"
    if language == "node":
        script = script.with_suffix(".cjs")
    script.write_text(TEXTS[f"webhook-{language}"].replace("9000", port))
    body = '{"type": "shop.bought", "data": {"name": "Zoë"}}'.encode()
    now = int(time.time())
    signed = signed_headers(id_, now, body, [secret, new_secret()])
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*(each.replace("9000", port) for each in command), str(script)],
            env={**os.environ, "WEBHOOK_SECRET": secret},
            stdout=file,
        )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until(lambda: post(url, signed, body).status == 204)
        assert post(url, signed, body).status == 204
        assert post(url, signed, body + b" ").status == 401
        assert post(url, {}, body).status == 401
        old = signed_headers(id_, now - 600, body, [secret])
        assert post(url, old, body).status == 401
    finally:
        process.terminate()
        process.wait()
    assert output.read_text().split() == ["shop.bought"]
