"""Create or update many contacts in few statements, as if each was written by itself.

`write_together` writes contacts whose writes succeed. A contact that needs an error, a second try
or the outcome of an earlier one is left to the caller, who writes that one alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple

from config.api.errors import InvalidFields
from config.api.warnings import Warnings
from config.database import in_transaction
from crm import contact_rows, contacts
from crm.attachments import attach_pairs
from crm.emails import email_key
from crm.identities import find_named_contacts
from crm.labels import (
    LABEL_MODELS,
    LabelKind,
    LabelName,
    find_named_of_kinds,
    is_new_title,
    missing_label_warnings,
)
from crm.models import Erasure, Subscriber

# Contacts that are locked at the same time.
MAX_TOGETHER = 200


@dataclass(frozen=True)
class Draft:
    """A valid contact of a batch."""

    fields: dict[str, Any]
    # By the field: tags and lists.
    labels: Mapping[str, Sequence[LabelName]]
    warnings: Warnings


class Rules(NamedTuple):
    """The rules of `contacts.create_or_update` for a batch. New contacts are not made pending.

    Labels and `user_id` of a contact that exists follow `existing` too: `skip` writes none, and
    `fill` adds labels, and a `user_id` where there is none.
    """

    force_status: bool
    keep_opt_outs: bool
    erased: Literal["reject", "restore"]
    existing: contacts.Existing = "overwrite"

    def writes_labels(self, is_new: bool) -> bool:
        """Return whether a contact gets its labels."""
        return is_new or self.existing != "skip"

    def writes_user_id(self, is_new: bool, user_id: str | None) -> bool:
        """Return whether a contact that has a `user_id`, or None, gets another one."""
        return is_new or self.existing == "overwrite" or (self.existing == "fill" and not user_id)


class Written(NamedTuple):
    """A contact that was written."""

    id: int
    email: str
    status: str
    is_new: bool
    # True also of a contact that had to be written alone and has its labels already.
    is_changed: bool
    warnings: Warnings


class NotTogether(Exception):
    """Nothing was written, because a contact has to be written alone, or is rejected.

    Those before `position` can be written together, as far as it is known. With a `rejection`, the
    contact at the position need not be tried.
    """

    def __init__(self, position: int, rejection: InvalidFields | None = None) -> None:
        self.position = position
        self.rejection = rejection


@dataclass
class Plan:
    """What becomes of a draft: a new contact, or changes of the one that exists."""

    contact: Subscriber
    is_new: bool
    changes: dict[str, Any]
    custom_values: dict[str, Any]
    user_id: str | None
    # By the field: tags and lists.
    labels: Mapping[str, Sequence[LabelName]]
    warnings: Warnings


@in_transaction
def write_together(
    drafts: Sequence[Draft], rules: Rules, may_change: bool, user_source: str = ""
) -> list[Written]:
    """Create or update contacts by e-mail, and attach labels to them, in one transaction.

    Locks are those of single writes, in their order: contacts by id, then labels.

    Args:
        drafts: at most MAX_TOGETHER.
        rules: the rules of `contacts.create_or_update`.
        may_change: whether the user may change contacts.
        user_source: the source of their user_ids.

    Raises:
        NotTogether: one of them has to be written alone.
    """
    plans = _plan(drafts, rules, may_change, user_source)
    _check_user_ids(plans, user_source)
    labels = _find_labels(plans)
    _insert(plans, rules)
    _update(plans)
    _identify(plans, user_source)
    changed = _merge_custom_values(plans, rules) | _attach(plans, labels)
    return [
        Written(
            each.contact.id,
            each.contact.email,
            each.contact.status,
            each.is_new,
            bool(each.is_new or each.changes or each.user_id or each.contact.id in changed),
            each.warnings,
        )
        for each in plans
    ]


def _plan(drafts: Sequence[Draft], rules: Rules, may_change: bool, user_source: str) -> list[Plan]:
    keys = [email_key(draft.fields["email"]) for draft in drafts]
    existing = contacts.lock_of_keys(keys, user_source)
    emails = [] if rules.erased == "restore" else [draft.fields["email"] for draft in drafts]
    # After the lock, so that no contact that exists is erased in between.
    erased = Erasure.erased_keys(emails)
    of_existing: dict[str, Any] = {**rules._asdict(), "erased": erased}
    plans: list[Plan] = []
    seen: set[str] = set()
    for position, (key, draft) in enumerate(zip(keys, drafts, strict=True)):
        # The second contact of an e-mail changes the first one.
        if key in seen:
            raise NotTogether(position)
        seen.add(key)
        warnings = [*draft.warnings]
        fields = {name: value for name, value in draft.fields.items() if name != "user_id"}
        if contact := existing.get(key):
            columns = contacts.written_columns(contact, fields, warnings, **of_existing)
            is_new = contact.made_by_track
        else:
            if key in erased:
                raise NotTogether(position, InvalidFields({"email": contacts.ERASED}))
            columns = contacts.new_columns(fields, warnings)
            is_new = True
        if not is_new and not may_change:
            raise NotTogether(position)
        custom_values = columns.pop("custom_values", {})
        changes = contacts.changed_columns(contact, columns) if contact else {}
        contact = contact or Subscriber(**columns, email_key=key)
        user_id = draft.fields.get("user_id")
        if not rules.writes_user_id(is_new, contact.user_id):
            user_id = None
        labels = draft.labels if rules.writes_labels(is_new) else {}
        plans.append(Plan(contact, is_new, changes, custom_values, user_id, labels, warnings))
    return plans


def _check_user_ids(plans: Sequence[Plan], user_source: str) -> None:
    """Keep those plans' `user_id` that change, if no other contact has them."""
    for plan in plans:
        if plan.user_id == plan.contact.user_id:
            plan.user_id = None
    sent = [plan.user_id for plan in plans if plan.user_id]
    if not sent:
        return
    holders = {*find_named_contacts("user", user_source, sent)}
    for position, plan in enumerate(plans):
        if plan.user_id:
            if plan.user_id in holders:
                raise NotTogether(position)
            holders.add(plan.user_id)


