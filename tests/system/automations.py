"""What tests of automations on several connections share."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from automations.models import Automation
from automations.worker import run_once
from config.database import fetch_rows
from tests.system.server import wait_until

CHECKOUT = {"type": "event", "event_key": "checkout"}
MARK = {"type": "track_event", "event_key": "marked", "title": "Marked"}
ORPHANS = """
SELECT '{table}', count(*) FROM {table} t
WHERE t.{column} IS NOT NULL
    AND NOT EXISTS (SELECT FROM {parent} p WHERE p.id = t.{column}) HAVING count(*) > 0
"""
OF_CONTACTS = ["crm_outboxentry", "automations_run", "automations_runstep", "automations_refusal"]
OF_AUTOMATIONS = ["automations_run", "automations_runstep", "automations_refusal"]
OF_AUTOMATIONS += ["automations_member", "automations_version", "automations_step"]
# Rows of what was deleted, by tables.
ALL_ORPHANS = " UNION ALL ".join(
    [
        *(
            ORPHANS.format(table=table, parent="crm_subscriber", column="subscriber_id")
            for table in (*OF_CONTACTS, "automations_member", "automations_delivery")
        ),
        *(
            ORPHANS.format(table=table, parent="automations_automation", column="automation_id")
            for table in OF_AUTOMATIONS
        ),
        ORPHANS.format(table="automations_runstep", parent="automations_run", column="run_id"),
    ]
)


def orphans() -> list[Any]:
    """Return the tables of automations that have rows of what was deleted, and how many."""
    return fetch_rows(ALL_ORPHANS, {})


def on_own_connection(work: Callable[[], Any]) -> Callable[..., Any]:
    """Return a function for a thread, which closes its connection at the end."""

    def run(*_: object) -> Any:
        try:
            return work()
        finally:
            connection.close()

    return run


@contextmanager
def working(processes: int = 1) -> Iterator[None]:
    """Run automations in threads, each as a process does, until the block ends."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            if not run_once(is_stopping=is_over.is_set):
                is_over.wait(0.01)

    threads = [threading.Thread(target=on_own_connection(work)) for _ in range(processes)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def work_off() -> None:
    """Do all that there is to do now."""
    while run_once():
        pass


def wait_for_runs(seconds: float = 30) -> None:
    """Wait until the outbox is empty, and no run is open."""
    query = """
    SELECT EXISTS (SELECT FROM crm_outboxentry)
        OR EXISTS (SELECT FROM automations_run WHERE status = 'active')
    """
    wait_until(lambda: not fetch_rows(query, {})[0][0], seconds)


def armed(automation: Automation) -> Automation:
    """Wait until a published automation may start."""

    def is_armed() -> bool:
        run_once()
        automation.refresh_from_db()
        return automation.armed_at is not None

    wait_until(is_armed)
    return automation
