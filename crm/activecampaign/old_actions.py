"""The actions of ActiveCampaign's API, version 1, about contacts and the account.

See its pages "Example usage of contact_add", "contact_sync", "contact_edit", "contact_view",
"contact_tag_add", "user_me" and "account_view".
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rest_framework.request import Request

from config.api.serializers import format_datetime
from config.api.validation import is_empty, to_text, validate
from config.api.warnings import Warnings, with_warnings
from config.database import in_transaction
from crm.activecampaign import contacts
from crm.activecampaign.fields import (
    decode_email,
    read_old_contact,
    read_old_lists,
    to_object_id,
    to_tag_names,
)
from crm.activecampaign.serializers import FIELD_TYPES, list_status, to_wire
from crm.api.rights import ADD, CHANGE, READ
from crm.attachments import change_labels_of
from crm.contacts import find_by_email, find_by_id, get_for_update
from crm.custom_fields import declared_fields, values_of
from crm.labels import resolve_labels
from crm.models import FieldType, Status, Subscriber
from crm.permissions import Access, user_of

Params = Mapping[str, Any]
Result = dict[str, Any]


class OldError(Exception):
    """The message of a response with result_code 0."""


class OldAction(NamedTuple):
    """An action: what it needs, the function that does it, and whether it changes something."""

    access: Access
    run: Callable[[Request, Params], Result]
    is_write: bool = False


def contact_add(request: Request, params: Params) -> Result:
    """Create a contact."""
    warnings: Warnings = []
    fields = read_old_contact(params, warnings)
    written = contacts.create(fields, warnings, request.user.has_perm, read_labels(params))
    return written_result(written)


def contact_sync(request: Request, params: Params) -> Result:
    """Create the contact of an e-mail, or update it. Empty fields change nothing."""
    warnings: Warnings = []
    fields = read_old_contact(params, warnings)
    has_perm = request.user.has_perm
    written = contacts.create_or_update(fields, warnings, has_perm, read_labels(params))
    return written_result(written)


def contact_edit(request: Request, params: Params) -> Result:
    """Change the fields of a contact that are sent, and put the contact on lists.

    With or without `overwrite`, nothing else of the contact changes.
    """
    warnings: Warnings = []
    contact_id = validate({"id": to_object_id}, params, ("id",))["id"]
    fields = read_old_contact(params, warnings, is_new=False)
    has_perm = request.user.has_perm
    labels = read_labels(params)
    return written_result(contacts.update(contact_id, fields, warnings, has_perm, labels))


def read_labels(params: Params) -> contacts.Labels:
    """Return the lists of `p` and `status`, and the tags of `tags`."""
    tags = validate({"tags": to_tag_names}, params).get("tags", [])
    return contacts.Labels(read_old_lists(params), tags)


def written_result(written: contacts.Written) -> Result:
    """Return the result of a write of a contact. Clients read `subscriber_id`."""
    body = {"subscriber_id": written.contact.pk, "sendlast_should": 0, "sendlast_did": 0}
    message = "Contact added" if written.is_new else "Contact updated"
    return {**with_warnings(body, written.warnings), "result_message": message}


def contact_view(request: Request, params: Params) -> Result:
    """Return the contact with an id."""
    contact_id = validate({"id": to_object_id}, params, ("id",))["id"]
    return shown_contact(find_by_id(contact_id))


def contact_view_email(request: Request, params: Params) -> Result:
    """Return the contact with an e-mail."""
    email = validate({"email": to_text}, {"email": decode_email(params.get("email"))})["email"]
    return shown_contact(find_by_email(email))


def shown_contact(contact: Subscriber | None) -> Result:
    """Return a contact with its lists, tags and values of custom fields.

    Raises:
        OldError: there is none.
    """
    if contact is None:
        raise OldError("Failed: Nothing is returned")
    status = list_status(contact)
    cdate = format_datetime(contact.created_at)
    name = {"first_name": contact.first_name or "", "last_name": contact.last_name or ""}
    lists = {
        str(each["id"]): {
            "id": str(each["id"]),
            "subscriberid": str(contact.pk),
            "listid": str(each["id"]),
            "listname": each["title"],
            "status": status,
            **{"formid": "0", "sdate": None, "udate": None, **name},
        }
        for each in contact.lists.order_by("id").values("id", "title")
    }
    fields = declared_fields()
    values = values_of(contact.pk, fields)
    shown_fields = {
        str(field.pk): {
            "id": str(field.pk),
            "title": field.label,
            "type": FIELD_TYPES[FieldType(field.type)],
            "perstag": slug.upper(),
            "val": to_wire(field, values[slug]) if slug in values else "",
        }
        for slug, field in fields.items()
    }
    return {
        "id": str(contact.pk),
        "subscriberid": str(contact.pk),
        "email": contact.email,
        "cdate": cdate,
        **name,
        "name": contact.full_name,
        "phone": contact.phone or "",
        "ip": contact.ip or "",
        "hash": contact.hash,
        "orgid": "0",
        "orgname": "",
        "bounced_hard": "1" if contact.status == Status.BOUNCED else "0",
        "bounced_soft": "0",
        "listid": next(iter(lists), "0"),
        "status": status,
        # As PHP encodes an empty array.
        "lists": lists or [],
        "listslist": "-".join(lists),
        "fields": shown_fields or [],
        "tags": [*contact.tags.order_by("id").values_list("title", flat=True)],
    }


def contact_tag_add(request: Request, params: Params) -> Result:
    """Attach tags to the contact of an id or an e-mail. Titles that do not exist create tags."""
    tags = required_tags(params)

    @in_transaction
    def add() -> None:
        contacts.add_tags(named_contact(params), tags, request.user.has_perm)

    add()
    return {"result_message": "Contact tag added"}


def contact_tag_remove(request: Request, params: Params) -> Result:
    """Detach tags from the contact of an id or an e-mail. Unknown tags are ignored."""
    tags = required_tags(params)

    @in_transaction
    def remove() -> None:
        contact = named_contact(params)
        ids = resolve_labels("tags", tags, create=False).ids
        change_labels_of(contact.pk, {}, {"tags": ids})

    remove()
    return {"result_message": "Contact tag deleted"}


def required_tags(params: Params) -> Any:
    """Return the titles of the parameter `tags`.

    Raises:
        InvalidFields: 422, there is none.
    """
    return validate({"tags": to_tag_names}, params, ("tags",))["tags"]


def named_contact(params: Params) -> Subscriber:
    """Return the contact that `id` or `email` names, locked until the transaction ends.

    Raises:
        OldError: there is none.
    """
    if is_empty(params.get("id")):
        email = decode_email(params.get("email"))
        text = validate({"email": to_text}, {"email": email}, ("email",))["email"]
        contact = get_for_update(email=text)
    else:
        contact = get_for_update(contact_id=validate({"id": to_object_id}, params)["id"])
    if contact is None:
        raise OldError("Contact does not exist.")
    return contact


def account_view(request: Request, params: Params) -> Result:
    """Return the host as the account."""
    return {
        "account": request.get_host(),
        "email": user_of(request).email,
        **dict.fromkeys(("fname", "lname", "cname", "subscriber_limit"), ""),
        "status": "none",
    }


ACTIONS = {
    "account_view": OldAction(Access(None), account_view),
    "contact_add": OldAction(ADD, contact_add, is_write=True),
    "contact_sync": OldAction(ADD, contact_sync, is_write=True),
    "contact_edit": OldAction(CHANGE, contact_edit, is_write=True),
    "contact_view": OldAction(READ, contact_view),
    "contact_view_email": OldAction(READ, contact_view_email),
    "contact_tag_add": OldAction(CHANGE, contact_tag_add, is_write=True),
    "contact_tag_remove": OldAction(CHANGE, contact_tag_remove, is_write=True),
}
