"""Write contacts. The rules of writing stand here, not in views or save()."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction

from config.api.errors import InvalidFields
from config.api.validation import is_valid_id
from config.api.warnings import FieldWarning, Warnings
from config.database import fetch_one, fetch_rows, in_transaction
from crm.aliases import Name, exchange_email, find_holder
from crm.contact_rows import (
    COLUMNS,
    ONE,
    SEVERAL,
    insert_new_contacts,
    merge_custom_values,
    store_changes,
    write_user_ids,
)
from crm.emails import email_hashes, email_key
from crm.models import (
    OPT_INS,
    OPT_OUTS,
    USER_ID_OF_CONTACT,
    Erasure,
    Status,
    Subscriber,
)

# What is written to a contact that exists: an opt-out alone, besides what the contact has no value
# of, or all fields.
Existing = Literal["skip", "fill", "overwrite"]

# What becomes of a contact whose e-mail was erased. `pending`: a new one is pending, unless it opts
# out, and one that exists keeps its status. `reject`: a new one is rejected. `restore`: all is
# written.
Erased = Literal["pending", "reject", "restore"]

# Numbers of rows by what they are called, such as {"contacts": 1, "events": 3}.
Counts = dict[str, int]
Counting = Callable[[Sequence[int]], Counts]
# Functions that delete what belongs to contacts, each with one that counts it.
_related_counters: list[tuple[Counting, Counting]] = []

USER_ID_TAKEN = {"unique": "Provided user_id already assigned to another subscriber."}
ERASED = {"erased": 'The contact of this email was erased. Only "restore_erased" stores it again.'}

# In the order of the model's fields, as Model.from_db takes them.
LOCKED_COLUMNS = ("id", *COLUMNS, "updated_at")
# In the order of their ids, as every statement locks contacts. FOR NO KEY UPDATE, so that tracking
# goes on meanwhile.
LOCK = f"""
SELECT id, {", ".join(COLUMNS)}, updated_at, {USER_ID_OF_CONTACT}
FROM crm_subscriber s WHERE {{}} ORDER BY id FOR NO KEY UPDATE OF s
"""  # noqa: S608
# Two arrays, because an OR with a subquery would read all contacts.
BY_KEYS = """
id = ANY(ARRAY(
    SELECT id FROM crm_subscriber WHERE email_key = ANY(%(keys)s::text[])
    UNION ALL
    SELECT subscriber_id FROM crm_identity
    WHERE kind = 'email' AND source = '' AND value = ANY(%(keys)s::text[])
))
"""
SET_UPDATED_AT = """
UPDATE crm_subscriber s SET updated_at = sent.moment
FROM unnest(%(contacts)s::bigint[], %(moments)s::timestamptz[]) sent(contact, moment)
WHERE s.id = sent.contact RETURNING s.id
"""


class EmailTaken(Exception):
    """Another contact has this e-mail, or has it as an alias."""


def create(
    fields: Mapping[str, Any], warnings: Warnings | None = None, user_source: str = ""
) -> Subscriber:
    """Create a contact; empty fields keep the column's default.

    A contact that an event made, and that no program has written since, becomes this one. The
    caller has a transaction open.

    Args:
        fields: the columns, and `user_id`, the id that the calling program gave the contact. An
            unknown status is pending. So is the contact of an e-mail whose contact was erased,
            unless the status is an opt-out.
        warnings: collects what is not stored as sent.
        user_source: the source of the user_id.

    Raises:
        EmailTaken: another contact has the e-mail.
        InvalidFields: 422, another contact has the user_id, or the custom values are too large.
    """
    warnings = [] if warnings is None else warnings
    try:
        return _insert(fields, "pending", warnings, user_source)
    except EmailTaken:
        contact = get_for_update(email=fields["email"], user_source=user_source)
        if contact is None or not contact.made_by_track:
            raise
    _write(contact, fields, warnings)
    return contact


def _insert(
    fields: Mapping[str, Any], erased: Erased, warnings: Warnings, user_source: str
) -> Subscriber:
    """Create a contact, as `create` and `create_or_update` describe it.

    Raises:
        EmailTaken: another contact has the e-mail. There are no warnings then.
        InvalidFields: 422, another contact has the user_id, or the contact stays erased.
    """
    found: Warnings = []
    columns = new_columns(fields, found)
    user_id = columns.pop("user_id", None)
    custom_values = columns.pop("custom_values", {})
    contact = Subscriber(**columns, email_key=email_key(columns["email"]))
    inserted = insert_new_contacts([contact])
    if inserted.existing:
        raise EmailTaken
    if inserted.erased and erased == "reject":
        raise InvalidFields({"email": ERASED})
    if inserted.erased and erased == "pending" and contact.status not in OPT_OUTS:
        store_changes([(contact, {"status": Status.PENDING})])
        found.append(_erasure_warning("is pending"))
    contact.user_source = user_source
    if user_id:
        set_user_id(contact, user_id)
    set_custom_values(contact, custom_values)
    warnings += found
    return contact


def new_columns(fields: Mapping[str, Any], warnings: Warnings) -> dict[str, Any]:
    """Return the columns of a new contact, and its `user_id` and `custom_values`."""
    columns = non_empty(fields)
    columns["status"] = _read_status(columns.get("status", Status.SUBSCRIBED), None, warnings)
    return columns


def _read_status(status: str, contact: Subscriber | None, warnings: Warnings) -> Status:
    """Return the status that a text names. For an unknown one, the contact's own, or pending."""
    try:
        return Status(status)
    except ValueError:
        kept = Status(contact.status) if contact else Status.PENDING
        outcome = f"stays {kept}" if contact else f"is {kept}"
        message = f'The status "{status}" is unknown, so the contact {outcome}.'
        warnings.append({"field": "status", "rule": "in", "message": message})
        return kept


