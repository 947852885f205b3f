"""FluentCRM's calls about one contact, and the list of contacts."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.errors import InvalidFields, NotFoundHere, Refused
from config.fields import Reader, ids, line, names, read_fields, whole_number
from config.pagination import page_of
from config.parsers import params
from crm import contacts, schema
from crm.filters import asked_contacts, matching
from crm.models import Status, Subscriber
from crm.permissions import Access
from crm.serializers import contact_data, segments_data
from crm.views.common import (
    ADD,
    CHANGE,
    DELETE,
    EMAIL_TAKEN,
    READ,
    SEGMENT_FIELDS,
    attach_named,
    contact_fields,
    contact_or_404,
    find_contact,
    shown,
)

FOUND_BY_SEARCH = 20
MOST_FOUND_BY_SEARCH = 1000
SHOW_PARAMS: dict[str, Reader] = {"get_by_email": line(254), "with": names}
SEARCH_PARAMS: dict[str, Reader] = {"search": line(255), "limit": whole_number, "values": ids}
MOVES: dict[str, tuple[contacts.SegmentType, bool]] = {
    "attach_tags": ("tags", True),
    "attach_lists": ("lists", True),
    "detach_tags": ("tags", False),
    "detach_lists": ("lists", False),
}
# FluentCRM's reasons from its own mails, which nobody sends here; its clients read the keys.
LEFT = {"unsubscribe_reason": "", "unsubscribe_date": ""}


class SubscriberViewSet(ViewSet):
    """`/subscribers`, `/subscribers/{id}` and `/subscribers/search-contacts`."""

    access: ClassVar[dict[str, Access]] = {
        "index": READ,
        "show": READ,
        "search_contacts": READ,
        "store": ADD,
        "update": CHANGE,
        "delete": DELETE,
        "delete_several": DELETE,
    }

    @schema.CONTACT_LIST
    def index(self, request: Request) -> Response:
        """A page of contacts, the newest first."""
        asked = params(request)
        found = asked_contacts(asked)
        custom_fields = asked.get("custom_fields")

        def rows(start: int, stop: int) -> Iterable[dict[str, Any]]:
            for contact in found[start:stop]:
                custom = {"custom_fields": contact.custom_values} if custom_fields == "true" else {}
                yield {**contact_data(contact), **segments_data(contact), **custom}

        page = page_of(request, found.count(), rows)
        return Response({"subscribers": page, "custom": custom_fields})

    @schema.CONTACT_SHOW
    def show(self, request: Request, contact_id: str) -> Response:
        """One contact by id, or, with id 0, by `get_by_email`."""
        asked = read_fields(SHOW_PARAMS, params(request))
        if int(contact_id) == 0 and asked.get("get_by_email"):
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
                **(LEFT if left else {}),
            },
            **({"custom_fields": []} if "custom_fields" in wanted else {}),
        }
        return Response(answer)

    @schema.CONTACT_STORE
    def store(self, request: Request) -> Response:
        """Make a contact; with `__force_update` "yes", update the one that has the e-mail."""
        given = params(request)
        fields = contact_fields(given, required=("email", "status"))
        segments = read_fields(SEGMENT_FIELDS, given)
        with transaction.atomic():
            if given.get("__force_update") == "yes":
                contact, created = contacts.create_or_update(fields)
            else:
                try:
                    contact, created = contacts.create(fields), True
                except contacts.EmailTaken:
                    raise InvalidFields({"email": EMAIL_TAKEN}) from None
            attached = attach_named(contact, segments)
        return Response(
            {
                "message": "Successfully added the subscriber."
                if created
                else "contact has been successfully updated.",
                "contact": shown(contact, attached),
                "action_type": "created" if created else "updated",
            }
        )

    @schema.CONTACT_UPDATE
    def update(self, request: Request, contact_id: str) -> Response:
        """Change a contact's fields, and its tags and lists by id."""
        contact = contact_or_404(contact_id)
        given = params(request)
        if isinstance(given.get("subscriber"), dict):
            given = given["subscriber"]
        fields = contact_fields(given, ("email",) if given.get("email") is not None else ())
        if fields.get("email", "") is None:
            del fields["email"]
        custom = fields.pop("custom_values", {})
        fields.pop("last_activity", None)
        moves = read_fields(dict.fromkeys(MOVES, names), given)
        try:
            with transaction.atomic():
                changed = contacts.update(contact, fields)
                contacts.set_custom_values(contact, custom)
                moved = self._move(contact, moves)
        except contacts.EmailTaken:
            raise InvalidFields({"email": EMAIL_TAKEN}) from None
        return Response(
            {
                "message": "Subscriber successfully updated",
                "contact": shown(contact, moved),
                "isDirty": changed,
                "values": custom or [],
            }
        )

    @schema.CONTACT_DELETE
    def delete(self, request: Request, contact_id: str) -> Response:  # noqa: ARG002
        """Delete a contact and all its events."""
        contact = contact_or_404(contact_id)
        if not contacts.delete_contacts([contact.id]):
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

    def _move(self, contact: Subscriber, moves: dict[str, list[str]]) -> set[contacts.SegmentType]:
        """Attach and detach what a request names. Returns the kinds it named."""
        moved: set[contacts.SegmentType] = set()
        for move, (kind, on) in MOVES.items():
            if named := moves.get(move):
                found = contacts.segment_ids(kind, named, create=on)
                (contacts.attach if on else contacts.detach)(kind, [contact.id], found)
                moved.add(kind)
        return moved
