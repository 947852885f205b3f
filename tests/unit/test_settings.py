"""The file .env.example: it lists every variable that the settings read, with its default."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READ = re.compile(r'env\.\w+\(\s*"(\w+)"(?:,\s*default=(.*?))?\)(?: or|$| if|\n)', re.MULTILINE)
VARIABLES = dict(READ.findall((ROOT / "config" / "settings.py").read_text()))
EXAMPLE = dict(
    re.findall(r"^#?\s?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
)
# Python -> the text of an environment variable.
PLAIN = {"False": "false", "True": "true", "[]": "", '""': "", "0": "0"}
PRINT_SETTINGS = """
from django.conf import settings as s
print(s.HOST, s.PORT, s.DEBUG, s.TIME_ZONE, s.ALLOWED_HOSTS, s.HTTPS, s.WORKERS,
      s.EMBEDDED_POSTGRES, s.DATA_DIR.name)
"""


def plain(default: str) -> str:
    """Return a default of the settings as an operator would write it in .env."""
    if default.startswith('["'):
        return ",".join(re.findall(r'"([^"]+)"', default))
    return PLAIN.get(default, default.strip('"'))


def print_settings(variables: dict[str, str]) -> str:
    """Return the settings of a process with these variables and none of Tallybook's others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYBOOK")}
    environment = {**kept, "DJANGO_SETTINGS_MODULE": "config.settings", **variables}
    process = subprocess.run(
        [sys.executable, "-c", PRINT_SETTINGS],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


def test_the_example_lists_exactly_the_variables_that_the_settings_read() -> None:
    assert set(EXAMPLE) == set(VARIABLES)


@pytest.mark.parametrize(("name", "default"), VARIABLES.items())
def test_the_example_shows_the_default(name: str, default: str) -> None:
    assert EXAMPLE[name] == plain(default)


def test_the_example_with_every_line_uncommented_changes_no_setting() -> None:
    assert print_settings(EXAMPLE) == print_settings({})
