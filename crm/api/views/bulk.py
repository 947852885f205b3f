"""FluentCRM's calls about many contacts at once."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import InvalidFields, Unprocessable
from config.api.json_fields import json_text_or, to_shallow_list
from config.api.parsers import Params, request_params
from config.api.validation import (
    Validator,
    multi_line,
    single_line,
    to_bool,
    to_ids,
    to_strings,
    validate,
)
from config.database import in_transaction
from crm import contacts
from crm.api import schema
from crm.api.serializers import contact_data, segments_data
from crm.api.views.common import (
    ADD,
    CHANGE,
    DELETE,
    LABEL_FIELDS,
    attach_named,
    contact_fields,
)
from crm.authentication import caller_of
from crm.labels import LABEL_MODELS, LabelKind, attach, detach, label_ids_by
from crm.models import ContactType, Status, Subscriber
from crm.permissions import Access

PROPERTY_FIELDS: dict[str, Validator] = {
    "property": single_line(64),
    "value": multi_line,
    "subscribers": to_ids,
}
SYNC_FIELDS: dict[str, Validator] = {
    "type": single_line(16),
    "attach": to_strings,
    "detach": to_strings,
    "find_by": single_line(16),
    "subscribers": to_ids,
}
ACTION_FIELDS: dict[str, Validator] = {
    "action_name": single_line(64),
    "subscriber_ids": to_ids,
    "action_options": to_ids,
    "new_status": single_line(50),
}
SEGMENT_ACTIONS: dict[str, tuple[LabelKind, bool]] = {
    "add_to_tags": ("tags", True),
    "add_to_lists": ("lists", True),
    "remove_from_tags": ("tags", False),
    "remove_from_lists": ("lists", False),
}
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
CHOICES: dict[contacts.BulkColumn, Callable[[str], bool]] = {
    "status": Status.values.__contains__,
    "contact_type": ContactType.values.__contains__,
    "avatar": lambda value: len(value) <= 192 and value.startswith(("http://", "https://", "/")),
}


class BulkViewSet(ViewSet):
    """The calls below `/subscribers` that change several contacts."""

    access: ClassVar[dict[str, Access]] = {
        "update_property": CHANGE,
        "sync_segments": CHANGE,
        "bulk_add_update": ADD,
        "do_bulk_action": CHANGE,
    }

    @schema.UPDATE_PROPERTY
    def update_property(self, request: Request) -> Response:
        """Set status, contact type or avatar of several contacts."""
        given = request_params(request)
        validate(
            {},
            {"column": given.get("property"), "subscriber_ids": given.get("subscribers")},
            required=("column", "subscriber_ids"),
        )
        asked = validate(PROPERTY_FIELDS, given)
        column, value = asked["property"], asked.get("value", "")
        if column not in CHOICES:
            raise Unprocessable("Column is not valid")
        self._set(column, value, asked["subscribers"])
        return Response({"message": "Subscribers successfully updated"})

    @schema.SYNC_SEGMENTS
    def sync_segments(self, request: Request) -> Response:
        """Attach and detach tags or lists, by slug unless `find_by` says title or id."""
        asked = validate(SYNC_FIELDS, request_params(request), required=("type", "subscribers"))
        if asked["type"] not in LABEL_MODELS:
            raise InvalidFields({"type": {"in": "The type must be tags or lists."}})
        kind: LabelKind = asked["type"]
        contact_ids = asked["subscribers"]
        moves = [
            (move, self._segment_ids(kind, asked, field))
            for field, move in (("attach", attach), ("detach", detach))
        ]

        def work() -> None:
            for move, segment_ids in moves:
                move(kind, contact_ids, segment_ids)

        in_transaction(work)()
        found = (
            Subscriber.objects.with_user()
            .prefetch_related("tags", "lists")
            .filter(id__in=contact_ids)
            .order_by("id")
        )
        noun = "subscriber" if len(contact_ids) == 1 else "subscribers"
        return Response(
            {
                "message": f"Successfully updated the {noun}.",
                "subscribers": [{**contact_data(one), **segments_data(one)} for one in found],
            }
        )

    @schema.BULK_ADD_UPDATE
    def bulk_add_update(self, request: Request) -> Response:
        """Make or update up to 1,000 contacts, by e-mail; each is committed by itself."""
        given = request_params(request)
        readers = {"contacts": json_text_or(to_shallow_list), "force_update": to_bool}
        asked = validate(readers, given, required=("contacts",))
        answer: dict[str, Any] = {
            "message": "Successfully added/updated the subscribers.",
            "created": [],
            "updated": [],
            "invalids": [],
        }
        for item in asked["contacts"]:
            try:
                contact, created = self._add_or_update(item, asked.get("force_update", False))
            except InvalidFields:
                answer["invalids"].append(item)
                continue
            row = {"id": contact.id, "email": contact.email, "status": contact.status}
            answer["created" if created else "updated"].append(row)
        return Response(answer)

    @schema.DO_BULK_ACTION
    def do_bulk_action(self, request: Request) -> Response:
        """One action on several contacts."""
        given = request_params(request)
        if given.get("is_all") == "yes":
            # Never more than was named: whoever asks for all of a search means something else.
            raise InvalidFields({"is_all": {"in": "Name the contacts in subscriber_ids."}})
        asked = validate(ACTION_FIELDS, given)
        contact_ids = asked.get("subscriber_ids", [])
        if not contact_ids:
            raise Unprocessable("Subscribers selection is required")
        action = asked.get("action_name", "")
        if action == "delete_contacts":
            self._demand(request, DELETE)
            contacts.delete_contacts(contact_ids)
            message = "Selected Contacts has been deleted permanently"
        elif action in COLUMN_ACTIONS:
            column, missing, message = COLUMN_ACTIONS[action]
            if not asked.get("new_status"):
                raise Unprocessable(missing)
            self._set(column, asked["new_status"], contact_ids)
        elif action in SEGMENT_ACTIONS:
            kind, on = SEGMENT_ACTIONS[action]
            if not asked.get("action_options"):
                raise Unprocessable("Please provide bulk options")
            move = attach if on else detach
            in_transaction(move)(kind, contact_ids, asked["action_options"])
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

    def _set(self, column: contacts.BulkColumn, value: str, contact_ids: list[int]) -> None:
        if not CHOICES[column](value):
            raise Unprocessable("Value is not valid")
        contacts.set_column(contact_ids, column, value)

    def _add_or_update(self, item: Any, force: bool) -> tuple[Subscriber, bool]:
        """One contact of a batch. Raises InvalidFields."""
        if not isinstance(item, Mapping):
            raise InvalidFields({})
        fields = contact_fields(item, required=("email",), imported=True)
        segments = validate(LABEL_FIELDS, item)

        def work() -> tuple[Subscriber, bool]:
            contact, created = contacts.create_or_update(fields, force_status=force)
            attach_named(contact, segments)
            return contact, created

        return in_transaction(work)()

    def _segment_ids(self, kind: LabelKind, asked: Params, field: str) -> list[int]:
        """The tags or lists that a field names. Raises InvalidFields."""
        column = asked.get("find_by") or "slug"
        if column == "id":
            numbers: list[int] = validate({field: to_ids}, asked).get(field, [])
            return numbers
        if column not in ("slug", "title"):
            raise InvalidFields({"find_by": {"in": "The find_by must be slug, title or id."}})
        return label_ids_by(kind, column, asked.get(field, []))

    def _demand(self, request: Request, access: Access) -> None:
        """403 unless the caller may do this too; its scope was looked at already."""
        if not caller_of(request).has_perm(access.permission):
            self.permission_denied(request)
