"""Merge two contacts of one person into one, which has what both had.

Both are locked as a deletion locks them, so that events, notes and labels that arrive meanwhile
wait, and then find the survivor by the aliases.
"""

from datetime import datetime
from typing import Any

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.serializers import format_datetime
from config.api.validation import is_valid_id
from config.database import fetch_rows, in_transaction
from crm.aliases import Name
from crm.attachments import change_labels_of
from crm.contact_rows import store_changes
from crm.contacts import delete_contacts, find_by_email, find_by_id
from crm.emails import email_key
from crm.merge_plans import (
    BY_RULE,
    FIELDS,
    MERGED_VALUES,
    Choice,
    Labels,
    Merge,
    mergers,
    plan,
    taken_keys,
)
from crm.models import Subscriber
from crm.notes import move_notes
from crm.outbox import quietly

# Rows that the merge of a request moves. PostgreSQL moves them in one to two seconds.
MAX_ROWS = 100_000
# In SQL, because numbers would lose digits in Python.
MERGE_VALUES = f"""
UPDATE crm_subscriber s SET custom_values = {MERGED_VALUES}
FROM crm_subscriber o WHERE s.id = %(survivor)s AND o.id = %(other)s
RETURNING s.id
"""  # noqa: S608
# With new ids in the order of the old ones, because the first user_id is the one that is shown.
MOVE_IDENTITIES = """
UPDATE crm_identity i SET subscriber_id = %(survivor)s, id = new_id
FROM (SELECT id, nextval(pg_get_serial_sequence('crm_identity', 'id')) AS new_id
      FROM (SELECT id FROM crm_identity WHERE subscriber_id = %(other)s ORDER BY id) o) o
WHERE i.id = o.id RETURNING i.id
"""
# What was counted for the other contact counts for the survivor.
MOVE_OUTBOX = """
UPDATE crm_outboxentry SET subscriber_id = %(survivor)s WHERE subscriber_id = %(other)s
RETURNING id
"""
ADD_ALIASES = """
INSERT INTO crm_identity (subscriber_id, kind, source, value)
VALUES (%(survivor)s, 'email', '', %(email)s), (%(survivor)s, 'contact', '', %(other)s::text)
RETURNING id
"""


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
        choice: what differs from the rules of crm/merge_plans.py.
        dry_run: whether nothing is changed, and nothing locked.
        max_rows: how many rows are moved at most.

    Raises:
        ObjectNotFound: the survivor does not exist.
        InvalidFields: 422, the other contact does not exist or is the survivor, a column is
            unknown, the status is that of neither, or the merge would exceed a limit.
    """
    while True:
        survivor, found = _find_both(survivor_id, other)
        if survivor == found:
            return Merge(survivor, None, {}, {}, {})
        if dry_run:
            return plan(survivor, found, choice, other, max_rows)[0]
        rows = Subscriber.objects.filter(pk__in=(survivor.pk, found.pk)).order_by("pk")
        locked = {row.pk: row for row in rows.select_for_update()}
        # Otherwise one was merged, deleted or got another e-mail since.
        if _find_both(survivor_id, other) == (survivor, found):
            survivor, found = locked[survivor.pk], locked[found.pk]
            merge, columns, labels = plan(survivor, found, choice, other, max_rows)
            _move(merge, choice, columns, labels)
            return merge


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


def _find_both(survivor_id: int, other: Name) -> tuple[Subscriber, Subscriber]:
    """Return the contacts that a merge names. They are the same one if it was merged before.

    Raises:
        ObjectNotFound: the survivor does not exist.
        InvalidFields: 422, the other contact does not exist or is the survivor.
    """
    (kind, value), field = other, FIELDS[other[0]]
    survivor = find_by_id(survivor_id)
    found = find_by_id(int(value)) if kind == "contact" else find_by_email(value)
    if survivor is None:
        raise ObjectNotFound("Subscriber")
    if found is None:
        raise InvalidFields({field: {"exists": "The other contact does not exist."}})
    if value == (str(survivor.pk) if kind == "contact" else survivor.email_key):
        raise InvalidFields({field: {"different": "A contact cannot be merged with itself."}})
    return survivor, found


def _move(merge: Merge, choice: Choice, columns: dict[str, Any], labels: Labels) -> None:
    """Move what the other contact has to the survivor, and delete the other contact."""
    survivor, other = merge.survivor, merge.other
    assert other
    ids = {"survivor": survivor.pk, "other": other.pk}
    for move, _ in mergers:
        move(survivor.pk, other.pk)
    move_notes(survivor.pk, other.pk)
    fetch_rows(MOVE_OUTBOX, ids)
    # The person had them before, as the other contact, and they start no automation again.
    with quietly():
        change_labels_of(survivor.pk, labels, {})
    if merge.values:
        fetch_rows(MERGE_VALUES, {**ids, "keys": taken_keys(choice)})
    aliased = survivor if "email" in choice.columns else other
    fetch_rows(MOVE_IDENTITIES, ids)
    fetch_rows(ADD_ALIASES, {**ids, "email": aliased.email_key})
    # Before the survivor may get its e-mail.
    delete_contacts([other.pk])
    store_changes([(survivor, columns)])
