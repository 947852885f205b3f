"""Delete the rows of automations and endpoints that were deleted, which may be millions.

The request marks an automation or an endpoint, which ends it at once. `serve` deletes its rows
every hour, by transactions that each delete those about some contacts. A killed process leaves
whole contacts, and the next one goes on. docs/decisions/deletion-in-two-parts.md tells why.
"""

from collections.abc import Sequence

from automations.models import Automation, Endpoint, Step
from automations.starting import LOCK_CONTACTS
from config.api.validation import MAX_ID
from config.database import chunked, fetch_rows, in_transaction

# Contacts of one transaction, or deliveries.
CONTACTS, DELIVERIES = 500, 1_000
# Ids that are read at a time, because each reading passes those that were deleted before.
IDS = 50_000
# The tables whose rows lead to the contacts of an automation. Steps and deliveries go with them.
TABLES = ("automations_run", "automations_member", "automations_refusal")
CONTACTS_OF = "SELECT subscriber_id FROM {} WHERE automation_id = %(automation)s LIMIT %(limit)s"
DELETE_ATTEMPTS = """
DELETE FROM automations_attempt a USING automations_delivery d
WHERE a.delivery_id = d.id AND d.subscriber_id = ANY(%(contacts)s::bigint[])
    AND d.step_id = ANY(%(steps)s::bigint[])
RETURNING a.id
"""
DELETE_DELIVERIES = """
DELETE FROM automations_delivery
WHERE subscriber_id = ANY(%(contacts)s::bigint[]) AND step_id = ANY(%(steps)s::bigint[])
RETURNING id
"""
DELETE_STEPS = """
DELETE FROM automations_runstep s USING automations_run r
WHERE s.run_id = r.id AND r.subscriber_id = ANY(%(contacts)s::bigint[])
    AND r.automation_id = %(automation)s
RETURNING s.id
"""
DELETE = """
DELETE FROM {} WHERE subscriber_id = ANY(%(contacts)s::bigint[]) AND automation_id = %(automation)s
RETURNING id
"""
STATEMENTS = (
    DELETE_ATTEMPTS,
    DELETE_DELIVERIES,
    DELETE_STEPS,
    *(DELETE.format(table) for table in TABLES),
)
IS_EMPTY = " AND ".join(
    f"NOT EXISTS (SELECT FROM {table} WHERE automation_id = %(automation)s)" for table in TABLES
)
# Those of runs that were deleted by hand. They would be sent if nothing told of the automation.
CANCEL = """
UPDATE automations_delivery SET status = 'cancelled'
WHERE status IN ('pending', 'held') AND step_id = ANY(%(steps)s::bigint[])
RETURNING id
"""
DELIVERIES_OF = """
SELECT id, subscriber_id FROM automations_delivery
WHERE endpoint_id = %(endpoint)s AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s
"""
DELETE_TOGETHER = """
WITH delivery AS (
    SELECT id FROM automations_delivery WHERE id = ANY(%(deliveries)s::bigint[])
        AND (subscriber_id IS NULL OR subscriber_id = ANY(%(contacts)s::bigint[]))
), attempt AS (
    DELETE FROM automations_attempt a USING delivery WHERE a.delivery_id = delivery.id
)
DELETE FROM automations_delivery d USING delivery WHERE d.id = delivery.id RETURNING d.id
"""
DELETE_ENDPOINT = """
DELETE FROM automations_endpoint p WHERE p.id = %(endpoint)s
    AND NOT EXISTS (SELECT FROM automations_delivery WHERE endpoint_id = p.id)
RETURNING p.id
"""


def prune_deleted() -> int:
    """Delete the rows of what was deleted, and return how many.

    What a transaction holds meanwhile stays for the next time.
    """
    deleted = {"deleted_at__isnull": False}
    automations = Automation.with_deleted.filter(**deleted).order_by("pk")
    endpoints = Endpoint.with_deleted.filter(**deleted).order_by("pk")
    number = sum(map(_prune_automation, automations.values_list("pk", flat=True)))
    return number + sum(map(_prune_endpoint, endpoints.values_list("pk", flat=True)))


def _prune_automation(automation_id: int) -> int:
    steps = [*Step.objects.filter(automation_id=automation_id).values_list("pk", flat=True)]
    number = 0
    parameters = {"automation": automation_id, "limit": IDS}
    for table in TABLES:
        while rows := fetch_rows(CONTACTS_OF.format(table), parameters):
            contacts = sorted({contact for (contact,) in rows})
            deleted = sum(
                _delete_of(automation_id, steps, each) for each in chunked(contacts, CONTACTS)
            )
            if not deleted:
                break
            number += deleted
    return number + _finish(automation_id, steps)


@in_transaction
def _delete_of(automation_id: int, steps: list[int], contact_ids: Sequence[int]) -> int:
    """Delete what an automation has of contacts, but for those that another transaction holds."""
    locked = fetch_rows(LOCK_CONTACTS, {"contacts": list(contact_ids)})
    contacts = [contact for contact, _ in locked]
    parameters = {"automation": automation_id, "steps": steps, "contacts": contacts}
    return sum(len(fetch_rows(statement, parameters)) for statement in STATEMENTS)


@in_transaction
def _finish(automation_id: int, steps: list[int]) -> int:
    """Delete the automation itself, if nothing of a contact is left. Returns the number of rows."""
    if not fetch_rows(f"SELECT 1 WHERE {IS_EMPTY}", {"automation": automation_id}):
        return 0
    fetch_rows(CANCEL, {"steps": steps})
    automation = Automation.with_deleted.filter(pk=automation_id)
    automation.update(version=None)
    return automation.delete()[0]


def _prune_endpoint(endpoint_id: int) -> int:
    number = 0
    # Contacts that were held in one pass are free in the next.
    while deleted := _delete_deliveries_to(endpoint_id):
        number += deleted
    return number + len(fetch_rows(DELETE_ENDPOINT, {"endpoint": endpoint_id}))


def _delete_deliveries_to(endpoint_id: int) -> int:
    number, before = 0, MAX_ID
    parameters = {"endpoint": endpoint_id, "limit": DELIVERIES}
    while rows := fetch_rows(DELIVERIES_OF, {**parameters, "before": before}):
        number += _delete_together([tuple(row) for row in rows])
        before = rows[-1][0]
    return number


@in_transaction
def _delete_together(deliveries: Sequence[tuple[int, int | None]]) -> int:
    """Delete deliveries, but for those about contacts that another transaction holds."""
    ids = {contact for _, contact in deliveries if contact is not None}
    contacts = [contact for contact, _ in fetch_rows(LOCK_CONTACTS, {"contacts": [*ids]})]
    parameters = {"deliveries": [each for each, _ in deliveries], "contacts": contacts}
    return len(fetch_rows(DELETE_TOGETHER, parameters))
