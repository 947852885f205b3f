"""Insert and update rows of contacts, many by one statement. The rules are in crm/contacts.py."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.utils import timezone

from config.api.json_fields import MAX_KEYS_PER_OBJECT, MAX_OBJECT_BYTES, max_keys
from config.api.validation import MAX_NAME_LENGTH
from config.database import fetch_rows
from crm.models import Erasure, OutboxKind, Subscriber
from crm.outbox import record

VALUES_TOO_LARGE = {"max": "The custom_values may not be greater than 64 KB together."}
TOO_MANY_VALUES = {"keys": f"The custom_values may not have more than {MAX_KEYS_PER_OBJECT} keys."}
# The columns that are written together. The others have rules of their own.
COLUMNS = tuple(
    field.attname
    for field in Subscriber._meta.concrete_fields
    if field.attname not in ("id", "custom_values", "updated_at")
)
# One contact or several. PostgreSQL plans the second each time that it gets a single id.
ONE, SEVERAL = "s.id = %(id)s", "s.id = ANY(%(ids)s::bigint[])"
# The ids are in the order of the contacts. The rows are inserted in the order of their keys,
# because two batches in opposite orders would deadlock.
INSERT = f"""
WITH sent AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('crm_subscriber', 'id')) AS new_id, contact.*
    FROM json_populate_recordset(NULL::crm_subscriber, %(contacts)s::json) contact
), inserted AS (
    INSERT INTO crm_subscriber (id, {", ".join(COLUMNS)}, custom_values, updated_at)
    SELECT new_id, {", ".join(COLUMNS)}, '{{}}', updated_at FROM sent ORDER BY email_key
    ON CONFLICT (email_key) DO NOTHING RETURNING email_key, id AS subscriber_id
), recorded AS ({record(OutboxKind.CREATED, "inserted")})
SELECT email_key, subscriber_id FROM inserted
"""  # noqa: S608
# A statement of its own, because an insert that waits until a merge or an erasure has deleted a
# contact gets through with its e-mail, and does not yet see the alias or the receipt.
CHECK_INSERTED = """
WITH alias AS (
    DELETE FROM crm_subscriber s USING crm_identity i
    WHERE s.id = ANY(%(ids)s::bigint[])
        AND i.kind = 'email' AND i.source = '' AND i.value = s.email_key
    RETURNING s.email_key
)
SELECT email_key, NULL FROM alias
UNION ALL
SELECT NULL, email_sha256 FROM crm_erasure WHERE email_sha256 = ANY(%(hashes)s::text[])
"""
UPDATE = f"""
WITH written AS (
    UPDATE crm_subscriber s
    SET ({", ".join(COLUMNS)}) = ({", ".join(f"sent.{name}" for name in COLUMNS)}),
        updated_at = GREATEST(s.updated_at, %(now)s)
    FROM json_populate_recordset(NULL::crm_subscriber, %(contacts)s::json) sent
    -- The ids are compared alone too, because for the expected rows of JSON all contacts are read.
    WHERE {{}} AND s.id = sent.id AND (s.email_key = sent.email_key
        OR NOT EXISTS (SELECT FROM crm_subscriber o WHERE o.email_key = sent.email_key))
    RETURNING s.id AS subscriber_id, s.status, s.updated_at
), recorded AS (
    {record(OutboxKind.STATUS, "written", "c.status")}
        AND c.subscriber_id = ANY(%(with_status)s::bigint[])
)
SELECT subscriber_id, updated_at FROM written
"""  # noqa: S608
MERGE_CUSTOM_VALUES = f"""
WITH sent AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(contacts)s::json)
        sent(id bigint, values jsonb, removed text[], filled boolean)
),
-- In the order of the keys, because two requests in opposite orders would deadlock.
catalogued AS (
    INSERT INTO crm_customkey (name)
    SELECT DISTINCT name FROM sent, jsonb_object_keys(values) name
    WHERE length(name) <= {MAX_NAME_LENGTH} ORDER BY name
    ON CONFLICT DO NOTHING
)
UPDATE crm_subscriber s
SET custom_values = m.merged, made_by_track = false, updated_at = GREATEST(updated_at, %(now)s)
FROM (SELECT id, custom_values AS before,
             CASE WHEN filled THEN sent.values || custom_values
                  ELSE (custom_values || sent.values) - removed END AS merged
      FROM sent JOIN crm_subscriber USING (id)) m
WHERE s.id = m.id AND m.merged <> m.before
RETURNING s.id, octet_length(m.merged::text), octet_length(m.before::text),
          (SELECT count(*) FROM jsonb_object_keys(m.merged)), updated_at
"""  # noqa: S608
# The shown user_id of each contact in a source. Those of contacts that were merged into it stay,
# but for the new one itself.
RELEASE_USER_IDS = """
DELETE FROM crm_identity i
USING unnest(%(contacts)s::bigint[], %(values)s::text[]) sent(contact, value)
WHERE i.kind = 'user' AND i.source = %(user_source)s AND i.subscriber_id = sent.contact
    AND (i.value = sent.value
         OR i.id = (SELECT min(id) FROM crm_identity
                    WHERE kind = 'user' AND source = %(user_source)s
                        AND subscriber_id = sent.contact))
RETURNING i.subscriber_id, i.id
"""
# With the id of the row before, because the first one is shown.
INSERT_USER_IDS = """
INSERT INTO crm_identity (id, subscriber_id, kind, source, value)
SELECT COALESCE(id, nextval(pg_get_serial_sequence('crm_identity', 'id'))), contact, 'user',
       %(user_source)s, value
