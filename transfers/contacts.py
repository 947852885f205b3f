"""Write rows of files as contacts, many in one transaction of the caller.

A row becomes what an item of bulk-add-update becomes, by the same functions (crm/api/batches.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connection

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, is_empty, to_text, to_user_id
from config.api.warnings import Warnings
from crm import contacts
from crm.api.batches import add_or_update, errors_of, read_draft
from crm.batches import Draft, Rules, Written
from crm.custom_fields import Fields, declared_fields
from crm.emails import email_key
from crm.identities import Name, add_names, emails_of, to_user_source
from crm.labels import NAME_KINDS, LabelKind, LabelName, create_missing, find_named, is_new_title
from crm.models import Erasure, Subscriber
from transfers.columns import ColumnTargets
from transfers.conversion import contact_of, errors_of_row
from transfers.options import ContactOptions
from transfers.tables import Row

# A plan that was made while the store was empty reads all contacts, and PostgreSQL keeps it for
# minutes.
PLAN_EACH_TIME = "SET LOCAL plan_cache_mode = force_custom_plan"
MAX_KIND_LENGTH = 20
HELD_BACK_RULES = ("keep_opt_outs", "erased")
ERASED = {"erased": "The contact of this email was erased, and this import does not restore it."}
NO_EMAIL = {"required": "The row has no email, and no contact has its user_id."}


class ContactRow(NamedTuple):
    """A row as an item of a batch, or the errors of a row that is none.

    `number` is that of the row in the file.
    """

    number: int
    item: Mapping[str, Any]
    errors: FieldErrors
    warnings: Warnings


@dataclass(frozen=True, kw_only=True)
class ContactRules:
    """What an admin user has chosen for an import.

    `existing` is what is written to a contact that exists. An opt-out in the file always is.
    `resubscribe` subscribes contacts that opted out, and creates erased ones, as the file says.
    `create` has the kinds of labels that may be created. `source` names the program whose ids
    `user_id` has, as that of an application password.
    """

    existing: contacts.Existing
    resubscribe: bool = False
    create: Collection[LabelKind] = ()
    source: str = ""


class Outcome(NamedTuple):
    """What became of a row.

    `held_back` is a contact that stays opted out, and was written otherwise, or that stays erased,
    and was not created. Without a contact, `contact_id` is None and there are `errors` by field.
    """

    number: int
    kind: Literal["created", "updated", "unchanged", "skipped", "held_back", "rejected"]
    contact_id: int | None
    errors: FieldErrors
    warnings: Warnings


@dataclass
class Read:
    """A valid row."""

    row: ContactRow
    draft: Draft
    key: str
    is_found_by_id: bool
    names: Sequence[Name]
    warnings: Warnings


def read_contact(
    row: Row, mapping: ColumnTargets, options: ContactOptions, declared: Fields
) -> ContactRow:
    """Convert a row of a table.

    Args:
        row: the row.
        mapping: the target of each column.
        options: how values are read.
        declared: the definitions of custom fields.
    """
    if row.error:
        return ContactRow(row.number, {}, errors_of_row(row.error), [])
    warnings: Warnings = []
    try:
        item = contact_of(row.values, mapping, options, declared, warnings)
    except InvalidFields as error:
        return ContactRow(row.number, {}, error.detail, warnings)
    return ContactRow(row.number, item, {}, warnings)


def import_contacts(rows: Sequence[ContactRow], rules: ContactRules) -> list[Outcome]:
    """Write up to some hundred rows in the caller's transaction. Each succeeds or fails alone.

    Locks are those of bulk-add-update, in its order. Two imports of the same new contacts may
    deadlock, so the caller repeats its whole transaction then (config.database.in_transaction).

    Args:
        rows: the rows, in the order of the file.
        rules: what an admin user has chosen.

    Returns:
        The outcome of each row.
    """
    with connection.cursor() as cursor:
        cursor.execute(PLAN_EACH_TIME)
    outcomes: dict[int, Outcome] = {}
    read: dict[int, Read] = {}
    declared = cache(declared_fields)
    emails = _emails(rows, rules.source)
    for position, row in enumerate(rows):
        try:
            read[position] = _read(row, emails, declared)
        except InvalidFields as error:
            outcomes[position] = _rejected(row, error.detail)
    locked = contacts.lock_of_keys([each.key for each in read.values()])
    for position, each in [*read.items()]:
        # The e-mail of the contact may have changed meanwhile.
        if each.is_found_by_id and each.key not in locked:
            del read[position]
            outcomes[position] = _rejected(each.row, {"email": NO_EMAIL})
    valid = [*read.values()]
    sent = [each.draft.fields["email"] for each in valid]
    erased = set() if rules.resubscribe else Erasure.erased_keys(sent)
    _create_labels(valid, rules, locked, erased)
    # The second row of a contact comes after all first ones, because it is not written with them.
    nth: Counter[str] = Counter()
    order: list[tuple[int, int]] = []
    for position, each in enumerate(valid):
        order.append((nth[each.key], position))
        nth[each.key] += 1
    order.sort()
    in_order = add_or_update(
        [valid[position].draft for _, position in order],
        Rules(
            force_status=rules.existing == "overwrite",
            keep_opt_outs=not rules.resubscribe,
            erased="restore" if rules.resubscribe else "reject",
            existing=rules.existing,
        ),
        lambda name: name not in FORBIDDEN or FORBIDDEN[name] in rules.create,
        rules.source,
    )
    by_position = {position: each for (_, position), each in zip(order, in_order, strict=True)}
    written = [by_position[position] for position in range(len(valid))]
    changed = _add_names(valid, written, rules)
    for position, each, outcome in zip(read, valid, written, strict=True):
        outcomes[position] = _outcome(each, outcome, rules, changed)
    return [outcomes[position] for position in range(len(rows))]


# Permissions that an import may lack -> the kind of label.
FORBIDDEN: Mapping[str, LabelKind] = {"crm.add_tag": "tags", "crm.add_list": "lists"}


def _emails(rows: Sequence[ContactRow], source: str) -> dict[str, str]:
    """Return the e-mails of rows that name their contact by `user_id` alone."""
    user_ids = {_user_id(row.item) for row in rows if row.item and is_empty(row.item.get("email"))}
    return emails_of(source, user_ids - {""})


def _user_id(item: Mapping[str, Any]) -> str:
    try:
        return to_user_id(item.get("user_id"))
    except InvalidValue:
        return ""


def _read(row: ContactRow, emails: Mapping[str, str], declared: Callable[[], Fields]) -> Read:
    """Validate a row.

    Raises:
        InvalidFields: the row was not read, or a field is invalid.
    """
    if row.errors:
        raise InvalidFields(row.errors)
    item = {name: value for name, value in row.item.items() if name != "identities"}
    is_found_by_id = is_empty(item.get("email"))
    if is_found_by_id:
        if not (email := emails.get(_user_id(item))):
            raise InvalidFields({"email": NO_EMAIL})
        item["email"] = email
    draft = read_draft(item, declared)
    warnings: Warnings = []
    names = _names(row.item.get("identities"), warnings)
    return Read(row, draft, email_key(draft.fields["email"]), is_found_by_id, names, warnings)


def _rejected(row: ContactRow, errors: FieldErrors) -> Outcome:
    return Outcome(row.number, "rejected", None, errors, row.warnings)


def _names(identities: Any, warnings: Warnings) -> list[Name]:
    """Return the identities of Tallybook's own exports."""
    names = []
    for identity in identities if isinstance(identities, list) else ():
        try:
            parts = Name(*(to_text(identity[part]) for part in Name._fields))
            if parts.kind == "user":
                parts = parts._replace(source=to_user_source(parts.source))
        except (InvalidValue, ValidationError, KeyError, TypeError):
            parts = Name("", "", "")
        is_valid = len(parts.kind) <= MAX_KIND_LENGTH and max(map(len, parts)) <= MAX_NAME_LENGTH
        # Names by which a store finds contacts that were merged there mean others elsewhere.
        is_alias = parts.kind == "email" or (parts.kind == "contact" and not parts.source)
        if is_valid and parts.kind and parts.value and not is_alias:
            names.append(parts)
        else:
            message = f"The identity {identity} was not written."
            warnings.append({"field": "identities", "rule": "in", "message": message})
    return names


