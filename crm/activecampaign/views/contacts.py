"""Contacts: `/api/3/contacts` and `/api/3/contact/sync`."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request
from typing_extensions import override

from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.warnings import Warnings, with_warnings
from crm.activecampaign import contacts, schema
from crm.activecampaign.fields import read_contact, unwrap
from crm.activecampaign.filter_backends import CONDITIONS, ContactFilterBackend
from crm.activecampaign.pagination import ACContactPagination
from crm.activecampaign.serializers import (
    ACContactSerializer,
    ACContactTagSerializer,
    ACListMembershipSerializer,
    field_value,
)
from crm.activecampaign.viewsets import ApiV3ViewSet, NoResult
from crm.api.changes import delete_named
from crm.api.merged import MergedContactMixin
from crm.api.rights import ADD, CHANGE, DELETE, READ
from crm.custom_fields import Fields, declared_fields, values_of
from crm.models import Subscriber

# What ActiveCampaign sends beside a contact, and Tallybook has not.
ABSENT: dict[str, list[Any]] = {
    name: [] for name in ("contactAutomations", "deals", "geoAddresses", "geoIps")
}


class ACContactViewSet(MergedContactMixin, ApiV3ViewSet):
    """Contacts, and `sync`, which is at a URL of its own."""

    access: ClassVar[dict[str, Any]] = {
        "list": READ,
        "retrieve": READ,
        "contact_tags": READ,
        "contact_lists": READ,
        "field_values": READ,
        "contact_automations": READ,
        "create": ADD,
        "sync": ADD,
        "update": CHANGE,
        "destroy": DELETE,
    }
    lookup_url_kwarg = "contact_id"
    lookup_value_regex = ID_REGEX
    queryset = Subscriber.objects.all()
    serializer_class = ACContactSerializer
    pagination_class = ACContactPagination
    filter_backends = (ContactFilterBackend,)
    parameters = (*CONDITIONS, "filters")

    def list(self, request: Request) -> Response:
        """List contacts, the oldest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(ACContactSerializer(page, many=True).data)

    @schema.RETRIEVE_CONTACT
    def retrieve(self, request: Request, contact_id: str) -> Response:
        """Return a contact with its lists and its values of custom fields."""
        contact = self.get_object()
        return Response(
            {
                **ABSENT,
                "contactLists": list_memberships(contact),
                "fieldValues": field_values(contact.pk, declared_fields()),
                "contact": ACContactSerializer(contact).data,
            }
        )

    @schema.CREATE_CONTACT
    def create(self, request: Request) -> Response:
        """Create a contact, with the status subscribed."""
        fields, declared, warnings = self._read(is_new=True)
        return written_response(
            contacts.create(fields, warnings, request.user.has_perm), declared, 201
        )

    @schema.UPDATE_CONTACT
    def update(self, request: Request, contact_id: str) -> Response:
        """Change the fields of a contact that are sent."""
        fields, declared, warnings = self._read(is_new=False)
        has_perm = request.user.has_perm
        written = contacts.update(self.url_id, fields, warnings, has_perm)
        return written_response(written, declared, 200)

    @schema.DESTROY
    def destroy(self, request: Request, contact_id: str) -> Response:
        """Delete a contact and all its events."""
        if not delete_named(request, [self.url_id]):
            raise NoResult(contacts.CONTACT, self.url_id)
        return Response({})

    @schema.CONTACT_TAGS
    @action(detail=True, url_path="contactTags", pagination_class=None, filter_backends=())
    def contact_tags(self, request: Request, contact_id: str) -> Response:
        """Return the tags of a contact."""
        rows = Subscriber.tags.through.objects.filter(subscriber=self.get_object()).order_by("id")
        return Response({"contactTags": ACContactTagSerializer(rows, many=True).data})

    @schema.CONTACT_LISTS
    @action(detail=True, url_path="contactLists", pagination_class=None, filter_backends=())
    def contact_lists(self, request: Request, contact_id: str) -> Response:
        """Return the lists of a contact, each with the contact's status."""
        return Response({"contactLists": list_memberships(self.get_object())})

    @schema.FIELD_VALUES
    @action(detail=True, url_path="fieldValues", pagination_class=None, filter_backends=())
    def field_values(self, request: Request, contact_id: str) -> Response:
        """Return a contact's values of custom fields."""
        contact = self.get_object()
        return Response({"fieldValues": field_values(contact.pk, declared_fields())})

    @schema.CONTACT_AUTOMATIONS
    @action(detail=True, url_path="contactAutomations", pagination_class=None, filter_backends=())
    def contact_automations(self, request: Request, contact_id: str) -> Response:
        """Return that a contact is in no automation."""
        self.get_object()
        return Response({"contactAutomations": []})

    @override
    def get_object(self) -> Subscriber:
        contact: Subscriber | None = self.get_queryset().filter(pk=self.url_id).first()
        if contact is None:
            raise NoResult(contacts.CONTACT, self.url_id)
        return contact

    @schema.SYNC_CONTACT
    def sync(self, request: Request) -> Response:
        """Create the contact of an e-mail, 201, or update it, 200. Empty fields change nothing."""
        fields, declared, warnings = self._read(is_new=True)
        written = contacts.create_or_update(fields, warnings, request.user.has_perm)
        return written_response(written, declared, 201 if written.is_new else 200)

    def _read(self, *, is_new: bool) -> tuple[dict[str, Any], Fields, Warnings]:
        """Return the columns of the object `contact`, the custom fields, and warnings."""
        warnings: Warnings = []
        declared = declared_fields()
        sent = unwrap(self.params, "contact")
        return read_contact(sent, warnings, declared, is_new=is_new), declared, warnings


def written_response(written: contacts.Written, declared: Fields, status: int) -> Response:
    """Return the response to a write of a contact."""
    body: Mapping[str, Any] = {
        "fieldValues": field_values(written.contact.pk, declared),
        "contact": ACContactSerializer(written.contact).data,
    }
    return Response(with_warnings(body, written.warnings), status=status)


def field_values(contact_id: int, declared: Fields) -> list[dict[str, Any]]:
    """Return a contact's values of the custom fields, in their order."""
    values = values_of(contact_id, declared)
    return [
        field_value(contact_id, field, values[slug])
        for slug, field in declared.items()
        if slug in values
    ]


def list_memberships(contact: Subscriber) -> list[dict[str, Any]]:
    """Return the lists of a contact."""
    rows = Subscriber.lists.through.objects.filter(subscriber=contact).order_by("id")
    for row in rows:
        row.subscriber = contact
    return [*ACListMembershipSerializer(rows, many=True).data]
