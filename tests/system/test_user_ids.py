"""The embedded PostgreSQL under a user id without a name, as containers have."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from config.server.postgres import binaries
from tests.system.server import ROOT

UID = 54321
# Python and the project may lie where only root can read.
AS_UID = [
    *("setpriv", "--reuid", str(UID), "--regid", "0", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
]
START = """
import sys
from pathlib import Path
from config.server.postgres import EmbeddedPostgres, PostgresError
server = EmbeddedPostgres(Path(sys.argv[1]))
try:
    server.lock("A test runs.")
    server.start()
    server.stop()
    print("It started.")
except PostgresError as error:
    print(error)
"""


def succeeds(*command: str) -> bool:
    """Return whether a program is there and ends with 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def start(folder: Path, *through: str) -> str:
    """Start PostgreSQL in a folder as UID and return what the process prints.

    Args:
        folder: the folder.
        through: a command that starts the command that follows it.
    """
    process = subprocess.run(
        [*AS_UID, *through, sys.executable, "-c", START, str(folder / "data")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of UID, which its processes reach. Only root can give them that id."""
    without = ["setpriv", "--reuid", str(UID), "--regid", "0", "--clear-groups"]
    if os.geteuid() != 0 or not succeeds(*without, "test", "-x", str(binaries() / "initdb")):
        pytest.skip("needs root, setpriv, and PostgreSQL where every user reaches it")
    with TemporaryDirectory() as name:
        os.chown(name, UID, 0)
        yield Path(name)


def test_a_user_id_without_a_name_starts_in_a_user_namespace(folder: Path) -> None:
    if not succeeds(*AS_UID, "unshare", "--user", "--map-user=65534", "true"):
        pytest.skip("the system permits no user namespace")
    assert start(folder) == "It started.\n"


@pytest.fixture
def without_namespaces(folder: Path) -> str:
    """A PATH on which `unshare` fails, as it does in most containers."""
    (folder / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (folder / "unshare").chmod(0o755)
    return f"PATH={folder}:{os.environ['PATH']}"


def test_without_user_namespaces_a_user_id_without_a_name_starts_by_nss_wrapper(
    folder: Path, without_namespaces: str
) -> None:
    preloaded = subprocess.run(
        ["env", "LD_PRELOAD=libnss_wrapper.so", "true"], capture_output=True, check=True
    )
    if preloaded.stderr:
        pytest.skip("needs the package libnss-wrapper")
    assert start(folder, "env", without_namespaces) == "It started.\n"
    assert {path.name for path in (folder / "data").iterdir()} == {
        *("lock", "postgres", "postgres.log", "socket")
    }


def test_without_user_namespaces_and_nss_wrapper_a_user_id_without_a_name_is_told_what_to_do(
    folder: Path, without_namespaces: str
) -> None:
    # An `env` that drops LD_PRELOAD, so that the library is not loaded.
    (folder / "env").write_text('#!/bin/sh\nshift\nexec /usr/bin/env "$@"\n')
    (folder / "env").chmod(0o755)
    expected = (
        f"initdb needs a name for the user id {UID}, and the system permits no user namespace. "
        "Install the package libnss-wrapper, "
    )
    assert start(folder, "/usr/bin/env", without_namespaces).startswith(expected)