def _status_after_erasure(email: str, status: Status, warnings: Warnings) -> Status:
    """Return the status of a contact that gets an e-mail: pending if its contact was erased."""
    if status in OPT_OUTS or not Erasure.erased_keys([email]):
        return status
    warnings.append(_erasure_warning("is pending"))
    return Status.PENDING


def _erasure_warning(outcome: str) -> FieldWarning:
    message = f"The contact of this email was erased, so the contact {outcome}."
    return {"field": "email", "rule": "erased", "message": message}


@in_transaction
def create_for_events(emails: Iterable[str], status: str) -> bool:
    """Create contacts for events of unknown e-mails, unless they were erased.

    Args:
        emails: the e-mails. A contact that exists stays as it is.
        status: the status of the new contacts.

    Returns:
        Whether an event of one of the e-mails is worth another try.
    """
    by_key = {email_key(email): email for email in emails}
    for key in Erasure.erased_keys(by_key.values()):
        del by_key[key]
    rows = [
        Subscriber(email=email, email_key=key, status=status, made_by_track=True)
        for key, email in by_key.items()
    ]
    if rows and (erased := insert_new_contacts(rows).erased):
        # They were erased between the look and the insert.
        delete_contacts(row.pk for row in rows if row.email_key in erased)
        rows = [row for row in rows if row.email_key not in erased]
    return bool(rows)


def create_or_update(
    fields: Mapping[str, Any],
    *,
    force_status: bool = False,
    keep_opt_outs: bool = False,
    erased: Erased = "pending",
    existing: Existing = "overwrite",
    warnings: Warnings | None = None,
    user_source: str = "",
) -> tuple[Subscriber, bool]:
    """Create the contact of `fields["email"]`, or update the one that exists.

    Concurrent calls create one contact. The caller has a transaction open, and the contact stays
    locked until its end. See FluentCRM's app/Api/Classes/Contacts.php, createOrUpdate.

    Args:
        fields: the columns. Empty fields change nothing, as in FluentCRM.
        force_status: whether any status is written. Otherwise a subscribed contact stays
            subscribed, unless the status is an opt-out.
        keep_opt_outs: whether a contact that opted out stays so, as calls about several contacts
            keep them. Another opt-out is written.
        erased: what becomes of a contact whose e-mail was erased.
        existing: what is written to a contact that exists. One that an event made is new.
        warnings: collects what is not written as sent.
        user_source: the source of the user_id.

    Returns:
        The contact, and whether it is new, as one that an event made is.

    Raises:
        InvalidFields: 422, another contact has the user_id, the contact stays erased, or the custom
            values are too large.
    """
    warnings = [] if warnings is None else warnings
    while (contact := get_for_update(email=fields["email"], user_source=user_source)) is None:
        # A concurrent call may create it first. Then it is found, or already deleted again.
        with suppress(EmailTaken):
            return _insert(fields, erased, warnings, user_source), True
    is_new = contact.made_by_track
    # The look comes after the lock, so that the contact is not erased in between.
    keys = () if erased == "restore" else None
    rules = {"force_status": force_status, "keep_opt_outs": keep_opt_outs, "erased": keys}
    _write(contact, fields, warnings, **rules, existing=existing)
    return contact, is_new


