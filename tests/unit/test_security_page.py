"""docs/explanation/security.md: the tests that it names exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/\S+\.py)::(\w+)`", PAGE)))
# The command that starts the server asks whether it answers.
ANSWERING = [*(ROOT / "crm").rglob("*.py"), *(ROOT / "events").rglob("*.py")]
ANSWERING += [*(ROOT / "automations" / "admin").rglob("*.py")]
ANSWERING += [*(ROOT / "config").glob("*.py"), *(ROOT / "config" / "api").rglob("*.py")]
CLIENTS = r"requests|httpx|urllib3|urllib\.request|http\.client"
HTTP_CLIENT = re.compile(rf"^\s*(import|from) ({CLIENTS})\b", re.MULTILINE)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_the_page_of_security_names_exists(path: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / path).read_text()


def test_each_promise_of_the_page_of_security_names_a_test() -> None:
    tables = PAGE.split("| test |\n")[1:]
    rows = [row for table in tables for row in table.partition("\n\n")[0].splitlines()[1:]]
    assert len(rows) >= 40
    assert [row for row in rows if "`tests/" not in row] == []


def test_the_parts_that_answer_requests_have_no_http_client() -> None:
    assert [path.name for path in ANSWERING if HTTP_CLIENT.search(path.read_text())] == []


def test_the_pages_of_webhooks_load_no_http_client() -> None:
    code = (
        "import sys, django; django.setup(); import automations.admin; "
        "print('automations.webhooks.client' in sys.modules)"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment)
    assert printed == b"False\n"
