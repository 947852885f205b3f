"""Attach tags and lists to contacts, and detach them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from config.api.errors import InvalidFields
from config.database import fetch_one, fetch_row, fetch_rows
from crm.labels import LABEL_MODELS, LabelKind, memberships
from crm.models import OutboxKind
from crm.outbox import record

# Of each kind, on one contact.
MAX_LABELS = 500
# Of one request: contacts times labels. PostgreSQL writes them in one to two seconds.
MAX_ATTACHMENTS = 100_000
# How the outbox calls an attachment that is new, and one that is gone.
RECORDED: dict[LabelKind, tuple[OutboxKind, OutboxKind]] = {
    "tags": (OutboxKind.TAG_ADDED, OutboxKind.TAG_REMOVED),
    "lists": (OutboxKind.LIST_ADDED, OutboxKind.LIST_REMOVED),
}
# Both sides are locked until the commit, so that neither is deleted in between, and so that two
# requests together keep to MAX_LABELS.
ATTACH = """
WITH added AS (
    INSERT INTO {attachments} (subscriber_id, {column})
    SELECT s.id, label.id FROM crm_subscriber s CROSS JOIN {labels} label
    WHERE s.id = ANY(%(contacts)s::bigint[]) AND label.id = ANY(%(labels)s::bigint[])
    ORDER BY s.id, label.id FOR NO KEY UPDATE OF s FOR KEY SHARE OF label
    ON CONFLICT DO NOTHING RETURNING subscriber_id, {column} AS label_id
), recorded AS ({record_added})
SELECT subscriber_id, label_id FROM added
"""
DETACH = """
WITH removed AS (
    DELETE FROM {attachments} WHERE subscriber_id = ANY(%(contacts)s::bigint[])
    AND {column} = ANY(%(labels)s::bigint[]) RETURNING subscriber_id, {column} AS label_id
), recorded AS ({record_removed})
SELECT subscriber_id, label_id FROM removed
"""
ATTACH_PAIRS = """
WITH label AS MATERIALIZED (
    SELECT id FROM {labels} WHERE id = ANY(%(labels)s::bigint[]) ORDER BY id FOR KEY SHARE
), added AS (
    INSERT INTO {attachments} (subscriber_id, {column})
    SELECT contact, label.id
    FROM unnest(%(contacts)s::bigint[], %(labels)s::bigint[]) pair(contact, id)
        JOIN label USING (id)
    ORDER BY contact, label.id
    ON CONFLICT DO NOTHING RETURNING subscriber_id, {column} AS label_id
), recorded AS ({record_added})
SELECT subscriber_id FROM added
"""
# Of one contact, which is locked before, so that the statement sees all its labels of before.
CHANGE = """
removed_{kind} AS (
    DELETE FROM {attachments}
    WHERE subscriber_id = %(contact)s AND {column} = ANY(%(detached_{kind})s::bigint[])
    RETURNING id, subscriber_id, {column} AS label_id
), recorded_removed_{kind} AS ({record_removed}), label_{kind} AS MATERIALIZED (
    SELECT id FROM {labels}
    WHERE id = ANY(%(attached_{kind})s::bigint[]) ORDER BY id FOR KEY SHARE
), added_{kind} AS (
    INSERT INTO {attachments} (subscriber_id, {column})
    SELECT %(contact)s, id FROM label_{kind} ORDER BY id
    ON CONFLICT DO NOTHING RETURNING id, subscriber_id, {column} AS label_id
), recorded_added_{kind} AS ({record_added})
"""
# How many are new, and how many there are then.
NUMBERS = """
(SELECT count(*) FROM added_{kind}),
(SELECT count(*) FROM {attachments} WHERE subscriber_id = %(contact)s)
- (SELECT count(*) FROM removed_{kind}) + (SELECT count(*) FROM added_{kind})
"""
TOO_MANY_LABELS = """
SELECT subscriber_id, count(*) FROM {attachments}
WHERE subscriber_id = ANY(%(contacts)s::bigint[])
GROUP BY subscriber_id HAVING count(*) > %(most)s ORDER BY subscriber_id LIMIT 1
"""


class Pair(NamedTuple):
    """A contact that has a label."""

    contact_id: int
    label_id: int


def attach(kind: LabelKind, contact_ids: Iterable[int], label_ids: Iterable[int]) -> list[Pair]:
    """Attach labels to contacts, and ignore ids that do not exist.

    The caller has a transaction open.

    Returns:
        The new attachments.

    Raises:
        InvalidFields: 422, a contact gets a label and has more than 500 of the kind then.
    """
    tables = _tables(kind)
    ids = {"contacts": list(contact_ids), "labels": list(label_ids)}
    if not ids["labels"]:
        return []
    attached = [Pair(*row) for row in fetch_rows(ATTACH.format(**tables), ids)]
    if attached:
        limit = {"contacts": list({pair.contact_id for pair in attached}), "most": MAX_LABELS}
        if found := fetch_row(TOO_MANY_LABELS.format(**tables), limit):
            raise too_many_labels(kind, *found)
    return attached


def attach_pairs(kind: LabelKind, pairs: Sequence[tuple[int, int]]) -> tuple[set[int], set[int]]:
    """Attach labels to contacts, by pairs of their ids, and ignore labels that do not exist.

    The caller has locked the contacts in a transaction.

    Returns:
        The ids of contacts that got a label, and of those that have more than 500 of the kind now.
    """
    if not pairs:
        return set(), set()
    tables = _tables(kind)
    ids = {"contacts": [pair[0] for pair in pairs], "labels": [pair[1] for pair in pairs]}
    attached = {row[0] for row in fetch_rows(ATTACH_PAIRS.format(**tables), ids)}
    limit = {"contacts": list(attached), "most": MAX_LABELS}
    found = fetch_rows(TOO_MANY_LABELS.format(**tables), limit) if attached else []
    return attached, {row[0] for row in found}


def change_labels_of(
    contact_id: int,
    attached: Mapping[LabelKind, Collection[int]],
    detached: Mapping[LabelKind, Collection[int]],
) -> None:
    """Attach and detach labels of one contact, by one statement. A label of both is detached.

    The caller has locked the contact in a transaction.

    Raises:
        InvalidFields: 422, the contact gets a label and has more than 500 of the kind then.
    """
    kinds: tuple[LabelKind, ...] = tuple(
        kind for kind in LABEL_MODELS if kind in {*attached, *detached}
    )
    if not kinds:
        return
    parameters: dict[str, Any] = {"contact": contact_id}
    for kind in kinds:
        removed = {*detached.get(kind, ())}
        parameters[f"detached_{kind}"] = list(removed)
        parameters[f"attached_{kind}"] = list({*attached.get(kind, ())} - removed)
    row = fetch_one(_change_statement(kinds), parameters)
    for kind, added, number in zip(kinds, row[::2], row[1::2], strict=True):
        if added and number > MAX_LABELS:
            raise too_many_labels(kind, contact_id, number)


@cache
def _change_statement(kinds: tuple[LabelKind, ...]) -> str:
    changes = ", ".join(CHANGE.format(kind=kind, **_tables(kind, f"_{kind}")) for kind in kinds)
    numbers = ", ".join(NUMBERS.format(kind=kind, **_tables(kind)) for kind in kinds)
    return f"WITH {changes} SELECT {numbers}"


def too_many_labels(kind: LabelKind, contact_id: int, number: int) -> InvalidFields:
    """Return the error of a contact that would have so many labels of a kind."""
    message = (
        f"A contact may have {MAX_LABELS} {kind} at most. "
        f"The contact {contact_id} would have {number}."
    )
    return InvalidFields({kind: {"max": message}})


def _tables(kind: LabelKind, part: str = "") -> dict[str, str]:
    """Return the names and parts of a statement about a kind, whose parts end with `part`."""
    rows, column = memberships(kind)
    added, removed = RECORDED[kind]
    return {
        "attachments": rows.model._meta.db_table,
        "column": column,
        "labels": LABEL_MODELS[kind]._meta.db_table,
        "record_added": record(added, f"added{part}", "c.label_id::text"),
        "record_removed": record(removed, f"removed{part}", "c.label_id::text"),
    }


def detach(kind: LabelKind, contact_ids: Iterable[int], label_ids: Iterable[int]) -> list[Pair]:
    """Detach labels from contacts. Returns the attachments that there were."""
    ids = {"contacts": list(contact_ids), "labels": list(label_ids)}
    rows = fetch_rows(DETACH.format(**_tables(kind)), ids) if ids["labels"] else []
    return [Pair(*row) for row in rows]
