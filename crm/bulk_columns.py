"""Set a column or a custom value of several contacts, with a record of what was there before.

The record is of a job, so that crm/bulk_changes.py can undo exactly what was changed.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from config.api.errors import InvalidFields
from config.database import fetch_rows, in_transaction
from crm.contact_rows import merge_custom_values
from crm.contacts import Counts, lock_of_ids, stays_erased
from crm.models import (
    OPT_INS,
    OPT_OUTS,
    BulkChange,
    Erasure,
    OutboxKind,
    Status,
    Subscriber,
    updated_now,
)
from crm.outbox import record_now

# The columns that are set for several contacts at once.
BulkColumn = Literal["status", "contact_type", "avatar"]
CUSTOM_VALUES = "custom_values"

# A row for each value before. Contacts that have the value already are in none.
RECORD = """
INSERT INTO crm_bulkchange (job_id, field, before, after, contact_ids)
SELECT %(job)s, %(field)s, {before}, %(after)s::jsonb, array_agg(id ORDER BY id)
FROM crm_subscriber
WHERE id = ANY(%(contacts)s::bigint[]) AND {before} IS DISTINCT FROM %(after)s::jsonb
GROUP BY 3 RETURNING id
"""
# As `merge_custom_values` takes it: "" is no value.
CUSTOM_VALUE = """
jsonb_build_object(%(key)s::text, COALESCE(custom_values -> %(key)s::text, '""'))
"""
HAVE_CUSTOM_VALUE = f"""
SELECT id FROM crm_subscriber
WHERE id = ANY(%(contacts)s::bigint[]) AND {CUSTOM_VALUE} = %(value)s::jsonb
"""  # noqa: S608
# The values before, because they may say something of a person.
DELETE_VALUES = """
WITH theirs AS (
    DELETE FROM crm_bulkchange
    WHERE field IN ('avatar', 'custom_values') AND contact_ids && %(contacts)s::bigint[]
        AND contact_ids <@ %(contacts)s::bigint[]
)
UPDATE crm_bulkchange
SET contact_ids = ARRAY(SELECT unnest(contact_ids) EXCEPT SELECT unnest(%(contacts)s::bigint[]))
WHERE field IN ('avatar', 'custom_values') AND contact_ids && %(contacts)s::bigint[]
    AND NOT contact_ids <@ %(contacts)s::bigint[]
