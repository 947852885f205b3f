"""Read what placeholders name: a contact and an occurrence, as the API shows them."""

from typing import Any

import orjson

from config.api.errors import ObjectNotFound
from config.database import fetch_row
from crm.api.serializers import serialize_contacts
from crm.selectors import custom_values_of, read_contacts
from events.api.serializers import OccurrenceSerializer
from events.history import OCCURRENCES

OCCURRENCE = f"{OCCURRENCES} WHERE o.id = %(occurrence)s AND o.subscriber_id = %(contact)s"
PROPERTY = """
SELECT properties #> %(path)s FROM events_eventoccurrence
WHERE id = %(occurrence)s AND subscriber_id = %(contact)s
"""


def contact_values(contact_id: int) -> dict[str, Any]:
    """Return a contact as the API shows it, with its custom values.

    Raises:
        ObjectNotFound: the contact was deleted.
        PageTooLarge: 422, the custom values have more than 8 MB.
    """
    found = serialize_contacts(read_contacts([contact_id]))
    if not found:
        raise ObjectNotFound("Subscriber")
    values = custom_values_of([contact_id]).get(contact_id, "{}")
    return {**found[0], "custom_values": orjson.loads(values)}


def event_values(contact_id: int, occurrence_id: int | None) -> dict[str, Any] | None:
    """Return an occurrence as the API shows it, or None if it was pruned or taken back."""
    if occurrence_id is None:
        return None
    row = fetch_row(OCCURRENCE, {"occurrence": occurrence_id, "contact": contact_id})
    if row is None:
        return None
    values = OccurrenceSerializer.of_values(row)
    texts = dict(zip(("properties", "context"), row[6:8], strict=True))
    return {**values, **{name: orjson.loads(text) for name, text in texts.items()}}


def property_of(contact_id: int, occurrence_id: int | None, path: str) -> Any:
    """Return the property of an occurrence at a path such as `order.id`, or None."""
    if occurrence_id is None:
        return None
    parameters = {"path": path.split("."), "occurrence": occurrence_id, "contact": contact_id}
    row = fetch_row(PROPERTY, parameters)
    return row[0] if row else None
