"""Merge two contacts of one person into one, which has what both had.

Both are locked as a deletion locks them, so that events, notes and labels that arrive meanwhile
wait, and then find the survivor by the aliases.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.serializers import format_datetime
from config.api.validation import MAX_ID, is_valid_id
from config.database import fetch_one, fetch_rows, in_transaction
from crm.aliases import Name
from crm.attachments import MAX_LABELS, change_labels_of, too_many_labels
from crm.contact_rows import COLUMNS, store_changes, values_error
from crm.contacts import Counts, changed_columns, delete_contacts, find_by_email, find_by_id
from crm.emails import email_key
from crm.labels import LABEL_MODELS, LabelKind, memberships
from crm.models import Status, Subscriber
from crm.notes import count_notes_of, move_notes

# Rows that the merge of a request moves. PostgreSQL moves them in two to three seconds.
MAX_ROWS = 100_000
# The survivor's value is kept unless it is empty, or the other one is chosen.
SUMS = ("total_points", "life_time_value")
COMPUTED = (*SUMS, "created_at", "last_activity", "status", "made_by_track", "email_key")
FILLED = tuple(name for name in COLUMNS if name not in COMPUTED)
# What a choice can name, besides custom values such as "custom_values.plan".
CHOICES = (*FILLED, *SUMS, "created_at", "last_activity")
VALUES = "custom_values."
MISSING = object()
# The strongest first.
OPT_OUTS = (Status.COMPLAINED, Status.SPAMMED, Status.BOUNCED, Status.UNSUBSCRIBED)
# What names the other contact in a request, by the kind of its name.
FIELDS = {"contact": "other_id", "email": "other_email"}

MERGED_VALUES = """
o.custom_values || s.custom_values
|| (SELECT COALESCE(jsonb_object_agg(key, value), '{}') FROM jsonb_each(o.custom_values)
    WHERE key = ANY(%(keys)s::text[]))
"""
PLAN_VALUES = f"""
SELECT s.custom_values::text, merged::text, o.custom_values ?& %(keys)s::text[],
       octet_length(s.custom_values::text), octet_length(merged::text)
FROM crm_subscriber s, crm_subscriber o, LATERAL (SELECT {MERGED_VALUES} AS merged) m
WHERE s.id = %(survivor)s AND o.id = %(other)s
"""  # noqa: S608
# In SQL, because numbers would lose digits in Python.
MERGE_VALUES = f"""
UPDATE crm_subscriber s SET custom_values = {MERGED_VALUES}
FROM crm_subscriber o WHERE s.id = %(survivor)s AND o.id = %(other)s
RETURNING s.id
"""  # noqa: S608
COUNT_IDENTITIES = "SELECT count(*) FROM crm_identity WHERE subscriber_id = %(other)s"
# With new ids in the order of the old ones, because the first user_id is the one that is shown.
MOVE_IDENTITIES = """
UPDATE crm_identity i SET subscriber_id = %(survivor)s, id = new_id
FROM (SELECT id, nextval(pg_get_serial_sequence('crm_identity', 'id')) AS new_id
      FROM (SELECT id FROM crm_identity WHERE subscriber_id = %(other)s ORDER BY id) o) o
