"""Read all contacts for an export: as lines of JSON, or as rows of a table."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import DecimalField, IntegerField

from config.database import fetch_one, fetch_rows
from config.downloads import LINE_ENDS
from crm.custom_fields import declared_fields
from crm.models import Identity, Subscriber
from events.exports import CONTACT_COLUMNS, Contact, contacts_of
from events.personal_data import notes_of
from transfers.exports.cells import Kind

CONTACTS_PER_TURN = 500
COUNT = "SELECT count(*) FROM crm_subscriber"
NEXT_IDS = "SELECT id FROM crm_subscriber WHERE id > %(after)s ORDER BY id LIMIT %(limit)s"
NOTED = "SELECT DISTINCT subscriber_id FROM crm_subscribernote WHERE subscriber_id = ANY(%(ids)s)"
# Columns of a table besides those of the contact: in another place of the line of JSON.
USER_ID, TAGS, LISTS, CUSTOM_VALUES = "user_id", "tags", "lists", "custom_values"
CUSTOM = "custom:"
USER = tuple(Identity.USER.values())
INTERNAL = ("email_key", "made_by_track", "status_change")


def count_contacts() -> int:
    """Return the number of contacts."""
    number: int = fetch_one(COUNT, {})[0]
    return number


def contact_columns() -> dict[str, Kind]:
    """Return the columns that a table of contacts may have: also one for each custom field."""
    return {
        **{name: _kind(name) for name in CONTACT_COLUMNS if name not in INTERNAL},
        **{USER_ID: "text", TAGS: "text", LISTS: "text"},
        **{f"{CUSTOM}{slug}": "text" for slug in declared_fields()},
    }


def _kind(column: str) -> Kind:
    if column == CUSTOM_VALUES:
        return "json"
    if CONTACT_COLUMNS[column]:
        return "datetime"
    field = Subscriber._meta.get_field(column)
    return "number" if isinstance(field, IntegerField | DecimalField) else "text"


def contact_lines() -> Iterator[str]:
    """Yield a line of JSON for each contact, by id: columns, labels, identities, notes."""
    for ids in _ids():
        noted = {row[0] for row in fetch_rows(NOTED, {"ids": ids})}
        for contact in contacts_of(ids):
            arrays = {
                "tags": contact.tags,
                "lists": contact.lists,
                "identities": contact.identities,
                "notes": list(notes_of(contact.id)) if contact.id in noted else [],
            }
            lists = "".join(f',"{name}":[{",".join(items)}]' for name, items in arrays.items())
            line = f'{{"type":"contact",{contact.fields[1:-1]}{lists}}}\n'
            yield line.translate(LINE_ENDS)


def contact_rows(columns: Iterable[str]) -> Iterator[list[Any]]:
    """Yield the cells of each contact, by id.

    Args:
        columns: of `contact_columns()`.
    """
    for ids in _ids():
        for contact in contacts_of(ids):
            values = _values(contact)
            yield [values.get(column) for column in columns]


def _ids() -> Iterator[list[int]]:
    after = 0
    while rows := fetch_rows(NEXT_IDS, {"after": after, "limit": CONTACTS_PER_TURN}):
        yield [row[0] for row in rows]
        after = rows[-1][0]


def _values(contact: Contact) -> dict[str, Any]:
    # Numbers stay as PostgreSQL writes them.
    values: dict[str, Any] = json.loads(contact.fields, parse_int=str, parse_float=str)
    identities = [json.loads(each) for each in contact.identities]
    user_ids = [each["value"] for each in identities if (each["kind"], each["source"]) == USER]
    values[USER_ID] = user_ids[0] if user_ids else None
    for kind, labels in ((TAGS, contact.tags), (LISTS, contact.lists)):
        values[kind] = ", ".join(json.loads(label)["title"] for label in labels)
    for slug, value in values[CUSTOM_VALUES].items():
        is_json = isinstance(value, list | dict)
        values[CUSTOM + slug] = json.dumps(value, ensure_ascii=False) if is_json else value
    return values
