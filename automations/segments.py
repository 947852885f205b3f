"""Start automations whose segment a contact has entered, which is looked up every few minutes."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from automations.models import Automation, AutomationStatus
from automations.programs import program
from automations.starting import LOCK_CONTACTS, Source, Starter
from automations.writing import pause
from config.api.errors import ApiError, Unprocessable
from config.database import chunked, fetch_row, fetch_rows, in_transaction, is_disconnected
from crm.filters import apply_filter, trusted
from crm.models import Segment, Subscriber
from crm.segments import read_segment

logger = logging.getLogger(__name__)

# How often the contacts of a segment are looked up.
EVERY = timedelta(minutes=5)
# Contacts that start in one transaction.
CONTACTS = 200
NEW = """
SELECT found.subscriber_id FROM ({statement}) found
WHERE NOT EXISTS (SELECT FROM automations_member m
                  WHERE m.automation_id = %s AND m.subscriber_id = found.subscriber_id)
"""
GONE = """
DELETE FROM automations_member m
WHERE m.automation_id = %s AND NOT EXISTS (
    SELECT FROM ({statement}) found WHERE found.subscriber_id = m.subscriber_id)
"""
# A deletion of the contact waits for the lock, or this finds no contact.
ADD = """
INSERT INTO automations_member (automation_id, subscriber_id)
SELECT %(automation)s, id FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])
ORDER BY id FOR KEY SHARE
ON CONFLICT DO NOTHING RETURNING subscriber_id
"""
LOCK_PUBLISHED = """
SELECT segment_read_at IS NULL FROM automations_automation
WHERE id = %(automation)s AND status = 'published' FOR SHARE
"""


def read_segment_of(automation_id: int) -> int:
    """Look up the segment of a published automation. One that cannot be read pauses it.

    Returns:
        How many contacts have started.

    Raises:
        django.db.OperationalError: the database is unavailable.
    """
    published = Automation.objects.filter(status=AutomationStatus.PUBLISHED)
    try:
        automation = published.filter(pk=automation_id).first()
        return read_members(automation) if automation else 0
    except Exception as error:
        if is_disconnected(error):
            raise
        logger.exception("The segment of automation %d could not be read.", automation_id)
        with suppress(Unprocessable, Automation.DoesNotExist):
            pause(automation_id, f"The segment of the trigger could not be read: {error}")
        return 0


def read_members(automation: Automation) -> int:
    """Start the contacts that have entered the segment of an automation. Returns how many.

    Those that are in it when the automation is published do not start.
    """
    version = program(automation.version_id or 0)
    segment_id = version.document["trigger"]["segment"]
    try:
        groups = read_segment(Segment.objects.get(pk=segment_id))
    except Segment.DoesNotExist:
        pause(automation.pk, "The segment of the trigger was deleted.")
        return 0
    except ApiError as error:
        pause(automation.pk, f"The segment of the trigger is invalid: {error}")
        return 0
    contacts = apply_filter(Subscriber.objects.all(), groups, trusted)
    sql, parameters = contacts.values(subscriber_id=F("id")).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(GONE.format(statement=sql), [automation.pk, *parameters])
        cursor.execute(NEW.format(statement=sql), [*parameters, automation.pk])
        new = [row[0] for row in cursor.fetchall()]
    started = sum(_enter(automation, ids, segment_id) for ids in chunked(new, CONTACTS))
    # Unless it was published again meanwhile, and who is in the segment now does not start.
    unchanged = Automation.objects.filter(pk=automation.pk, armed_at=automation.armed_at)
    unchanged.update(segment_read_at=Now())
    return started


@in_transaction
def _enter(automation: Automation, contact_ids: Sequence[int], segment_id: int) -> int:
    ids: dict[str, Any] = {"contacts": list(contact_ids), "automation": automation.pk}
    row = fetch_row(LOCK_PUBLISHED, ids)
    if row is None:
        return 0
    [is_first] = row
    if is_first:
        fetch_rows(ADD, ids)
        return 0
    # Contacts that are locked enter the next time.
    locked: dict[int, str] = dict(fetch_rows(LOCK_CONTACTS, ids))
    new = fetch_rows(ADD, {**ids, "contacts": [*locked]})
    starter = Starter(locked, [automation.pk])
    source = Source("segment", starter.now, str(segment_id))
    version = program(automation.version_id or 0)
    for (contact_id,) in new:
        starter.start(automation.pk, version, contact_id, source)
    starter.write()
    return len(starter.started)
