"""Run automations: act on what happened, move runs on, arm what was published, read segments."""

import os
import socket
from collections.abc import Callable
from time import monotonic

from automations.segments import EVERY, read_segment_of
from automations.stepping import step_all
from automations.taking import take_all
from config.database import fetch_one, fetch_rows

# How long entries are acted on, and runs moved, before the other has its turn.
TURN_SECONDS = 1.0
# What an idle process does each second, by one statement: note now and then that it is at work, and
# look for entries, runs that are due, automations that are not armed, segments to look up, and
# webhooks to send.
LOOK = """
WITH beat AS (
    INSERT INTO automations_heartbeat AS h (name, started_at, seen_at)
    SELECT %(name)s::text, clock_timestamp(), clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM automations_heartbeat WHERE name = %(name)s::text
                          AND seen_at > clock_timestamp() - interval '10 seconds')
    ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at
)
SELECT EXISTS (SELECT FROM crm_outboxentry),
       EXISTS (SELECT FROM automations_automation a WHERE status = 'published' AND EXISTS (
           SELECT FROM automations_run r WHERE r.automation_id = a.id AND r.status = 'active'
               AND r.due_at <= statement_timestamp())),
       EXISTS (SELECT FROM automations_automation WHERE status = 'published' AND armed_at IS NULL),
       ARRAY(SELECT a.id FROM automations_automation a
                 JOIN automations_version v ON v.id = a.version_id
             WHERE a.status = 'published' AND a.armed_at IS NOT NULL
                 AND v.document #>> '{trigger,type}' = 'segment_entered'
                 AND COALESCE(a.segment_read_at, '-infinity')
                     < clock_timestamp() - make_interval(secs => %(segments)s)
             ORDER BY a.id),
       EXISTS (SELECT FROM automations_delivery
               WHERE status = 'pending' AND next_at <= statement_timestamp())
"""
# Transactions that began before the trigger was watched have ended. Readers have no number.
ARM = """
UPDATE automations_automation SET armed_at = clock_timestamp()
WHERE status = 'published' AND armed_at IS NULL
    AND arm_after < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
RETURNING id
"""
FORGET = """
DELETE FROM automations_heartbeat
WHERE name = %(name)s OR seen_at < clock_timestamp() - interval '1 day' RETURNING id
"""


def process_name() -> str:
    """Return the name of this process among those that run automations."""
    return f"{socket.gethostname()}:{os.getpid()}"


def forget(name: str) -> None:
    """Forget a process that ends, and those that have died."""
    fetch_rows(FORGET, {"name": name})


def run_once(
    name: str = "",
    is_stopping: Callable[[], bool] = lambda: False,
    deliver: Callable[[], None] = lambda: None,
) -> int:
    """Do what there is to do, for some seconds at most.

    Args:
        name: the name of this process.
        is_stopping: tells whether to return after the transaction at hand.
        deliver: sends the webhooks that are due, without waiting for their receivers.

    Returns:
        How many entries were acted on, and runs moved.

    Raises:
        django.db.OperationalError: the database is unavailable.
    """
    parameters = {"name": name or process_name(), "segments": EVERY.total_seconds()}
    has_entries, has_due, has_unarmed, segments, has_deliveries = fetch_one(LOOK, parameters)
    if has_unarmed:
        arm()
    started = sum(map(read_segment_of, segments))
    number = take_all(_turn(is_stopping)) if has_entries else 0
    if has_due or number or started:
        number += step_all(_turn(is_stopping))
    if has_deliveries or number:
        deliver()
    return number


def _turn(is_stopping: Callable[[], bool]) -> Callable[[], bool]:
    """Return what tells that a turn is over, so that neither entries nor runs wait for long."""
    ends = monotonic() + TURN_SECONDS
    return lambda: is_stopping() or monotonic() > ends


def arm() -> None:
    """Let published automations start from now on, if no transaction runs that knows them not."""
    fetch_rows(ARM, {})
