"""What filters can ask, and filters that are kept: `/subscribers/filter-options`, `/segments`."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.json_fields import json_text_or
from config.api.pagination import page_of
from config.api.parsers import request_params
from config.api.validation import Validator, clamp_id, single_line, validate
from crm import segments
from crm.api import filter_schema as schema
from crm.api.serializers import saved_segment_data
from crm.api.views.common import READ, contact_page, find_contact
from crm.filters.options import filter_options
from crm.labels import SlugTaken, slugify
from crm.models import Scope, Segment
from crm.permissions import Access
from crm.selectors import filter_contacts, filter_labels

FIELDS: dict[str, Validator] = {
    "title": single_line(192),
    "slug": single_line(192),
    "filters": json_text_or(lambda value: value),
}
SLUG_TAKEN = {"unique": "Another segment has this slug."}


class FilterOptionViewSet(ViewSet):
    """`/subscribers/filter-options`."""

    access: ClassVar[dict[str, Access]] = {"index": READ}

    @schema.FILTER_OPTIONS
    def index(self, request: Request) -> Response:  # noqa: ARG002
        """Every provider, property and operator of filters, as FluentCRM's option groups."""
        return Response({"options": filter_options()})


class SegmentViewSet(ViewSet):
    """`/segments`: filters with a name. They have the contacts that fit at the moment."""

    access: ClassVar[dict[str, Access]] = {
        "index": Access(Scope.READ, "crm.view_segment"),
        "show": Access(Scope.READ, "crm.view_segment"),
        "store": Access(Scope.MANAGE, "crm.add_segment"),
        "update": Access(Scope.MANAGE, "crm.change_segment"),
        "destroy": Access(Scope.MANAGE, "crm.delete_segment"),
        "subscribers": READ,
        "of_contact": Access(Scope.READ, "crm.view_segment"),
    }

    @schema.SAVED_SEGMENT_LIST
    def index(self, request: Request) -> Response:
        """A page of segments, the newest first."""
        found = filter_labels(Segment, request_params(request))

        def rows(start: int, stop: int) -> list[dict[str, Any]]:
            return [saved_segment_data(segment) for segment in found[start:stop]]

        return Response({"segments": page_of(request, found.count(), rows)})

    @schema.SAVED_SEGMENT_STORE
    def store(self, request: Request) -> Response:
        """Keep a filter; without a slug, under one made from its title."""
        given = request_params(request)
        # The empty list is a filter, which all contacts fit.
        missing = () if isinstance(given.get("filters"), list) else ("filters",)
        fields = validate(FIELDS, given, ("title", *missing))
        fields["slug"] = slugify(fields.get("slug") or fields["title"])
        try:
            segment = segments.create_segment(fields)
        except SlugTaken:
            raise InvalidFields({"slug": SLUG_TAKEN}) from None
        message = "Segment has been created"
        return Response({"message": message, "segment": saved_segment_data(segment)})

    @schema.SAVED_SEGMENT_SHOW
    def show(self, request: Request, segment_id: str) -> Response:  # noqa: ARG002
        """One segment."""
        return Response({"segment": saved_segment_data(self._find(segment_id))})

    @schema.SAVED_SEGMENT_UPDATE
    def update(self, request: Request, segment_id: str) -> Response:
        """Change title, slug and filters, whichever are sent."""
        given = request_params(request)
        sent = [field for field in FIELDS if field in given]
        required = [field for field in sent if given[field] != []]
        fields = validate(FIELDS, given, required)
        if "slug" in fields:
            fields["slug"] = slugify(fields["slug"])
        try:
            segment = segments.update_segment(clamp_id(segment_id), fields)
        except SlugTaken:
            raise InvalidFields({"slug": SLUG_TAKEN}) from None
        if segment is None:
            raise ObjectNotFound("Segment")
        message = "Segment has been updated"
        return Response({"message": message, "segment": saved_segment_data(segment)})

    @schema.SAVED_SEGMENT_DELETE
    def destroy(self, request: Request, segment_id: str) -> Response:  # noqa: ARG002
        """Delete a segment; its contacts stay."""
        if not segments.delete_segment(clamp_id(segment_id)):
            raise ObjectNotFound("Segment")
        return Response({"message": "Segment has been deleted"})

    @schema.SAVED_SEGMENT_CONTACTS
    def subscribers(self, request: Request, segment_id: str) -> Response:
        """A page of the contacts that fit, as in the list of contacts."""
        found = filter_contacts(request_params(request), self._find(segment_id).filters)
        return Response({"subscribers": contact_page(request, found)})

    @schema.CONTACT_SAVED_SEGMENTS
    def of_contact(self, request: Request, contact_id: str) -> Response:  # noqa: ARG002
        """The segments that a contact is in, by title."""
        contact = find_contact(contact_id)
        if contact is None:
            raise ObjectNotFound("Subscriber")
        found = segments.segments_of(contact)
        return Response({"segments": [saved_segment_data(segment) for segment in found]})

    def _find(self, segment_id: str) -> Segment:
        found = Segment.objects.filter(id=clamp_id(segment_id)).first()
        if found is None:
            raise ObjectNotFound("Segment")
        return found