FROM unnest(%(ids)s::bigint[], %(contacts)s::bigint[], %(values)s::text[]) sent(id, contact, value)
WHERE value IS NOT NULL ORDER BY value
ON CONFLICT (kind, source, value) DO NOTHING RETURNING subscriber_id
"""


class MergedValues(NamedTuple):
    """A contact whose custom values have changed, and the error that forbids the change."""

    contact_id: int
    updated_at: datetime
    error: dict[str, str] | None


class Inserted(NamedTuple):
    """What became of new contacts, by the keys of their e-mails.

    Contacts of `existing` e-mails were not inserted: a contact has the e-mail, or had it before it
    was merged into another one. Those of `erased` e-mails were, and the caller decides whether they
    stay.
    """

    existing: set[str]
    erased: set[str]


def insert_new_contacts(new: Sequence[Subscriber]) -> Inserted:
    """Insert contacts with new e-mails, and set their ids. The caller has a transaction open."""
    by_key = {contact.email_key: contact for contact in new}
    rows = [{name: getattr(each, name) for name in (*COLUMNS, "updated_at")} for each in new]
    inserted: dict[str, int] = dict(fetch_rows(INSERT, {"contacts": _json(rows)}))
    erased: set[str] = set()
    if inserted:
        hashes = Erasure.keys_by_hash(by_key[key].email for key in inserted)
        parameters = {"ids": [*inserted.values()], "hashes": [*hashes]}
        for alias, sha256 in fetch_rows(CHECK_INSERTED, parameters):
            if alias:
                del inserted[alias]
            else:
                erased.add(hashes[sha256])
    for key, contact_id in inserted.items():
        by_key[key].pk = contact_id
        by_key[key]._state.adding, by_key[key]._state.db = False, "default"
    return Inserted(by_key.keys() - inserted.keys(), erased & inserted.keys())


def store_changes(changes: Sequence[tuple[Subscriber, Mapping[str, Any]]]) -> bool:
    """Write the changed columns of locked contacts, and set them in the contacts.

    Returns:
        Whether all were written: none if another contact has the e-mail.
    """
    for contact, columns in changes:
        for name, value in columns.items():
            setattr(contact, name, value)
    rows = [{name: getattr(each, name) for name in ("id", *COLUMNS)} for each, _ in changes]
    ids = [contact.pk for contact, _ in changes]
    statement = UPDATE.format(ONE if len(ids) == 1 else SEVERAL)
    parameters = {
        "id": ids[0],
        "ids": ids,
        "contacts": _json(rows),
        "with_status": [contact.pk for contact, columns in changes if "status" in columns],
        "now": timezone.now(),
    }
    written: dict[int, datetime] = dict(fetch_rows(statement, parameters))
    for contact, _ in changes:
        contact.updated_at = written.get(contact.pk, contact.updated_at)
    return len(written) == len(changes)


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    # Coordinates are Decimals, which PostgreSQL reads from text.
    return orjson.dumps(rows, default=str).decode()


def merge_custom_values(
    values: Mapping[int, Mapping[str, Any]], filled: Collection[int] = ()
) -> list[MergedValues]:
    """Merge values into the custom values of locked contacts, by the contact's id.

    After an error, which `set_custom_values` describes, the caller rolls back.

    Args:
        values: the values of each contact.
        filled: the contacts that keep the values that they have.

    Returns:
        The contacts whose values have changed.
    """
    rows = [
        {
            "id": contact_id,
            "values": {name: value for name, value in sent.items() if value != ""},
            "removed": [name for name, value in sent.items() if value == ""],
            "filled": contact_id in filled,
        }
        for contact_id, sent in values.items()
    ]
    merged = fetch_rows(MERGE_CUSTOM_VALUES, {"contacts": json.dumps(rows), "now": timezone.now()})
    return [
        MergedValues(contact_id, updated_at, values_error(size, before, keys, values[contact_id]))
        for contact_id, size, before, keys, updated_at in merged
    ]


def values_error(
    size: int, size_before: int, number: int, values: Mapping[str, Any]
) -> dict[str, str] | None:
    """Return the error of custom values that would become too large, or None.

    Args:
        size: their bytes as PostgreSQL writes them.
        size_before: their bytes before the change.
        number: the number of their keys.
        values: those that change.
    """
    if size <= size_before:
        return None
    if size > MAX_OBJECT_BYTES:
        return VALUES_TOO_LARGE
    return TOO_MANY_VALUES if max(number, max_keys(values)) > MAX_KEYS_PER_OBJECT else None


def write_user_ids(user_ids: Mapping[int, str | None], user_source: str) -> bool:
    """Set or remove the shown user_id of locked contacts in a source, by the contact's id.

    Returns:
        Whether all were set. Otherwise another contact has one, and the caller rolls back.
    """
    parameters = {
        "contacts": [*user_ids],
        "values": [*user_ids.values()],
        "user_source": user_source,
    }
    released: dict[int, int] = {}
    for contact_id, row_id in fetch_rows(RELEASE_USER_IDS, parameters):
        released[contact_id] = min(row_id, released.get(contact_id, row_id))
    ids = [released.get(contact_id) for contact_id in user_ids]
    inserted = fetch_rows(INSERT_USER_IDS, {**parameters, "ids": ids})
    return len(inserted) == sum(value is not None for value in user_ids.values())
