"""How PostgreSQL finds the work of automations while many contacts wait: from indexes."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from automations.models import Automation
from automations.segments import EVERY
from automations.stepping import FIND, RECORDED, RUNS
from automations.taking import ENTRIES, TAKE
from automations.worker import LOOK
from tests.api.automation import published
from tests.api.plans import explain, walk
from tests.api.savepoints import rolled_back

WAIT = {"type": "wait", "wait": {"hours": 1}}
RUNS_THAT_WAIT = """
INSERT INTO automations_run (automation_id, subscriber_id, number, version_id, status, reason,
    step_id, entered_at, due_at, happened, source_kind, source_key, source_at, cause, attempts,
    error, created_at)
SELECT a.id, n, 1, a.version_id, CASE WHEN n % 2 = 0 THEN 'active' ELSE 'completed' END, '', 1,
    now(), CASE WHEN n % 2 = 0 THEN now() + n * interval '1 hour' END, false, 'event', 'checkout',
    now(), '{}', 0, '', now()
FROM automations_automation a, generate_series(1, 20000) n
"""
WAITING_ENTRIES = """
INSERT INTO crm_outboxentry (subscriber_id, kind, key)
SELECT n % 5000, 'event', 'checkout' FROM generate_series(1, 20000) n
"""
PARAMETERS: dict[str, Any] = {"name": "test", "segments": EVERY.total_seconds()}


@pytest.fixture(scope="module")
def automation(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Automation]:
    """An automation in which 10,000 contacts wait, and of which 10,000 runs have ended."""
    with django_db_blocker.unblock(), rolled_back():
        found = published(WAIT)
        with connection.cursor() as cursor:
            cursor.execute(RUNS_THAT_WAIT)
            cursor.execute(WAITING_ENTRIES)
            cursor.execute("ANALYZE automations_run, crm_outboxentry, automations_automation")
        yield found


def scans(statement: str, parameters: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Return the nodes of a plan that read a table."""
    nodes = walk(explain(statement, parameters))
    return [node for node in nodes if node.get("Relation Name") == table]


def assert_reads_few(found: list[dict[str, Any]], rows: int) -> None:
    assert found
    for node in found:
        assert node["Node Type"] in ("Index Scan", "Index Only Scan"), node
        removed = node.get("Rows Removed by Filter", 0)
        assert (node["Actual Rows"] + removed) * node["Actual Loops"] <= rows, node


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("statement", "parameters"),
    [(LOOK, PARAMETERS), (FIND, {"skipped": [], "runs": RUNS})],
    ids=["look", "find"],
)
def test_contacts_that_wait_cost_nothing(
    automation: Automation, statement: str, parameters: dict[str, Any], mode: str
) -> None:
    with connection.cursor() as sql:
        sql.execute(f"SET LOCAL plan_cache_mode = {mode}")
    assert_reads_few(scans(statement, parameters, "automations_run"), 0)


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("statement", "parameters", "rows"),
    [
        (TAKE, {"left": [1, 2], "entries": ENTRIES}, ENTRIES + 8),
        (RECORDED, {"contacts": [1, 2, 3]}, 12),
    ],
    ids=["take", "recorded"],
)
def test_a_long_queue_is_read_from_its_beginning(
    automation: Automation, statement: str, parameters: dict[str, Any], rows: int, mode: str
) -> None:
    with connection.cursor() as sql:
        sql.execute(f"SET LOCAL plan_cache_mode = {mode}")
    assert_reads_few(scans(statement, parameters, "crm_outboxentry"), rows)
