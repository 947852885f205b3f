"""Find contacts by what programs call them, and add such names, many by one statement.

crm/contacts.py and crm/batches.py write the `user_id` of calls, which has the source "".
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from config.database import fetch_rows

FIND_NAMED = """
SELECT i.value, s.id, s.email FROM crm_identity i JOIN crm_subscriber s ON s.id = i.subscriber_id
WHERE i.kind = %(kind)s AND i.source = %(source)s AND i.value = ANY(%(values)s::text[])
"""
# In the order of the names, because two batches in opposite orders would deadlock.
ADD = """
INSERT INTO crm_identity (subscriber_id, kind, source, value)
SELECT contact, kind, source, value
FROM unnest(%(contacts)s::bigint[], %(kinds)s::text[], %(sources)s::text[], %(values)s::text[])
     sent(contact, kind, source, value)
-- The user_id of a contact is one.
WHERE NOT (kind = 'user' AND source = '' AND EXISTS (
    SELECT FROM crm_identity i
    WHERE i.subscriber_id = contact AND i.kind = 'user' AND i.source = ''
)) ORDER BY kind, source, value ON CONFLICT DO NOTHING RETURNING subscriber_id
"""
FIND_CONTACTS = """
SELECT kind, source, value, subscriber_id FROM crm_identity
WHERE (kind, source, value) IN (
    SELECT * FROM unnest(%(kinds)s::text[], %(sources)s::text[], %(values)s::text[])
)
"""


class Name(NamedTuple):
    """What a program calls a contact, as the model Identity has it."""

    kind: str
    source: str
    value: str


class Added(NamedTuple):
    """The contacts that got a name, and the names that contacts did not get."""

    changed: set[int]
    taken: set[tuple[int, Name]]


def emails_of(source: str, user_ids: Collection[str]) -> dict[str, str]:
    """Return the e-mails of the contacts that have these ids in a source."""
    found = find_named_contacts("user", source, user_ids) if user_ids else {}
    return {value: email for value, (_, email) in found.items()}


def find_named_contacts(
    kind: str, source: str, values: Collection[str]
) -> dict[str, tuple[int, str]]:
    """Return ids and e-mails of the contacts that have these names, by the name's value."""
    rows = fetch_rows(FIND_NAMED, {"kind": kind, "source": source, "values": [*values]})
    return {value: (contact_id, email) for value, contact_id, email in rows}


def add_names(names: Sequence[tuple[int, Name]]) -> Added:
    """Add names to locked contacts, by their ids, in the caller's transaction.

    A name that another contact has is not added, and neither is a second `user_id`.
    """
    if not names:
        return Added(set(), set())
    columns = {
        "contacts": [contact_id for contact_id, _ in names],
        "kinds": [name.kind for _, name in names],
        "sources": [name.source for _, name in names],
        "values": [name.value for _, name in names],
    }
    changed = {contact_id for (contact_id,) in fetch_rows(ADD, columns)}
    owners = {Name(*name): owner for *name, owner in fetch_rows(FIND_CONTACTS, columns)}
    taken = {(contact_id, name) for contact_id, name in names if owners.get(name) != contact_id}
    return Added(changed, taken)
