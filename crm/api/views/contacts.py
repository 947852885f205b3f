"""FluentCRM's calls about one contact, and the list of contacts."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import InvalidFields, NotFoundHere, Refused
from config.api.json_fields import fields_object, from_json
from config.api.parsers import params
from config.api.validation import Reader, ids, line, names, path_id, read_fields, whole_number
from config.database import in_transaction
from crm import contacts
from crm.api import schema
from crm.api.serializers import contact_data, segments_data
from crm.api.views.common import (
    ADD,
    CHANGE,
    DELETE,
    EMAIL_TAKEN,
    READ,
    SEGMENT_FIELDS,
    attach_named,
    contact_fields,
    contact_page,
    find_contact,
    shown,
)
from crm.labels import SegmentType, attach, detach, named_ids
from crm.models import Status, Subscriber
from crm.permissions import Access
from crm.selectors import asked_contacts, matching

FOUND_BY_SEARCH = 20
MOST_FOUND_BY_SEARCH = 1000
SHOW_PARAMS: dict[str, Reader] = {"get_by_email": line(254), "with": names}
SEARCH_PARAMS: dict[str, Reader] = {"search": line(255), "limit": whole_number, "values": ids}
MOVES: dict[str, tuple[SegmentType, bool]] = {
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
        asked = params(request)
        custom_fields = asked.get("custom_fields")
        page = contact_page(request, asked_contacts(asked), custom_fields == "true")
        return Response({"subscribers": page, "custom": custom_fields})

    @schema.CONTACT_SHOW
    def show(self, request: Request, contact_id: str) -> Response:
        """One contact by id, or, with id 0, by `get_by_email`."""
        asked = read_fields(SHOW_PARAMS, params(request))
        if path_id(contact_id) == 0 and asked.get("get_by_email"):
            contact = contacts.find_by_email(asked["get_by_email"])
        else:
            contact = find_contact(contact_id)
        if contact is None:
            raise Refused("Subscriber not found")
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
        given = params(request)
        force = given.get("__force_update") == "yes"
        fields = contact_fields(given, required=("email", "status"), imported=force)
        segments = read_fields(SEGMENT_FIELDS, given)

        def work() -> tuple[dict[str, Any], bool]:
            if force:
                contact, created = contacts.create_or_update(fields)
            else:
                contact, created = contacts.create(fields), True
            return shown(contact, attach_named(contact, segments)), created

        try:
            contact, created = in_transaction(work)
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
        given = params(request)
        nested = read_fields({"subscriber": from_json(fields_object)}, given)
        given = nested.get("subscriber") or given
        if given.get("email", "") is None:
            given = {name: value for name, value in given.items() if name != "email"}
        moves = read_fields(dict.fromkeys(MOVES, names), given)
        fields = contact_fields(given, ("email",) if "email" in given else ())
        custom = fields.pop("custom_values", {})
        fields.pop("last_activity", None)

        def work() -> tuple[dict[str, Any], bool]:
            contact = contacts.locked(contact_id=path_id(contact_id))
            if contact is None:
                raise NotFoundHere("Subscriber")
            changed = contacts.update(contact, fields)
            contacts.set_custom_values(contact, custom)
            return shown(contact, self._move(contact, moves)), changed

        try:
            contact, changed = in_transaction(work)
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
        if not contacts.delete_contacts([path_id(contact_id)])["contacts"]:
            raise NotFoundHere("Subscriber")
        return Response({"message": "Selected Subscriber has been deleted successfully"})

    @schema.DELETE_SEVERAL
    def delete_several(self, request: Request) -> Response:
        """Delete contacts and all their events."""
        given = {"subscriber_ids": params(request).get("subscribers")}
        asked = read_fields({"subscriber_ids": ids}, given, required=("subscriber_ids",))
        contacts.delete_contacts(asked["subscriber_ids"])
        return Response({"message": "Selected Subscribers has been deleted"})

    @schema.SEARCH_CONTACTS
    def search_contacts(self, request: Request) -> Response:
        """Contacts for a choice in a form: those that match, and those of `values`, by id."""
        asked = read_fields(SEARCH_PARAMS, params(request))
        limit = min(asked.get("limit") or FOUND_BY_SEARCH, MOST_FOUND_BY_SEARCH)
        found: list[Subscriber] = []
        if asked.get("search"):
            matches = Subscriber.objects.filter(matching(asked["search"]))
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

    def _move(self, contact: Subscriber, moves: dict[str, list[str]]) -> set[SegmentType]:
        """Attach and detach what a request names. Returns the kinds it named."""
        moved: set[SegmentType] = set()
        for move, (kind, on) in MOVES.items():
            if named := moves.get(move):
                found = named_ids(kind, named, create=on)
                (attach if on else detach)(kind, [contact.id], found)
                moved.add(kind)
        return moved
