"""What the contact calls share: access, and reading a contact out of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

from config.errors import NotFoundHere
from config.fields import LARGEST_ID, Reader, names, read_fields
from crm import contacts
from crm.models import Scope, Status, Subscriber
from crm.permissions import Access
from crm.serializers import (
    CONTACT_FIELDS,
    FULL_NAME,
    contact_data,
    segments_data,
    split_full_name,
)

READ = Access(Scope.READ, "crm.view_subscriber")
ADD = Access(Scope.MANAGE, "crm.add_subscriber")
CHANGE = Access(Scope.MANAGE, "crm.change_subscriber")
DELETE = Access(Scope.MANAGE, "crm.delete_subscriber")

EMAIL_TAKEN = {"unique": "Provided email already assigned to another subscriber."}
SEGMENT_FIELDS: dict[str, Reader] = {"tags": names, "lists": names}
Attached = set[contacts.SegmentType]


def contact_fields(given: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    """The contact's columns in a request. Raises InvalidFields (422).

    A status that FluentCRM does not know is passed over, as it does.
    """
    read = read_fields({**CONTACT_FIELDS, **FULL_NAME}, given, required)
    fields = split_full_name(read, read.pop("full_name", None))
    if fields.get("status") not in Status.values:
        fields.pop("status", None)
    if not fields.get("contact_type"):
        fields.pop("contact_type", None)
    return fields


def attach_named(contact: Subscriber, given: Mapping[str, Any]) -> Attached:
    """Put a contact on the `tags` and `lists` a request names. Returns which kinds it named."""
    attached: Attached = set()
    for kind in contacts.SEGMENTS:
        if named := given.get(kind):
            found = contacts.segment_ids(kind, named, create=True)
            contacts.attach(kind, [contact.id], found)
            attached.add(kind)
    return attached


def contact_or_404(contact_id: str) -> Subscriber:
    """The contact of a path. Raises NotFoundHere."""
    contact = find_contact(contact_id)
    if contact is None:
        raise NotFoundHere("Subscriber")
    return contact


def find_contact(contact_id: str) -> Subscriber | None:
    """The contact with this id in digits, with its `user_id`."""
    if int(contact_id) > LARGEST_ID:
        return None
    return Subscriber.objects.with_user().filter(id=int(contact_id)).first()


def shown(contact: Subscriber, kinds: Iterable[contacts.SegmentType] = ()) -> dict[str, Any]:
    """A contact as FluentCRM shows it, fresh from the database, with these of its segments."""
    fresh = Subscriber.objects.with_user().get(id=contact.id)
    segments = segments_data(fresh) if kinds else {}
    return {**contact_data(fresh), **{kind: segments[kind] for kind in kinds}}