def _find_labels(plans: Sequence[Plan]) -> dict[LabelKind, list[list[int]]]:
    """Find the labels of each contact, and report names that no label has."""
    wanted: dict[LabelKind, list[list[LabelName]]] = {
        kind: [[n for n in dict.fromkeys(each.labels.get(kind, ())) if n] for each in plans]
        for kind in LABEL_MODELS
    }
    names = {kind: dict.fromkeys(chain(*each)) for kind, each in wanted.items()}
    found = find_named_of_kinds(names)
    labels: dict[LabelKind, list[list[int]]] = {kind: [] for kind in wanted}
    for position, plan in enumerate(plans):
        for kind, names_of_each in wanted.items():
            ids, names_of_one = found[kind], names_of_each[position]
            missing = [name for name in names_of_one if name not in ids]
            if any(map(is_new_title, missing)):
                # What it creates may have the title that a later contact names, or be forbidden.
                raise NotTogether(position)
            plan.warnings += missing_label_warnings(kind, kind, [*map(str, missing)])
            labels[kind].append([*dict.fromkeys(ids[n] for n in names_of_one if n in ids)])
    return labels


def _insert(plans: Sequence[Plan], rules: Rules) -> None:
    new = [plan.contact for plan in plans if plan.contact.pk is None]
    if not new:
        return
    existing, erased = contact_rows.insert_new_contacts(new)
    # Another request has just created or erased one of them, or the e-mail is an alias.
    if alone := existing | (erased if rules.erased == "reject" else set()):
        raise NotTogether(_first(plan.contact.email_key in alone for plan in plans))


def _update(plans: Sequence[Plan]) -> None:
    if changed := [plan for plan in plans if plan.changes]:
        contact_rows.store_changes([(plan.contact, plan.changes) for plan in changed])


def _merge_custom_values(plans: Sequence[Plan], rules: Rules) -> set[int]:
    """Return the ids of the contacts whose custom values have changed."""
    values = {plan.contact.id: plan.custom_values for plan in plans if plan.custom_values}
    if not values:
        return set()
    is_filled = rules.existing == "fill"
    filled = {plan.contact.id for plan in plans if is_filled and not plan.is_new}
    merged = contact_rows.merge_custom_values(values, filled)
    if errors := {each.contact_id for each in merged if each.error}:
        raise NotTogether(_first(plan.contact.id in errors for plan in plans))
    return {each.contact_id for each in merged}


def _identify(plans: Sequence[Plan], user_source: str) -> None:
    user_ids = {plan.contact.id: plan.user_id for plan in plans if plan.user_id}
    if user_ids and not contact_rows.write_user_ids(user_ids, user_source):
        # Another request has just given one of them to its contact.
        raise NotTogether(_first(bool(plan.user_id) for plan in plans))


def _attach(plans: Sequence[Plan], labels: Mapping[LabelKind, Sequence[Sequence[int]]]) -> set[int]:
    """Return the ids of the contacts that got a label."""
    changed: set[int] = set()
    for kind, ids_of_each in labels.items():
        pairs = [
            (plan.contact.id, label_id)
            for plan, ids in zip(plans, ids_of_each, strict=True)
            for label_id in ids
        ]
        attached, too_many = attach_pairs(kind, pairs)
        if too_many:
            raise NotTogether(_first(plan.contact.id in too_many for plan in plans))
        changed |= attached
    return changed


def _first(tests: Iterable[bool]) -> int:
    """Return the position of the first test that is true."""
    return next(position for position, is_true in enumerate(tests) if is_true)
