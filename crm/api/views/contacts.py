"""FluentCRM's calls about one contact, and the list of contacts."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import InvalidFields, ObjectNotFound, Unprocessable
from config.api.json_fields import json_text_or, to_fields
from config.api.parsers import request_params
from config.api.validation import (
    Validator,
    clamp_id,
    single_line,
    to_bigint,
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
    EMAIL_TAKEN,
    LABEL_FIELDS,
    READ,
    attach_named,
    contact_fields,
    contact_page,
    contact_payload,
    find_contact,
)
from crm.labels import LabelKind, attach, detach, resolve_label_ids
from crm.models import Status, Subscriber
from crm.permissions import Access
from crm.selectors import filter_contacts, search_q

FOUND_BY_SEARCH = 20
MOST_FOUND_BY_SEARCH = 1000
SHOW_PARAMS: dict[str, Validator] = {"get_by_email": single_line(254), "with": to_strings}
SEARCH_PARAMS: dict[str, Validator] = {
    "search": single_line(255),
    "limit": to_bigint,
    "values": to_ids,
}
MOVES: dict[str, tuple[LabelKind, bool]] = {
    "attach_tags": ("tags", True),
    "attach_lists": ("lists", True),
    "detach_tags": ("tags", False),
    "detach_lists": ("lists", False),
}
# FluentCRM has these from its own mails, which nobody sends here; its clients read the keys.
LEFT = {"unsubscribe_reason": "", "unsubscribe_date": ""}
MAILS = {"emails": 0, "opens": 0, "clicks": 0}


class SubscriberViewSet(ViewSet):
    """`/subscribers`, `/subscribers/{id}` and `/subscribers/search-contacts`."""

    access: ClassVar[dict[str, Access]] = {
        "index": READ,
        "show": READ,
        "search_contacts": READ,
        "store": ADD,
        "update": CHANGE,
        "destroy": DELETE,
        "delete_several": DELETE,
    }

    @schema.CONTACT_LIST
    def index(self, request: Request) -> Response:
        """A page of contacts, the newest first."""
        asked = request_params(request)
        custom_fields = asked.get("custom_fields")
        page = contact_page(request, filter_contacts(asked), custom_fields == "true")
        return Response({"subscribers": page, "custom": custom_fields})

    @schema.CONTACT_SHOW
    def show(self, request: Request, contact_id: str) -> Response:
        """One contact by id, or, with id 0, by `get_by_email`."""
        asked = validate(SHOW_PARAMS, request_params(request))
        if clamp_id(contact_id) == 0 and asked.get("get_by_email"):
            contact = contacts.find_by_email(asked["get_by_email"])
        else:
            contact = find_contact(contact_id)
        if contact is None:
            raise Unprocessable("Subscriber not found")
        wanted = asked.get("with", [])
        left = contact.status in (Status.UNSUBSCRIBED, Status.BOUNCED, Status.COMPLAINED)
        custom = "subscriber.custom_values" in wanted
        answer = {
            "subscriber": {
                **contact_data(contact),
                **segments_data(contact),
                **({"custom_values": contact.custom_values} if custom else {}),
                **({"stats": MAILS} if "stats" in wanted else {}),
                **(LEFT if left else {}),
            },
            **({"custom_fields": []} if "custom_fields" in wanted else {}),
        }
        return Response(answer)

    @schema.CONTACT_STORE
    def store(self, request: Request) -> Response:
        """Make a contact; with `__force_update` "yes", update the one that has the e-mail."""
        given = request_params(request)
        force = given.get("__force_update") == "yes"
        fields = contact_fields(given, required=("email", "status"), imported=force)
        segments = validate(LABEL_FIELDS, given)

        def work() -> tuple[dict[str, Any], bool]:
            if force:
                contact, created = contacts.create_or_update(fields)
            else:
                contact, created = contacts.create(fields), True
            return contact_payload(contact, attach_named(contact, segments)), created

        try:
            contact, created = in_transaction(work)()
        except contacts.EmailTaken:
            raise InvalidFields({"email": EMAIL_TAKEN}) from None
        return Response(
            {
                "message": "Successfully added the subscriber."
                if created
                else "contact has been successfully updated.",
                "contact": contact,
                "action_type": "created" if created else "updated",
            }
        )

    @schema.CONTACT_UPDATE
    def update(self, request: Request, contact_id: str) -> Response:
        """Change a contact's fields, and its tags and lists by id."""
        given = request_params(request)
        nested = validate({"subscriber": json_text_or(to_fields)}, given)
        given = nested.get("subscriber") or given
        if given.get("email", "") is None:
            given = {name: value for name, value in given.items() if name != "email"}
        moves = validate(dict.fromkeys(MOVES, to_strings), given)
        fields = contact_fields(given, ("email",) if "email" in given else ())
        custom = fields.pop("custom_values", {})
        fields.pop("last_activity", None)

        def work() -> tuple[dict[str, Any], bool]:
            contact = contacts.get_for_update(contact_id=clamp_id(contact_id))
            if contact is None:
                raise ObjectNotFound("Subscriber")
            changed = contacts.update(contact, fields)
            contacts.set_custom_values(contact, custom)
            return contact_payload(contact, self._move(contact, moves)), changed

        try:
            contact, changed = in_transaction(work)()
        except contacts.EmailTaken:
            raise InvalidFields({"email": EMAIL_TAKEN}) from None
        return Response(
            {
                "message": "Subscriber successfully updated",
                "contact": contact,
                "isDirty": changed,
                "values": custom or [],
            }
        )

    @schema.CONTACT_DELETE
    def destroy(self, request: Request, contact_id: str) -> Response:  # noqa: ARG002
        """Delete a contact and all its events."""
        if not contacts.delete_contacts([clamp_id(contact_id)])["contacts"]:
            raise ObjectNotFound("Subscriber")
        return Response({"message": "Selected Subscriber has been deleted successfully"})

    @schema.DELETE_SEVERAL
    def delete_several(self, request: Request) -> Response:
        """Delete contacts and all their events."""
        given = {"subscriber_ids": request_params(request).get("subscribers")}
        asked = validate({"subscriber_ids": to_ids}, given, required=("subscriber_ids",))
        contacts.delete_contacts(asked["subscriber_ids"])
        return Response({"message": "Selected Subscribers has been deleted"})

    @schema.SEARCH_CONTACTS
    def search_contacts(self, request: Request) -> Response:
        """Contacts for a choice in a form: those that match, and those of `values`, by id."""
        asked = validate(SEARCH_PARAMS, request_params(request))
        limit = min(asked.get("limit") or FOUND_BY_SEARCH, MOST_FOUND_BY_SEARCH)
        found: list[Subscriber] = []
        if asked.get("search"):
            matches = Subscriber.objects.filter(search_q(asked["search"]))
            found += matches.order_by("id")[:limit]
        if values := asked.get("values", [])[:MOST_FOUND_BY_SEARCH]:
            found += Subscriber.objects.filter(id__in=values).order_by("id")
        return Response(
            {
                "contacts": {
                    str(contact.id): {
                        "first_name": contact.first_name,
                        "last_name": contact.last_name,
                        "full_name": contact.full_name,
                        "email": contact.email,
                        "id": str(contact.id),
                    }
                    for contact in found
                }
            }
        )

    def _move(self, contact: Subscriber, moves: dict[str, list[str]]) -> set[LabelKind]:
        """Attach and detach what a request names. Returns the kinds it named."""
        moved: set[LabelKind] = set()
        for move, (kind, on) in MOVES.items():
            if named := moves.get(move):
                found = resolve_label_ids(kind, named, create=on)
                (attach if on else detach)(kind, [contact.id], found)
                moved.add(kind)
        return moved
