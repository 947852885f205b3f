"""Find contacts by what programs call them, and add such names, many by one statement.

crm/contacts.py and crm/batches.py write the `user_id` of calls. docs/decisions/user-ids.md tells
what a source is.
"""

import re
from argparse import ArgumentTypeError
from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.core.exceptions import ValidationError

from config.api.validation import MAX_NAME_LENGTH
from config.database import fetch_rows

# As the hosts of sites are written. No two of them look alike.
SOURCE = re.compile(f"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{MAX_NAME_LENGTH - 1}}}")
INVALID_SOURCE = (
    "The name of a source has letters from a to z, digits, and . _ : or - behind the first one. It "
    f"has {MAX_NAME_LENGTH} characters at most."
)

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
-- A contact has one user_id of a source.
WHERE NOT (kind = 'user' AND EXISTS (
    SELECT FROM crm_identity i
    WHERE i.subscriber_id = contact AND i.kind = 'user' AND i.source = sent.source
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


def to_user_source(text: str) -> str:
    """Return the name of a source as it is stored: in lower case. Whitespace alone is "".

    Raises:
        ValidationError: a name that might be confused with another one.
    """
    name = text.strip()
    if name and not SOURCE.fullmatch(name):
        raise ValidationError(INVALID_SOURCE)
    return name.lower()


def source_argument(text: str) -> str:
    """Convert an argument of a command as `to_user_source` does."""
    try:
        return to_user_source(text)
    except ValidationError as error:
        raise ArgumentTypeError(error.message) from None


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

    A name that another contact has is not added, and neither is a second `user_id` of a source.
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
