"""Run automations: act on what happened, move runs on, arm what was published, read segments."""

import os
import socket
from collections.abc import Callable

from automations.segments import read_due_segments
from automations.starting import take_all
from automations.stepping import step_all
from config.database import fetch_one, fetch_rows

# What an idle process asks each second, by one statement.
HAS_WORK = """
SELECT EXISTS (SELECT FROM crm_outboxentry),
       EXISTS (SELECT FROM automations_automation a WHERE status = 'published' AND EXISTS (
           SELECT FROM automations_run r WHERE r.automation_id = a.id AND r.status = 'active'
               AND r.due_at <= clock_timestamp())),
       EXISTS (SELECT FROM automations_automation WHERE status = 'published' AND armed_at IS NULL)
"""
# Transactions that began before the trigger was watched have ended. Readers have no number.
ARM = """
UPDATE automations_automation SET armed_at = clock_timestamp()
WHERE status = 'published' AND armed_at IS NULL
    AND arm_after < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
RETURNING id
"""
BEAT = """
INSERT INTO automations_heartbeat AS h (name, started_at, seen_at)
VALUES (%(name)s, clock_timestamp(), clock_timestamp())
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at
RETURNING id
"""
FORGET = """
DELETE FROM automations_heartbeat
WHERE name = %(name)s OR seen_at < clock_timestamp() - interval '1 day' RETURNING id
"""


def process_name() -> str:
    """Return the name of this process among those that run automations."""
    return f"{socket.gethostname()}:{os.getpid()}"


def beat(name: str) -> None:
    """Note that a process is at work."""
    fetch_rows(BEAT, {"name": name})


def forget(name: str) -> None:
    """Forget a process that ends, and those that have died."""
    fetch_rows(FORGET, {"name": name})


def run_once(is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Do all that there is to do.

    Args:
        is_stopping: tells whether to return after the transaction at hand.

    Returns:
        How many entries were acted on, and runs moved.

    Raises:
        django.db.OperationalError: the database is unavailable.
    """
    has_entries, has_due, has_unarmed = fetch_one(HAS_WORK, {})
    if has_unarmed:
        arm()
    read_due_segments()
    number = take_all(is_stopping) if has_entries else 0
    if has_due or number:
        number += step_all(is_stopping)
    return number


def arm() -> None:
    """Let published automations start from now on, if no transaction runs that knows them not."""
    fetch_rows(ARM, {})
