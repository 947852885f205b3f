"""Dockerfile, .dockerignore and compose.yaml: they fit to the project that they are about."""

import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.environment import VARIABLES
from config.server.postgres import LOCALE_OPTIONS, binaries, major_version

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
TALLYBOOK, POSTGRES = COMPOSE["tallybook"], COMPOSE["postgres"]
# They are no settings of Tallybook: Python reads TMPDIR, and libpq PGPASSWORD.
READ_BY_OTHERS = {"TMPDIR", "PGPASSWORD"}


def instructions(name: str) -> list[str]:
    """Return the arguments of each instruction of a kind in the Dockerfile."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(pair.split("=") for line in instructions("ENV") for pair in line.split())


def copied() -> list[str]:
    """Return the files and folders of the project that the Dockerfile copies."""
    lines = [shlex.split(line) for line in instructions("COPY") if "--from" not in line]
    return [source for *sources, _ in lines for source in sources if source != "."]


def is_sent(name: str) -> bool:
    """Return whether .dockerignore lets an entry of the project's folder into the build."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!").rstrip("/")
        if not line.startswith("#") and fnmatch(name, pattern):
            sent = line.startswith("!")
    return sent


def packages() -> list[str]:
    linted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names: list[str] = linted["root_packages"]
    return names


def test_the_python_of_the_image_is_one_that_ci_tests() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    tested = jobs["test"]["strategy"]["matrix"]["python"]
    images = [line.split()[0] for line in instructions("FROM")]
    versions = {re.fullmatch(r"python:([\d.]+)-slim-\w+", image) for image in images}
    assert {version[1] for version in versions if version} <= set(tested)
    assert None not in versions


@pytest.mark.parametrize("name", copied())
def test_each_copied_file_exists_and_is_sent_to_the_build(name: str) -> None:
    assert (ROOT / name).exists()
    assert is_sent(Path(name).parts[0])


@pytest.mark.parametrize("name", packages())
def test_each_package_is_sent_to_the_build(name: str) -> None:
    assert is_sent(name)


@pytest.mark.parametrize("name", [".env", ".git", ".venv", "var", "tests", "tallybook.backup"])
def test_secrets_data_and_tests_are_not_sent_to_the_build(name: str) -> None:
    assert not is_sent(name)


def test_the_image_runs_as_a_user_id_that_is_not_root() -> None:
    assert int(instructions("USER")[-1]) > 0


def test_the_image_keeps_its_data_in_its_volume() -> None:
    assert instructions("VOLUME") == [image_environment()["TALLYBOOK_DATA_DIR"]]


@pytest.mark.parametrize("variables", [image_environment(), TALLYBOOK["environment"]])
def test_each_variable_is_a_setting_with_a_value_that_is_read(variables: dict[str, Any]) -> None:
    for name in variables.keys() - READ_BY_OTHERS:
        VARIABLES[name].parse(str(variables[name]))


def test_compose_stores_what_the_image_writes_in_its_volume() -> None:
    _, folder = TALLYBOOK["volumes"][0].split(":")
    assert folder == image_environment()["TALLYBOOK_DATA_DIR"]


def test_compose_serves_on_loopback() -> None:
    assert [port.rpartition(":")[0].split(":")[0] for port in TALLYBOOK["ports"]] == ["127.0.0.1"]


def test_compose_demands_a_password() -> None:
    demand = "${POSTGRES_PASSWORD:?Write POSTGRES_PASSWORD= and a random text into .env.}"
    assert TALLYBOOK["environment"]["PGPASSWORD"] == demand
    assert POSTGRES["environment"]["POSTGRES_PASSWORD"] == demand


def test_compose_runs_the_postgresql_that_the_tests_run() -> None:
    assert POSTGRES["image"] == f"postgres:{major_version()}"
    assert (binaries() / POSTGRES["healthcheck"]["test"][1]).exists()


def test_compose_creates_a_database_with_the_locale_of_the_embedded_one() -> None:
    options = POSTGRES["environment"]["POSTGRES_INITDB_ARGS"]
    assert tuple(options.split()) == LOCALE_OPTIONS
