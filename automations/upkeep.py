"""Delete, count and move the rows of contacts that are deleted or merged."""

from collections.abc import Sequence

from django.db import connection

from config.database import fetch_one
from crm.contacts import Counts

TABLES = ("automations_runstep", "automations_refusal", "automations_member", "automations_run")
COUNT = "SELECT count(*) FROM automations_run WHERE subscriber_id = ANY(%(contacts)s::bigint[])"
# A contact is inside of an automation once, and its own run goes on.
END_OTHER = """
UPDATE automations_run r
SET status = 'cancelled', reason = 'The contact was merged.', ended_at = clock_timestamp(),
    due_at = NULL
WHERE r.subscriber_id = %(other)s AND r.status = 'active' AND EXISTS (
    SELECT FROM automations_run own
    WHERE own.subscriber_id = %(survivor)s AND own.automation_id = r.automation_id
        AND own.status = 'active')
"""
# After the survivor's own.
MOVE_RUNS = """
UPDATE automations_run r SET subscriber_id = %(survivor)s, number = r.number + COALESCE((
    SELECT max(number) FROM automations_run own
    WHERE own.subscriber_id = %(survivor)s AND own.automation_id = r.automation_id), 0)
WHERE r.subscriber_id = %(other)s
"""
MOVE_STEPS = """
UPDATE automations_runstep SET subscriber_id = %(survivor)s WHERE subscriber_id = %(other)s
"""
MOVE_MEMBERS = """
INSERT INTO automations_member (automation_id, subscriber_id)
SELECT automation_id, %(survivor)s FROM automations_member WHERE subscriber_id = %(other)s
ON CONFLICT DO NOTHING
"""


def delete_runs_of(contact_ids: Sequence[int]) -> Counts:
    """Delete what automations know of contacts that delete_contacts holds locked."""
    ids = [list(contact_ids)]
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"DELETE FROM {table} WHERE subscriber_id = ANY(%s::bigint[])",  # noqa: S608
                ids,
            )
        return {"automation_runs": cursor.rowcount}


def count_runs_of(contact_ids: Sequence[int]) -> Counts:
    """Return the number of rows that delete_runs_of would return."""
    return {"automation_runs": fetch_one(COUNT, {"contacts": list(contact_ids)})[0]}


def move_runs(survivor_id: int, other_id: int) -> None:
    """Move the runs of a contact that is merged into another one. Both are locked."""
    ids = {"survivor": survivor_id, "other": other_id}
    with connection.cursor() as cursor:
        for statement in (END_OTHER, MOVE_RUNS, MOVE_STEPS, MOVE_MEMBERS):
            cursor.execute(statement, ids)


def count_moved(survivor_id: int, other_id: int) -> Counts:  # noqa: ARG001
    """Return the number of rows that move_runs would move."""
    return count_runs_of([other_id])
