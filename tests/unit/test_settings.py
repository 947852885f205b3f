"""The settings of a process: its variables, where operators read about them, and how it ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config.environment import VARIABLES

ROOT = Path(__file__).parents[2]
DEFAULTS = {name: variable.default for name, variable in VARIABLES.items()}
EXAMPLE = dict(
    re.findall(r"^#?\s?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
)
REFERENCE = dict(
    re.findall(
        r"^\| `([A-Z_]+)` \| (.*?) \|",
        (ROOT / "docs" / "reference" / "settings.md").read_text(),
        re.MULTILINE,
    )
)
PRINT_SETTINGS = """
from django.conf import settings as s
print(s.HOST, s.PORT, s.DEBUG, s.TIME_ZONE, s.ALLOWED_HOSTS, s.HTTPS, s.WORKERS,
      s.EMBEDDED_POSTGRES, s.DATA_DIR.name)
"""


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with these variables and none of Tallybook's others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYBOOK")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**kept, "DJANGO_SETTINGS_MODULE": "config.settings", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_lists_every_variable_with_its_default() -> None:
    assert EXAMPLE == DEFAULTS


def test_the_reference_lists_every_variable_with_its_default() -> None:
    shown = {name: default.strip("`") for name, default in REFERENCE.items()}
    assert shown == {name: default or "empty" for name, default in DEFAULTS.items()}


def test_the_example_with_every_line_uncommented_changes_no_setting() -> None:
    printed = run("-c", PRINT_SETTINGS, **EXAMPLE)
    assert printed.stdout
    assert printed.stdout == run("-c", PRINT_SETTINGS).stdout


@pytest.mark.parametrize("command", ["serve", "check", "backup"])
def test_every_command_ends_with_the_sentence_alone(command: str) -> None:
    process = run("manage.py", command, TIME_ZONE="CEST")
    assert process.returncode == 1
    assert process.stdout == ""
    assert re.fullmatch(r"TIME_ZONE is 'CEST', but must be .+\.\n", process.stderr)


def test_a_data_folder_that_cannot_be_used_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "data")
    process = run("manage.py", "check", TALLYBOOK_DATA_DIR=folder)
    assert process.returncode == 1
    assert re.fullmatch(rf"TALLYBOOK_DATA_DIR is '{folder}', where .+\.\n", process.stderr)


def test_a_command_warns_of_an_unknown_variable() -> None:
    process = run("manage.py", "check", TALLYBOOK_HTPPS="true")
    assert process.returncode == 0
    assert "TALLYBOOK_HTPPS is no setting" in process.stderr
