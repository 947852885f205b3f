"""The rows of deleted automations are deleted beside other transactions, and after a kill."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DataError, connection, transaction

from automations import deletion
from automations.deletion import prune_deleted
from automations.models import Automation, Run, RunStep
from automations.writing import create_automation, delete_automation
from config.database import fetch_one
from crm.models import Subscriber
from tests.system.automations import CHECKOUT, on_own_connection, orphans
from tests.system.server import ROOT, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
CONTACTS = """
INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, life_time_value,
                            custom_values, created_at, updated_at)
SELECT email, email, 'subscribed', 'lead', 0, 0, '{}', now(), now()
FROM (SELECT 'c' || n || '@example.com' AS email FROM generate_series(1, %(contacts)s) n) row
"""
RUNS = """
INSERT INTO automations_run (automation_id, subscriber_id, number, version_id, status, reason,
    happened, source_kind, source_key, source_at, cause, attempts, error, created_at)
SELECT a.id, s.id, 1, a.version_id, 'completed', '', false, 'event', 'checkout', now(), '{}', 0, '',
    now()
FROM automations_automation a, crm_subscriber s
"""
STEPS = """
INSERT INTO automations_runstep (run_id, automation_id, subscriber_id, step_id, version_id, outcome,
    detail, at)
SELECT id, automation_id, subscriber_id, n, version_id, 'done', '{}', now()
FROM automations_run, generate_series(1, 3) n
"""
LEFT = "SELECT (SELECT count(*) FROM automations_run), (SELECT count(*) FROM automations_runstep)"
PRUNE = """
import django
django.setup()
from automations.deletion import prune_deleted
prune_deleted()
"""


def deleted(contacts: int) -> None:
    """Delete an automation that so many contacts have gone through."""
    automation = create_automation({"title": "Test", "trigger": CHECKOUT, "steps": []})
    with connection.cursor() as cursor:
        cursor.execute(CONTACTS, {"contacts": contacts})
        cursor.execute(RUNS)
        cursor.execute(STEPS)
    delete_automation(automation.pk)


def test_a_killed_process_leaves_whole_contacts_and_the_next_one_goes_on() -> None:
    deleted(10_000)
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@/{database['HOST']}/{database['NAME']}"
    process = subprocess.Popen(
        [sys.executable, "-c", PRUNE],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": url},
    )
    try:
        wait_until(lambda: Run.objects.count() < 10_000, 30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    runs, steps = fetch_one(LEFT, {})
    assert 0 < runs == steps / 3
    # PostgreSQL ends the transaction of the process a little later.
    wait_until(lambda: prune_deleted() or not Automation.with_deleted.exists())
    assert orphans() == []


def test_a_transaction_that_ends_early_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deleted(3)
    monkeypatch.setattr(deletion, "STATEMENTS", (*deletion.STATEMENTS, "SELECT 1 / 0"))
    with pytest.raises(DataError):
        prune_deleted()
    assert [*fetch_one(LEFT, {})] == [3, 9]


def test_rows_about_a_contact_that_is_held_are_deleted_the_next_time() -> None:
    deleted(3)
    held = Subscriber.objects.order_by("pk")[1]
    with transaction.atomic(), ThreadPoolExecutor() as pool:
        Subscriber.objects.select_for_update().get(pk=held.pk)
        pool.submit(on_own_connection(prune_deleted)).result(10)
        assert [*RunStep.objects.values_list("subscriber_id", flat=True)] == [held.pk] * 3
    prune_deleted()
    assert not Automation.with_deleted.exists()
