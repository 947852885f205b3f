"""Start automations whose segment a contact has entered, which is looked up every few minutes."""

from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from automations.models import Automation, AutomationStatus
from automations.programs import program
from automations.starting import LOCK_CONTACTS, Source, Starter
from automations.writing import pause
from config.api.errors import ApiError
from config.database import fetch_row, fetch_rows
from crm.filters import apply_filter, trusted
from crm.models import Segment, Subscriber
from crm.segments import read_segment

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
ADD = """
INSERT INTO automations_member (automation_id, subscriber_id)
SELECT %(automation)s, id FROM unnest(%(contacts)s::bigint[]) id
ON CONFLICT DO NOTHING RETURNING subscriber_id
"""
LOCK_PUBLISHED = """
SELECT id FROM automations_automation WHERE id = %(automation)s AND status = 'published' FOR SHARE
"""


def read_due_segments() -> int:
    """Look up the segments of published automations that were not looked up for a while.

    Returns how many contacts have started.
    """
    old = Q(segment_read_at=None) | Q(segment_read_at__lt=timezone.now() - EVERY)
    due = Automation.objects.filter(
        old,
        status=AutomationStatus.PUBLISHED,
        armed_at__isnull=False,
        version__document__trigger__type="segment_entered",
    )
    return sum(read_members(automation) for automation in due.order_by("id"))


def read_members(automation: Automation) -> int:
    """Start the contacts that have entered the segment of an automation. Returns how many.

    Those that are in it when the automation is published do not start.
    """
    version = program(automation.version_id or 0)
    segment_id = version.document["trigger"]["segment"]
    is_first = automation.segment_read_at is None
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
    started = 0
    for start in range(0, len(new), CONTACTS):
        started += _enter(automation, new[start : start + CONTACTS], segment_id, is_first)
    Automation.objects.filter(pk=automation.pk).update(segment_read_at=timezone.now())
    return started


@transaction.atomic
def _enter(automation: Automation, contact_ids: list[int], segment_id: int, is_first: bool) -> int:
    ids: dict[str, Any] = {"contacts": contact_ids, "automation": automation.pk}
    if is_first:
        fetch_rows(ADD, ids)
        return 0
    # Contacts that are locked enter the next time.
    locked: dict[int, str] = dict(fetch_rows(LOCK_CONTACTS, ids))
    if fetch_row(LOCK_PUBLISHED, ids) is None:
        return 0
    new = fetch_rows(ADD, {**ids, "contacts": [*locked]})
    starter = Starter(locked, [automation.pk])
    source = Source("segment", starter.now, str(segment_id))
    for (contact_id,) in new:
        starter.start(automation.pk, program(automation.version_id or 0), contact_id, source)
    starter.write()
    return len(starter.started)