def _write(
    contact: Subscriber, fields: Mapping[str, Any], warnings: Warnings, **rules: Any
) -> None:
    """Update a contact that was found by its e-mail, as `create_or_update` describes it."""
    columns = written_columns(contact, fields, warnings, **rules)
    custom_values = columns.pop("custom_values", {})
    is_filled = rules.get("existing") == "fill" and not contact.made_by_track
    update(contact, columns)
    set_custom_values(contact, custom_values, is_filled)


def written_columns(
    contact: Subscriber,
    fields: Mapping[str, Any],
    warnings: Warnings,
    *,
    force_status: bool = False,
    keep_opt_outs: bool = False,
    erased: Collection[str] | None = None,
    existing: Existing = "overwrite",
) -> dict[str, Any]:
    """Return those of the fields that are written to a contact that was found by its e-mail.

    Custom values are returned also where the contact may have them.

    Args:
        contact: the contact, which is locked.
        fields: as of `create_or_update`, and so are the others.
        warnings: collects what is not written as sent.
        force_status: whether any status is written.
        keep_opt_outs: whether a contact that opted out stays so.
        erased: the keys of those e-mails whose contact was erased and stays so, which were read
            since the contact is locked. None reads them.
        existing: what is written.
    """
    columns = non_empty(fields)
    if existing != "overwrite" and not contact.made_by_track:
        columns = _kept_empty(contact, columns, existing)
    if email_key(fields["email"]) != contact.email_key:
        # It is an alias, by which the contact was found.
        columns.pop("email", None)
    if "status" in columns:
        status = _read_status(columns.pop("status"), contact, warnings)
        if status in OPT_OUTS or status == contact.status:
            columns["status"] = status
        else:
            message = f'The contact stays {contact.status}, "{status}" was not written.'
            if keep_opt_outs and contact.status in OPT_OUTS:
                warnings.append({"field": "status", "rule": "keep_opt_outs", "message": message})
            elif not force_status and contact.status == Status.SUBSCRIBED:
                warnings.append({"field": "status", "rule": "force_update", "message": message})
            elif stays_erased(contact, erased, fields["email"]):
                warnings.append(_erasure_warning(f"stays {contact.status}"))
            else:
                columns["status"] = status
    return columns


def _kept_empty(
    contact: Subscriber, columns: Mapping[str, Any], existing: Existing
) -> dict[str, Any]:
    """Return the opt-out among columns, and of `fill` those that the contact has no value of."""
    written: dict[str, Any] = {}
    if "status" in columns:
        with suppress(ValueError):
            if (status := Status(columns["status"])) in OPT_OUTS:
                written["status"] = status
    if existing == "fill":
        written |= {
            name: value
            for name, value in columns.items()
            if name == "custom_values" or not getattr(contact, name)
        }
    return written


