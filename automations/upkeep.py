"""Delete, count and move the rows of contacts that are deleted or merged."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from automations.models import Version
from config.api.validation import MAX_ID
from config.database import fetch_one, fetch_rows
from crm.contacts import Counts
from crm.emails import without_email

TABLES = ("automations_runstep", "automations_refusal", "automations_member", "automations_run")
COUNT = "SELECT count(*) FROM automations_run WHERE subscriber_id = ANY(%(contacts)s::bigint[])"
# The newest first, a page at a time.
RUNS = """
SELECT r.id, json_build_object(
    'automation', a.title, 'number', r.number, 'status', r.status, 'reason', r.reason,
    'started_by', r.source_kind, 'started_at', r.created_at, 'ended_at', r.ended_at,
    'steps', (SELECT json_agg(json_build_object('outcome', s.outcome, 'detail', s.detail - 'url',
                                                'at', s.at) ORDER BY s.id)
              FROM automations_runstep s WHERE s.run_id = r.id))::text
FROM automations_run r JOIN automations_automation a ON a.id = r.automation_id
WHERE r.subscriber_id = %(contact)s AND r.id < %(before)s ORDER BY r.id DESC LIMIT %(limit)s
"""
# The host tells who received the data. The rest of the URL may hold a secret of the receiver.
DELIVERIES = """
SELECT d.id, json_build_object(
    'host', substring(p.url FROM '^[^:]+://([^/?#]+)'), 'message_id', d.message_id,
    'status', d.status, 'body', d.body, 'created_at', d.created_at,
    'delivered_at', d.delivered_at)::text
FROM automations_delivery d JOIN automations_endpoint p ON p.id = d.endpoint_id
WHERE d.subscriber_id = %(contact)s AND d.id < %(before)s ORDER BY d.id DESC LIMIT %(limit)s
"""
ROWS_PER_STATEMENT = 20
# What steps have written about a contact, and why it did not start, is kept so long.
KEEP_DETAILS = timedelta(days=90)
DETAILS_PER_STATEMENT = 5_000
EMPTY_DETAILS = """
UPDATE automations_runstep SET detail = '{}' WHERE id IN (
    SELECT id FROM automations_runstep WHERE at < %(before)s AND detail <> '{}' LIMIT %(limit)s)
RETURNING id
"""
DELETE_REFUSALS = """
DELETE FROM automations_refusal WHERE id IN (
    SELECT id FROM automations_refusal WHERE last_at < %(before)s LIMIT %(limit)s)
RETURNING id
"""
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


def own_runs(contact_id: int) -> Iterator[str]:
    """Yield the runs of a contact for its personal data, as JSON texts, the newest first."""
    return _rows(RUNS, contact_id)


def own_deliveries(contact_id: int) -> Iterator[str]:
    """Yield the webhooks about a contact for its personal data, as `own_runs` yields runs."""
    return _rows(DELIVERIES, contact_id)


def _rows(statement: str, contact_id: int) -> Iterator[str]:
    before = MAX_ID
    while True:
        parameters = {"contact": contact_id, "before": before, "limit": ROWS_PER_STATEMENT}
        rows = fetch_rows(statement, parameters)
        yield from (text for _, text in rows)
        if len(rows) < ROWS_PER_STATEMENT:
            return
        before = rows[-1][0]


def prune_details() -> int:
    """Empty the details of old steps, and delete old refusals. Returns how many.

    The steps stay, because reports count them, and runs stay, because they are the rule of
    re-entry.
    """
    number = 0
    before = timezone.now() - KEEP_DETAILS
    for statement in (EMPTY_DETAILS, DELETE_REFUSALS):
        while rows := fetch_rows(statement, {"before": before, "limit": DETAILS_PER_STATEMENT}):
            number += len(rows)
    return number


def replace_email(email: str, replacement: str) -> int:
    """Replace the e-mail of an erased contact in all versions of automations.

    Returns:
        The number of versions that were changed.
    """
    number = 0
    for version in Version.objects.order_by("pk").iterator(100):
        document = without_email(version.document, email, replacement)
        if document != version.document:
            number += Version.objects.filter(pk=version.pk).update(document=document)
    return number