def _create_labels(
    valid: Sequence[Read],
    rules: ContactRules,
    locked: Mapping[str, Subscriber],
    erased: Collection[str],
) -> None:
    """Create the labels of rows that will be written, so that each row is not written alone."""
    for kind in rules.create:
        names: dict[LabelName, None] = {}
        for each in valid:
            contact = locked.get(each.key)
            is_skipped = rules.existing == "skip" and contact and not contact.made_by_track
            if not is_skipped and (contact or each.key not in erased):
                names |= dict.fromkeys(name for name in each.draft.labels.get(kind, ()) if name)
        found = find_named(kind, [*names], NAME_KINDS)
        if new := [name for name in names if name not in found and is_new_title(name)]:
            create_missing(kind, new)


def _add_names(valid: Sequence[Read], written: Sequence[Any], rules: ContactRules) -> set[int]:
    """Add the names of contacts. Returns the contacts that have changed."""
    names = [
        (outcome.id, name)
        for each, outcome in zip(valid, written, strict=True)
        if isinstance(outcome, Written) and (outcome.is_new or rules.existing != "skip")
        for name in each.names
    ]
    added = add_names(names)
    for each, outcome in zip(valid, written, strict=True):
        for name in each.names:
            if isinstance(outcome, Written) and (outcome.id, name) in added.taken:
                message = f'Another contact has the identity "{name.value}", or this one another.'
                each.warnings.append({"field": "user_id", "rule": "unique", "message": message})
    return added.changed


def _outcome(each: Read, outcome: Any, rules: ContactRules, changed: Collection[int]) -> Outcome:
    warnings = [*each.row.warnings, *each.warnings]
    number = each.row.number
    if not isinstance(outcome, Written):
        errors = errors_of(outcome)
        if errors == {"email": contacts.ERASED}:
            return Outcome(number, "held_back", None, {"email": ERASED}, warnings)
        return Outcome(number, "rejected", None, errors, warnings)
    warnings += outcome.warnings
    kind: Literal["created", "updated", "unchanged", "skipped", "held_back"]
    if outcome.is_new:
        kind = "created"
    elif any(warning["rule"] in HELD_BACK_RULES for warning in outcome.warnings):
        kind = "held_back"
    elif outcome.is_changed or outcome.id in changed:
        kind = "updated"
    else:
        kind = "skipped" if rules.existing == "skip" else "unchanged"
    return Outcome(number, kind, outcome.id, {}, warnings)