def changed_columns(contact: Subscriber, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a write of these changes, also those that belong to others."""
    written = {**columns, "made_by_track": False}
    if "status" in columns:
        # Also an equal one: a change before cannot be undone, because this may be an opt-out.
        written["status_change"] = None
    changes = {name: value for name, value in written.items() if getattr(contact, name) != value}
    if "email" in changes:
        changes["email_key"] = email_key(changes["email"])
    return changes


def stays_erased(contact: Subscriber, erased: Collection[str] | None, email: str) -> bool:
    """Return whether a contact was not restored since its e-mail got a receipt.

    Args:
        contact: the contact.
        erased: as of `written_columns`.
        email: the e-mail by which the contact was found, which may be an alias.
    """
    if contact.status in OPT_INS:
        return False
    erased = Erasure.erased_keys([email]) if erased is None else erased
    return email_key(email) in erased


def non_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null, empty or 0."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, {})}


def update(
    contact: Subscriber, fields: Mapping[str, Any], warnings: Warnings | None = None
) -> bool:
    """Update a contact from `get_for_update`, which named the source of its user_id.

    Returns whether anything changed.

    Args:
        contact: the contact. With the e-mail of an erased contact it becomes pending, unless it
            has opted out. With an alias as its e-mail, the e-mail before becomes the alias.
        fields: the columns, and `user_id`. An unknown status changes nothing.
        warnings: collects what is not written as sent.

    Raises:
        EmailTaken: another contact has the e-mail, or has it as an alias.
        InvalidFields: 422, another contact has the user_id.
    """
    warnings = [] if warnings is None else warnings
    columns = dict(fields)
    if "status" in columns:
        columns["status"] = _read_status(columns["status"], contact, warnings)
    if "email" in columns and email_key(columns["email"]) != contact.email_key:
        status = Status(columns.get("status", contact.status))
        columns["status"] = _status_after_erasure(columns["email"], status, warnings)
    changed = "user_id" in columns and set_user_id(contact, columns.pop("user_id"))
    changes = changed_columns(contact, columns)
    if not changes:
        return changed
    if "email_key" not in changes:
        store_changes([(contact, changes)])
        return True
    before = contact.email_key
    try:
        # A savepoint, because the e-mail may be given to another contact at the same time.
        with transaction.atomic():
            is_stored = store_changes([(contact, changes)])
            if not is_stored or not exchange_email(contact.pk, contact.email_key, before):
                raise EmailTaken
    except IntegrityError as error:
        raise EmailTaken from error
    # The contact that had the e-mail may have been erased since the look before.
    receipts = Erasure.objects.filter(email_sha256__in=email_hashes(contact.email))
    if contact.status in OPT_INS and receipts.exists():
        store_changes([(contact, {"status": Status.PENDING})])
        warnings.append(_erasure_warning("is pending"))
    return True


def set_user_id(contact: Subscriber, user_id: str | None) -> bool:
    """Set or remove the id that a program gave a contact, in the source of `contact.user_source`.

    Returns whether it changed. Of a contact that others were merged into, it is the shown one. The
    others stay, and so do those of other sources.

    Raises:
        InvalidFields: 422, another contact has it.
    """
    if contact.user_id == user_id:
        return False
    with transaction.atomic():
        if not write_user_ids({contact.pk: user_id or None}, contact.user_source):
            raise InvalidFields({"user_id": USER_ID_TAKEN})
    contact.user_id = user_id
    return True


def set_custom_values(
    contact: Subscriber, values: Mapping[str, Any], is_filled: bool = False
) -> None:
    """Merge values into the custom values of a locked contact; "" removes one, as in FluentCRM.

    PostgreSQL merges them, so that a worker does not read them. The caller has a transaction open.

    Args:
        contact: the contact.
        values: the values by key.
        is_filled: whether the contact keeps the values that it has.

    Raises:
        InvalidFields: 422, they become larger than before and have over 64 KB as PostgreSQL writes
            them, or over 300 keys in an object. Larger ones from before the limit may shrink.
    """
    filled = (contact.pk,) if is_filled else ()
    for merged in merge_custom_values({contact.pk: values}, filled) if values else ():
        if merged.error:
            raise InvalidFields({"custom_values": merged.error})
        contact.updated_at = merged.updated_at


def find_by_email(email: str) -> Subscriber | None:
    """Return the contact with this e-mail or alias, by its key."""
    key = email_key(email)
    contact = Subscriber.objects.filter(email_key=key).first()
    return contact or _holder(("email", key))


def find_by_id(contact_id: int) -> Subscriber | None:
    """Return the contact with this id, or the one that it was merged into."""
    contact = Subscriber.objects.filter(pk=contact_id).first()
    return contact or _holder(("contact", str(contact_id)))


def _holder(name: Name) -> Subscriber | None:
    holder = find_holder(name)
    return Subscriber.objects.filter(pk=holder).first() if holder else None


def find_contact(text: str) -> Subscriber | None:
    """Return the contact with this id, or with this e-mail without regard to case."""
    return find_by_id(int(text)) if is_valid_id(text) else find_by_email(text)


def get_for_update(
    *, contact_id: int | None = None, email: str = "", user_source: str = ""
) -> Subscriber | None:
    """Return the contact with this id or e-mail, locked until the transaction ends.

    Both may be those of a contact that was merged into it. Its user_id is that of a source.
    """
    name: Name
    if contact_id is None:
        name = ("email", email_key(email))
        locked = _lock("email_key = %(key)s", {"key": name[1]}, user_source)
    else:
        name = ("contact", str(contact_id))
        locked = _lock(ONE, {"id": contact_id}, user_source)
    # It repeats only if the contact is merged into another one just then.
    while not locked and (holder := find_holder(name)):
        locked = _lock(ONE, {"id": holder}, user_source)
    return locked[0] if locked else None


def lock_of_keys(keys: Sequence[str], user_source: str = "") -> dict[str, Subscriber]:
    """Return the contacts whose e-mails have these keys, locked as by `get_for_update`.

    Those that have them as aliases are locked and returned by their own keys, so that none of them
    is erased before the caller has read which e-mails were.
    """
    locked = _lock(BY_KEYS, {"keys": list(keys)}, user_source)
    return {contact.email_key: contact for contact in locked}


def lock_of_ids(ids: Sequence[int]) -> dict[int, Subscriber]:
    """Return the contacts with these ids, locked as by `get_for_update`."""
    return {contact.pk: contact for contact in _lock(SEVERAL, {"ids": list(ids)})}


def set_updated_at(moments: Mapping[int, datetime]) -> None:
    """Write when locked contacts were changed, because another store has changed them.

    The next import compares these times, and so sees which contacts were changed here since.
    """
    columns = {"contacts": [*moments], "moments": [*moments.values()]}
    fetch_rows(SET_UPDATED_AT, columns)


def _lock(condition: str, parameters: Mapping[str, Any], user_source: str = "") -> list[Subscriber]:
    locked = []
    parameters = {**parameters, "user_source": user_source}
    for *values, user_id in fetch_rows(LOCK.format(condition), parameters):
        contact = Subscriber.from_db("default", LOCKED_COLUMNS, values)
        contact.user_id, contact.user_source = user_id, user_source
        locked.append(contact)
    return locked


def find_key_collisions() -> list[tuple[Subscriber, Subscriber]]:
    """Return the contacts whose e-mail has the key of another one, each with that one."""
    # An e-mail in ASCII has itself in lower case as its key, which was unique before.
    candidates = Subscriber.objects.filter(email__regex=r"[^\x01-\x7f]").order_by("id")
    collisions = []
    for contact in candidates.iterator():
        key = email_key(contact.email)
        if contact.email_key != key and (other := Subscriber.objects.filter(email_key=key).first()):
            collisions.append((contact, other))
    return collisions


def register_deleter(delete: Counting, count: Counting) -> None:
    """Register what deletes the rows of another app with their contacts.

    Args:
        delete: is called by delete_contacts with the ids of the locked contacts, before they are
            deleted. It returns the numbers of deleted rows.
        count: returns the numbers of rows that `delete` would delete.
    """
    _related_counters.append((delete, count))


COUNT_CONTACTS = """
SELECT (SELECT count(*) FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])),
       (SELECT count(*) FROM crm_subscriber_tags
        WHERE subscriber_id = ANY(%(contacts)s::bigint[])),
       (SELECT count(*) FROM crm_subscriber_lists
        WHERE subscriber_id = ANY(%(contacts)s::bigint[]))