WHERE i.id = o.id RETURNING i.id
"""
ADD_ALIASES = """
INSERT INTO crm_identity (subscriber_id, kind, source, value)
VALUES (%(survivor)s, 'email', '', %(email)s), (%(survivor)s, 'contact', '', %(other)s::text)
RETURNING id
"""

# Called with the ids of the survivor and of the other contact, which are locked.
_mergers: list[tuple[Callable[[int, int], None], Callable[[int, int], Counts]]] = []


@dataclass(frozen=True)
class Merge:
    """What a merge does, or has done.

    Attributes:
        survivor_id: the id of the contact that stays.
        other_id: the id of the contact that becomes part of it, or None: it is part of it already.
        counts: numbers of rows that the survivor gets, by what they are called.
        changes: the survivor's value before and after, by the column. That of a custom value is
            called as in "custom_values.plan".
    """

    survivor_id: int
    other_id: int | None
    counts: Counts
    changes: dict[str, tuple[Any, Any]]

    def sentence(self, dry_run: bool = False) -> str:
        """Return what was done."""
        if self.other_id is None:
            return f"The other contact is part of contact {self.survivor_id} already."
        verb = "would be" if dry_run else "has been"
        return f"Contact {self.other_id} {verb} merged into contact {self.survivor_id}."

    def numbers(self) -> str:
        """Return the numbers of rows, without those that are 0."""
        numbers = [
            f"{number:,} {name.replace('_', ' ')}" for name, number in self.counts.items() if number
        ]
        return ", ".join(numbers) or "no rows"


@dataclass(frozen=True)
class Choice:
    """What a person chooses otherwise than the rules.

    Attributes:
        columns: those of CHOICES, and custom values, that come from the other contact.
        status: the status of one of the contacts, in place of an opt-out of the other one.
    """

    columns: Collection[str] = ()
    status: str | None = None


BY_RULE = Choice()


def register_merger(merge: Callable[[int, int], None], count: Callable[[int, int], Counts]) -> None:
    """Register what merges the rows of another app.

    Args:
        merge: is called with the ids of the survivor and of the other contact, both locked as
            delete_contacts locks them. It moves the rows of the other contact.
        count: is called with the same ids, and returns the numbers of rows that `merge` would move.
    """
    _mergers.append((merge, count))


@in_transaction
def merge_contacts(
    survivor_id: int,
    other: Name,
    choice: Choice = BY_RULE,
    *,
    dry_run: bool = False,
    max_rows: int | None = None,
) -> Merge:
    """Merge a contact into another one.

    Args:
        survivor_id: id of the contact that stays.
        other: the id or the e-mail of the other one. Both become aliases of the survivor. If it is
            an alias of the survivor already, nothing is changed.
        choice: what differs from the rules of `_merged_columns`.
        dry_run: whether nothing is changed, and nothing locked.
        max_rows: how many rows are moved at most.

    Raises:
        ObjectNotFound: the survivor does not exist.
        InvalidFields: 422, the other contact does not exist or is the survivor, a column is
            unknown, the status is that of neither, or the merge would exceed a limit.
    """
    own_columns = [name for name in choice.columns if not name.startswith(VALUES)]
    if unknown := sorted({*own_columns}.difference(CHOICES)):
        message = (
            f"There is no {', '.join(unknown)}. There are {', '.join(CHOICES)} and custom values "
            f"such as {VALUES}plan. The status is chosen by its name, as status."
        )
        raise InvalidFields({"take": {"in": message}})
    while True:
        survivor, found = find_by_id(survivor_id), _find(other)
        if survivor is None:
            raise ObjectNotFound("Subscriber")
        if found is None:
            raise InvalidFields({FIELDS[other[0]]: {"exists": "The other contact does not exist."}})
        if survivor.pk == found.pk:
            if other in (("contact", str(survivor.pk)), ("email", survivor.email_key)):
                message = "A contact cannot be merged with itself."
                raise InvalidFields({FIELDS[other[0]]: {"different": message}})
            return Merge(survivor.pk, None, {}, {})
        rows = Subscriber.objects.filter(pk__in=(survivor.pk, found.pk)).order_by("pk")
        both = {row.pk: row for row in (rows if dry_run else rows.select_for_update())}
        # Otherwise one was merged or deleted since.
        if len(both) == 2:
            return _merge(both[survivor.pk], both[found.pk], choice, other, dry_run, max_rows)


def name_of(text: str) -> Name:
    """Return the name of a contact that a person typed: an id or an e-mail."""
    return ("contact", str(int(text))) if is_valid_id(text) else ("email", email_key(text))


def messages_of(error: InvalidFields) -> list[str]:
    """Return what a person reads of an error of `merge_contacts`."""
    return [message for rules in error.detail.values() for message in rules.values()]


def shown(value: Any) -> str:
    """Return a value of a contact as a person reads it."""
    if value in (None, ""):
        return "-"
    return format_datetime(value) if isinstance(value, datetime) else str(value)


def _find(name: Name) -> Subscriber | None:
    kind, value = name
    return find_by_id(int(value)) if kind == "contact" else find_by_email(value)


def _merge(
    survivor: Subscriber,
    other: Subscriber,
    choice: Choice,
    name: Name,
    dry_run: bool,
    max_rows: int | None,
) -> Merge:
    """Merge two contacts that exist and, but for a dry run, are locked.

    Everything is read before anything is written, so that a dry run differs in nothing else.
    """
    ids: dict[str, Any] = {"survivor": survivor.pk, "other": other.pk}
    columns = changed_columns(survivor, _merged_columns(survivor, other, choice))
    ids["keys"] = [name.removeprefix(VALUES) for name in choice.columns if VALUES in name]
    values = _changed_values(ids)
    labels = _new_labels(survivor.pk, other.pk)
    counts: Counts = {
        **{kind: len(label_ids) for kind, label_ids in labels.items()},
        **count_notes_of([other.pk]),
        "identities": fetch_one(COUNT_IDENTITIES, ids)[0],
    }
    for _, count in _mergers:
        counts |= count(survivor.pk, other.pk)
    if max_rows is not None and (number := sum(counts.values())) > max_rows:
        message = (
            f"The merge would move {number:,} rows, and a request moves {max_rows:,} at most. "
            f"Run manage.py merge_contacts {survivor.pk} {other.pk}."
        )
        raise InvalidFields({FIELDS[name[0]]: {"max": message}})
    changes = {
        name: (getattr(survivor, name), value)
        for name, value in columns.items()
        if name in (*CHOICES, "status")
    }
    merge = Merge(survivor.pk, other.pk, counts, changes | values)
    if dry_run:
        return merge
    for move, _ in _mergers:
        move(survivor.pk, other.pk)
    move_notes(survivor.pk, other.pk)
    change_labels_of(survivor.pk, labels, {})
    if values:
        fetch_rows(MERGE_VALUES, ids)
    aliased = survivor if "email" in choice.columns else other
    fetch_rows(MOVE_IDENTITIES, ids)
    fetch_rows(ADD_ALIASES, {**ids, "email": aliased.email_key})
    # Before the survivor may get its e-mail.
    delete_contacts([other.pk])
    store_changes([(survivor, columns)])
    return merge


def _merged_columns(survivor: Subscriber, other: Subscriber, choice: Choice) -> dict[str, Any]:
    """Return the columns of the survivor by the rules.

    The survivor's value stays, unless it is empty. Points and values are added. The contact was
    created when the earlier one was, and active when the later one was. An opt-out stays.

    Raises:
        InvalidFields: 422, the chosen status is that of neither.
    """
    columns: dict[str, Any] = {
        name: getattr(other if getattr(survivor, name) in (None, "") else survivor, name)
        for name in FILLED
    }
    for name in SUMS:
        columns[name] = min(getattr(survivor, name) + getattr(other, name), MAX_ID)
    columns["created_at"] = min(survivor.created_at, other.created_at)
    active = [each.last_activity for each in (survivor, other) if each.last_activity]
    columns["last_activity"] = max(active, default=None)
    columns |= {name: getattr(other, name) for name in choice.columns if name in columns}
    statuses = (survivor.status, other.status)
    if choice.status not in (None, *statuses):
        message = f"The status must be that of one of the contacts: {' or '.join(statuses)}."
        raise InvalidFields({"status": {"in": message}})
    kept = next((status for status in OPT_OUTS if status in statuses), survivor.status)
    return {**columns, "status": choice.status or kept}


def _changed_values(ids: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the custom values of the survivor that change, before and after.

    Raises:
        InvalidFields: 422, the other contact lacks one of the keys, or they would become too large.
    """
    own_text, merged_text, has_keys, size_before, size = fetch_one(PLAN_VALUES, ids)
    if not has_keys:
        names = ", ".join(ids["keys"])
        message = f"The other contact has not all of the custom values {names}."
        raise InvalidFields({"take": {"exists": message}})
    own, merged = json.loads(own_text), json.loads(merged_text)
    changed = {key: value for key, value in merged.items() if own.get(key, MISSING) != value}
    if changed and (error := values_error(size, size_before, len(merged), changed)):
        raise InvalidFields({"custom_values": error})
    return {f"custom_values.{key}": (own.get(key), value) for key, value in changed.items()}


def _new_labels(survivor_id: int, other_id: int) -> dict[LabelKind, list[int]]:
    """Return the labels that the survivor gets.

    Raises:
        InvalidFields: 422, they would be too many.
    """
    new: dict[LabelKind, list[int]] = {}
    for kind in LABEL_MODELS:
        rows, column = memberships(kind)
        own, others = (
            {*rows.filter(subscriber_id=contact_id).values_list(column, flat=True)}
            for contact_id in (survivor_id, other_id)
        )
        new[kind] = sorted(others - own)
        if new[kind] and len(own | others) > MAX_LABELS:
            raise too_many_labels(kind, survivor_id, len(own | others))
    return new
