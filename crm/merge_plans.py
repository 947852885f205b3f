"""Plan a merge of two contacts: what the survivor gets, by the rules and by choice."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.validation import MAX_ID
from config.database import fetch_one, fetch_row
from crm.aliases import Name
from crm.attachments import MAX_LABELS, too_many_labels
from crm.contact_rows import COLUMNS, values_error
from crm.contacts import Counts, changed_columns, stays_erased
from crm.labels import LABEL_MODELS, LabelKind, memberships
from crm.models import OPT_INS, Status, Subscriber
from crm.notes import count_notes_of

# The survivor's value is kept unless it is empty, or the other one is chosen.
SUMS = ("total_points", "life_time_value")
COMPUTED = (
    *SUMS,
    *("created_at", "last_activity", "status", "status_change", "made_by_track", "email_key"),
)
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
SELECT s.custom_values::text, o.custom_values::text, merged::text,
       octet_length(s.custom_values::text), octet_length(merged::text)
FROM crm_subscriber s, crm_subscriber o, LATERAL (SELECT {MERGED_VALUES} AS merged) m
WHERE s.id = %(survivor)s AND o.id = %(other)s
"""  # noqa: S608
COUNT_IDENTITIES = "SELECT count(*) FROM crm_identity WHERE subscriber_id = %(other)s"

# The ids of labels, by their kind.
Labels = dict[LabelKind, list[int]]
# Called with the ids of the survivor and of the other contact, which are locked.
mergers: list[tuple[Callable[[int, int], None], Callable[[int, int], Counts]]] = []


@dataclass(frozen=True)
class Merge:
    """What a merge does, or has done.

    Attributes:
        survivor: the contact that stays.
        other: the contact that becomes part of it, or None: it is part of it already.
        counts: numbers of rows that the survivor gets, by what they are called.
        changes: the survivor's value before and after, by the column or "custom_values.KEY".
        values: the survivor's value and the other one's, by the key of each custom value that the
            other contact has.
    """

    survivor: Subscriber
    other: Subscriber | None
    counts: Counts
    changes: dict[str, tuple[Any, Any]]
    values: dict[str, tuple[Any, Any]]

    def sentence(self, dry_run: bool = False) -> str:
        """Return what was done."""
        if self.other is None:
            return f"The other contact is part of contact {self.survivor.pk} already."
        verb = "would be" if dry_run else "has been"
        return f"Contact {self.other.pk} {verb} merged into contact {self.survivor.pk}."

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
    mergers.append((merge, count))


def plan(
    survivor: Subscriber, other: Subscriber, choice: Choice, name: Name, max_rows: int | None
) -> tuple[Merge, dict[str, Any], Labels]:
    """Return what a merge does, the columns of the survivor that it changes, and its new labels.

    Arguments and errors are those of `merge_contacts`, and both contacts.
    """
    # No custom value has a NUL in its key, and PostgreSQL reads none.
    own_columns = [each for each in choice.columns if not each.startswith(VALUES) or "\0" in each]
    if unknown := sorted({*own_columns}.difference(CHOICES)):
        message = (
            f"There is no {', '.join(unknown)}. There are {', '.join(CHOICES)} and custom values "
            f"such as {VALUES}plan. The status is chosen by its name, as status."
        )
        raise InvalidFields({"take": {"in": message}})
    ids: dict[str, Any] = {"survivor": survivor.pk, "other": other.pk}
    columns = changed_columns(survivor, _merged_columns(survivor, other, choice))
    changes = {
        column: (getattr(survivor, column), value)
        for column, value in columns.items()
        if column in (*CHOICES, "status")
    }
    values = _plan_values(ids, choice, changes)
    labels = _new_labels(survivor.pk, other.pk)
    counts: Counts = {
        **{kind: len(label_ids) for kind, label_ids in labels.items()},
        **count_notes_of([other.pk]),
        "identities": fetch_one(COUNT_IDENTITIES, ids)[0],
    }
    for _, count in mergers:
        counts |= count(survivor.pk, other.pk)
    if max_rows is not None and (number := sum(counts.values())) > max_rows:
        message = (
            f"The merge would move {number:,} rows, and a request moves {max_rows:,} at most. "
            f"Run manage.py merge_contacts {survivor.pk} {other.pk}."
        )
        raise InvalidFields({FIELDS[name[0]]: {"max": message}})
    return Merge(survivor, other, counts, changes, values), columns, labels


def _merged_columns(survivor: Subscriber, other: Subscriber, choice: Choice) -> dict[str, Any]:
    """Return the columns of the survivor by the rules.

    The survivor's value stays, unless it is empty. Points and values are added. The contact was
    created when the earlier one was, and active when the later one was. An opt-out stays. With the
    e-mail of a contact that was erased and not restored, the contact is pending.

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
    if kept in OPT_INS and "email" in choice.columns and stays_erased(other, None, other.email):
        kept = Status.PENDING
    return {**columns, "status": choice.status or kept}


def _plan_values(
    ids: dict[str, Any], choice: Choice, changes: dict[str, tuple[Any, Any]]
) -> dict[str, tuple[Any, Any]]:
    """Return both values of each custom value of the other contact, and add those that change.

    Args:
        ids: the ids of both contacts.
        choice: of merge_contacts.
        changes: of Merge.

    Raises:
        ObjectNotFound: one of the contacts does not exist.
        InvalidFields: 422, the other contact lacks a chosen one, or they would become too large.
    """
    keys = taken_keys(choice)
    row = fetch_row(PLAN_VALUES, {**ids, "keys": keys})
    if row is None:  # deleted since it was read, in a dry run
        raise ObjectNotFound("Subscriber")
    *texts, size_before, size = row
    own, others, merged = map(json.loads, texts)
    if missing := [key for key in keys if key not in others]:
        message = f"The other contact has no custom value {', '.join(missing)}."
        raise InvalidFields({"take": {"exists": message}})
    changed = {key: value for key, value in merged.items() if own.get(key, MISSING) != value}
    if changed and (error := values_error(size, size_before, len(merged), changed)):
        raise InvalidFields({"custom_values": error})
    changes |= {f"{VALUES}{key}": (own.get(key), value) for key, value in changed.items()}
    return {key: (own.get(key), value) for key, value in others.items()}


def taken_keys(choice: Choice) -> list[str]:
    """Return the keys of custom values that come from the other contact."""
    return [name.removeprefix(VALUES) for name in choice.columns if name.startswith(VALUES)]


def _new_labels(survivor_id: int, other_id: int) -> Labels:
    """Return the ids of the labels that the survivor gets.

    Raises:
        InvalidFields: 422, they would be too many.
    """
    new: Labels = {}
    for kind in LABEL_MODELS:
        rows, column = memberships(kind)
        attached = rows.filter(subscriber_id__in=(survivor_id, other_id))
        labels = {*attached.values_list("subscriber_id", column)}
        own = {label_id for contact_id, label_id in labels if contact_id == survivor_id}
        all_ids = {label_id for _, label_id in labels}
        new[kind] = sorted(all_ids - own)
        if new[kind] and len(all_ids) > MAX_LABELS:
            raise too_many_labels(kind, survivor_id, len(all_ids))
    return new
