"""FluentCRM's endpoints that change several contacts."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from config.api.errors import InvalidFields, Unprocessable
from config.api.json_fields import json_text_or, to_shallow_list
from config.api.parsers import Params
from config.api.validation import (
    Validator,
    multi_line,
    single_line,
    to_bool,
    to_ids,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.database import in_transaction
from crm import contacts
from crm.api import schema
from crm.api.fields import LABEL_FIELDS, contact_fields, max_length, to_label_names
from crm.api.serializers import ContactReferenceSerializer, SubscriberSerializer
from crm.api.views.contacts import ADD, CHANGE, DELETE, attach_labels
from crm.labels import LABEL_MODELS, LabelKind, attach, detach, find_labels
from crm.models import ContactType, Status, Subscriber
from crm.permissions import Access

PROPERTY_FIELDS: dict[str, Validator] = {
    "property": single_line(64),
    "value": multi_line,
    "subscribers": to_ids,
}
SYNC_FIELDS: dict[str, Validator] = {
    "type": single_line(16),
    "attach": to_label_names,
    "detach": to_label_names,
    "find_by": single_line(16),
    "subscribers": to_ids,
}
BATCH_FIELDS: dict[str, Validator] = {
    "contacts": json_text_or(to_shallow_list),
    "force_update": to_bool,
}
ACTION_FIELDS: dict[str, Validator] = {
    "action_name": single_line(64),
    "subscriber_ids": to_ids,
    "action_options": to_ids,
    "new_status": single_line(50),
}
# Action -> the kind of label, and whether labels are attached or detached.
LABEL_ACTIONS: dict[str, tuple[LabelKind, bool]] = {
    "add_to_tags": ("tags", True),
    "add_to_lists": ("lists", True),
    "remove_from_tags": ("tags", False),
    "remove_from_lists": ("lists", False),
}
# Action -> the column, the error without a value, the message.
COLUMN_ACTIONS: dict[str, tuple[contacts.BulkColumn, str, str]] = {
    "change_contact_status": (
        "status",
        "Please select status",
        "Status has been changed for the selected subscribers",
    ),
    "change_contact_type": (
        "contact_type",
        "Please select new type",
        "Contact Type has been updated for the selected subscribers",
    ),
}
IS_VALID: dict[contacts.BulkColumn, Callable[[str], bool]] = {
    "status": Status.values.__contains__,
    "contact_type": ContactType.values.__contains__,
    "avatar": lambda value: (
        len(value) <= max_length("avatar") and value.startswith(("http://", "https://", "/"))
    ),
}


class BulkViewSet(ApiViewSet):
    """The endpoints below `/subscribers` that change several contacts."""

    access: ClassVar[dict[str, Access]] = {
        "update_property": CHANGE,
        "sync_segments": CHANGE,
        "bulk_add_update": ADD,
        "do_bulk_action": CHANGE,
    }
    pagination_class = None

    @schema.UPDATE_PROPERTY
    @action(detail=False, methods=["put"], url_path="subscribers-property")
    def update_property(self, request: Request) -> Response:
        """Set status, contact type or avatar of several contacts."""
        # FluentCRM names these two fields otherwise in its errors.
        names = {
            "column": self.params.get("property"),
            "subscriber_ids": self.params.get("subscribers"),
        }
        validate({}, names, required=names)
        params = validate(PROPERTY_FIELDS, self.params)
        column = params["property"]
        if column not in IS_VALID:
            raise Unprocessable("Column is not valid")
        set_column(column, params.get("value", ""), params["subscribers"])
        return Response({"message": "Subscribers successfully updated"})

    @schema.SYNC_LABELS
    @action(detail=False, methods=["post"], url_path="sync-segments")
    def sync_segments(self, request: Request) -> Response:
        """Attach and detach tags or lists, by slug unless `find_by` says title or id."""
        params = validate(SYNC_FIELDS, self.params, required=("type", "subscribers"))
        if params["type"] not in LABEL_MODELS:
            raise InvalidFields({"type": {"in": "The type must be tags or lists."}})
        kind: LabelKind = params["type"]
        contact_ids = params["subscribers"]
        attached = find_label_ids(kind, params, "attach")
        detached = find_label_ids(kind, params, "detach")

        @in_transaction
        def sync() -> None:
            attach(kind, contact_ids, attached)
            detach(kind, contact_ids, detached)

        sync()
        rows = (
            Subscriber.objects.with_user()
            .prefetch_related("tags", "lists")
            .filter(id__in=contact_ids)
            .order_by("id")
        )
        noun = "subscriber" if len(contact_ids) == 1 else "subscribers"
        serializer = SubscriberSerializer(rows, many=True, include=("tags", "lists"))
        message = f"Successfully updated the {noun}."
        return Response({"message": message, "subscribers": serializer.data})

    @schema.BULK_ADD_UPDATE
    @action(detail=False, methods=["post"], url_path="bulk-add-update")
    def bulk_add_update(self, request: Request) -> Response:
        """Create or update up to 1,000 contacts by e-mail; each is committed by itself."""
        params = validate(BATCH_FIELDS, self.params, required=("contacts",))
        created: list[Any] = []
        updated: list[Any] = []
        invalid: list[Any] = []
        for item in params["contacts"]:
            try:
                contact, is_new = add_or_update(item, params.get("force_update", False))
            except InvalidFields:
                invalid.append(item)
                continue
            (created if is_new else updated).append(ContactReferenceSerializer(contact).data)
        return Response(
            {
                "message": "Successfully added/updated the subscribers.",
                "created": created,
                "updated": updated,
                "invalids": invalid,
            }
        )

    @schema.DO_BULK_ACTION
    @action(detail=False, methods=["post"], url_path="do-bulk-action")
    def do_bulk_action(self, request: Request) -> Response:
        """Apply one action to several contacts."""
        if self.params.get("is_all") == "yes":
            # Refused, because a client that means all contacts of a search would change all.
            raise InvalidFields({"is_all": {"in": "Name the contacts in subscriber_ids."}})
        params = validate(ACTION_FIELDS, self.params)
        contact_ids = params.get("subscriber_ids", [])
        if not contact_ids:
            raise Unprocessable("Subscribers selection is required")
        name = params.get("action_name", "")
        if name == "delete_contacts":
            # The scope was checked already.
            if not request.user.has_perm(DELETE.permission):
                self.permission_denied(request)
            contacts.delete_contacts(contact_ids)
            message = "Selected Contacts has been deleted permanently"
        elif name in COLUMN_ACTIONS:
            column, missing, message = COLUMN_ACTIONS[name]
            if not params.get("new_status"):
                raise Unprocessable(missing)
            set_column(column, params["new_status"], contact_ids)
        elif name in LABEL_ACTIONS:
            kind, is_attached = LABEL_ACTIONS[name]
            if not params.get("action_options"):
                raise Unprocessable("Please provide bulk options")
            change = in_transaction(attach if is_attached else detach)
            change(kind, contact_ids, params["action_options"])
            message = "Selected bulk action has been successfully completed"
        else:
            raise Unprocessable("Selected Action is not valid")
        return Response(
            {
                "last_contact_id": contact_ids[-1],
                "completed_contacts": len(contact_ids),
                "message": message,
            }
        )


def set_column(column: contacts.BulkColumn, value: str, contact_ids: list[int]) -> None:
    """Set a column of contacts.

    Raises:
        Unprocessable: 422, the column cannot have this value.
    """
    if not IS_VALID[column](value):
        raise Unprocessable("Value is not valid")
    contacts.set_column(contact_ids, column, value)


def add_or_update(item: Any, force_status: bool) -> tuple[Subscriber, bool]:
    """Create or update one contact of a batch. Returns it, and whether it is new.

    Raises:
        InvalidFields: a field is invalid, or the item is not an object.
    """
    if not isinstance(item, Mapping):
        raise InvalidFields({})
    fields = contact_fields(item, required=("email",), is_import=True)
    labels = validate(LABEL_FIELDS, item)

    @in_transaction
    def write() -> tuple[Subscriber, bool]:
        contact, created = contacts.create_or_update(fields, force_status=force_status)
        attach_labels(contact, labels)
        return contact, created

    return write()


def find_label_ids(kind: LabelKind, params: Params, field: str) -> list[int]:
    """Return the ids of the tags or lists that a field of sync-segments names.

    Raises:
        InvalidFields: 422, find_by is not slug, title or id, or an id is invalid.
    """
    names = params.get(field, [])
    match params.get("find_by") or "slug":
        case "id":
            ids: list[int] = validate({field: to_ids}, params).get(field, [])
            return ids
        case "slug" | "title" as column:
            return list(find_labels(kind, names, by=(column,)).values())
    raise InvalidFields({"find_by": {"in": "The find_by must be slug, title or id."}})