"""

# The ids of contacts that kept their status, by the reason: an opt-out, or an erasure after which
# the contact was not restored.
Kept = dict[Literal["keep_opt_outs", "erased"], list[int]]


class Outcome(NamedTuple):
    """How many contacts have changed, and which kept their status."""

    number: int
    kept: Kept


@in_transaction
def set_column(
    contact_ids: Iterable[int],
    column: BulkColumn,
    value: str,
    keep_opt_outs: bool = True,
    job_id: int | None = None,
) -> Outcome:
    """Set one column of several contacts, which are locked in id order. Equal values stay.

    Args:
        contact_ids: ids of the contacts. Unknown ones are ignored.
        column: the column.
        value: its value.
        keep_opt_outs: whether contacts that opted out stay so, unless the value is an opt-out too.
        job_id: of the job that can be undone. None keeps no record.

    Raises:
        ValueError: an unknown status.
    """
    same: dict[str, Any] = {column: value}
    if column == "status":
        value = Status(value)
        # Also those that have it by a change that can be undone, because they have it by this one
        # from now on.
        same = {"status": value, "status_change": None}
    contacts = _lock(Subscriber.objects.filter(id__in=list(contact_ids)).exclude(**same))
    kept: Kept = {}
    if column == "status":
        confirmed = [each.pk for each in contacts if each.status == value]
        if confirmed:
            Subscriber.objects.filter(id__in=confirmed).update(status_change=None)
            contacts = [each for each in contacts if each.status != value]
        if value not in OPT_OUTS:
            staying = OPT_OUTS if keep_opt_outs else ()
            opt_outs = [each.pk for each in contacts if each.status in staying]
            others = [each for each in contacts if each.status not in staying]
            keys = Erasure.erased_keys(each.email for each in others if each.status not in OPT_INS)
            erased = [each.pk for each in others if stays_erased(each, keys, each.email)]
            kept = {"keep_opt_outs": opt_outs, "erased": erased}
    ids = {each.pk for each in contacts}.difference(*kept.values())
    number = _write(ids, column, value, job_id)
    return Outcome(number, {rule: kept_ids for rule, kept_ids in kept.items() if kept_ids})


@in_transaction
def set_custom_value(
    contact_ids: Sequence[int], key: str, value: Any, job_id: int | None = None
) -> int:
    """Set a custom value of several contacts. "" removes it. Returns how many have changed.

    Unknown ids are ignored. `job_id` is as of `set_column`.

    Raises:
        InvalidFields: 422, as `contacts.set_custom_values`, and none is changed.
    """
    return _write_custom_value(lock_of_ids(contact_ids), {key: value}, job_id)


def undo_column(change: BulkChange, job_id: int) -> int:
    """Set back what a change wrote, where the contact still has it. Returns how many have changed.

    A contact whose status was written since keeps it, also if the same status was written, because
    it may be an opt-out.

    Args:
        change: the change.
        job_id: of the job that undoes it.

    Raises:
        InvalidFields: 422, as `set_custom_value`.
    """
    before: Any = change.before
    after: Any = change.after
    if change.field == CUSTOM_VALUES:
        [key] = after
        locked = lock_of_ids(change.contact_ids)
        parameters = {"contacts": [*locked], "key": key, "value": json.dumps(after)}
        having = {contact_id for (contact_id,) in fetch_rows(HAVE_CUSTOM_VALUE, parameters)}
        return _write_custom_value(having, before, job_id)
    same: dict[str, Any] = {change.field: after}
    if change.field == "status":
        same["status_change"] = change.job_id
    contacts = _lock(Subscriber.objects.filter(id__in=change.contact_ids, **same))
    return _write([each.pk for each in contacts], change.field, before, job_id)


def _lock(rows: QuerySet[Subscriber]) -> list[Subscriber]:
    return list(rows.order_by("id").select_for_update(no_key=True).only("email", "status"))


def _write(ids: Collection[int], column: str, value: str | None, job_id: int | None) -> int:
    if job_id:
        _record(job_id, column, f"to_jsonb({column})", ids, {"after": json.dumps(value)})
    changes: dict[str, Any] = {column: value, "made_by_track": False, "updated_at": updated_now()}
    if column == "status":
        changes["status_change"] = job_id
    number = Subscriber.objects.filter(id__in=ids).update(**changes)
    if column == "status" and value:
        record_now(OutboxKind.STATUS, value, ids)
    return number


def _write_custom_value(ids: Collection[int], values: Mapping[str, Any], job_id: int | None) -> int:
    if job_id:
        [key] = values
        after = {"after": json.dumps(values), "key": key}
        _record(job_id, CUSTOM_VALUES, CUSTOM_VALUE, ids, after)
    merged = merge_custom_values(dict.fromkeys(ids, values))
    for each in merged:
        if each.error:
            raise InvalidFields({CUSTOM_VALUES: each.error})
    return len(merged)


def _record(
    job_id: int, field: str, before: str, ids: Collection[int], parameters: Mapping[str, str]
) -> None:
    """Keep which of the contacts will change, and what they have before."""
    fetch_rows(
        RECORD.format(before=before),
        {"job": job_id, "field": field, "contacts": [*ids], **parameters},
    )


def delete_values_of(contact_ids: Sequence[int]) -> Counts:
    """Delete the values that deleted contacts had before a change. They are not counted."""
    with connection.cursor() as cursor:
        cursor.execute(DELETE_VALUES, {"contacts": list(contact_ids)})
    return {}