"""


def count_contacts(contact_ids: Sequence[int]) -> Counts:
    """Return the numbers that delete_contacts would return now."""
    row = fetch_one(COUNT_CONTACTS, {"contacts": list(contact_ids)})
    counts: Counts = dict(zip(("contacts", "tags", "lists"), row, strict=True))
    for _, count in _related_counters:
        counts |= count(contact_ids)
    return counts


@in_transaction
def delete_contacts(contact_ids: Iterable[int]) -> Counts:
    """Delete contacts and all their rows, in one transaction.

    The contacts are locked first, in id order. Tracking takes a key share lock on its contact, so
    it waits and then finds no contact. Nothing is orphaned.

    Returns:
        The numbers of deleted rows: "contacts", "tags" and "lists" (attachments), and those of the
        registered deleters.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM crm_subscriber WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
            [list(contact_ids)],
        )
        ids = [row[0] for row in cursor.fetchall()]
        counts: Counts = {"contacts": 0, "tags": 0, "lists": 0}
        for delete, _ in _related_counters:
            counts |= delete(ids)
        for table in ("crm_identity", "crm_outboxentry"):
            cursor.execute(
                f"DELETE FROM {table} WHERE subscriber_id = ANY(%s::bigint[])",  # noqa: S608
                [ids],
            )
        for name in ("tags", "lists"):
            cursor.execute(
                f"DELETE FROM crm_subscriber_{name} "  # noqa: S608
                "WHERE subscriber_id = ANY(%s::bigint[])",
                [ids],
            )
            counts[name] = cursor.rowcount
        cursor.execute("DELETE FROM crm_subscriber WHERE id = ANY(%s::bigint[])", [ids])
        counts["contacts"] = cursor.rowcount
    return counts
