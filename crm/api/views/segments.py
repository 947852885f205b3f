"""The endpoints of filters: what there is to filter by, and filters saved as segments."""

from typing import ClassVar

from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.json_fields import json_text_or
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import MAX_NAME_LENGTH, Validator, nullable_line, single_line, validate
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.audit import of_ids, record
from crm import segments
from crm.api.filter_backends import (
    CONTACT_BACKENDS,
    LABEL_BACKENDS,
    LABEL_LIST_FIELDS,
    LIST_FIELDS,
)
from crm.api.pagination import SegmentPagination, SubscriberPagination
from crm.api.rights import READ, READ_SEGMENTS
from crm.api.schema import segments as schema
from crm.api.schema.base import MESSAGE
from crm.api.serializers import SegmentSerializer, SubscriberSerializer, serialize_contacts
from crm.filters import apply_filter
from crm.filters.options import filter_options
from crm.labels import SlugTaken, slugify
from crm.models import Scope, Segment, Subscriber
from crm.permissions import Access, user_source_of

FIELDS: dict[str, Validator] = {
    "title": nullable_line(MAX_NAME_LENGTH),
    "slug": single_line(MAX_NAME_LENGTH),
    "filters": json_text_or(lambda value: value),
}
SLUG_TAKEN = {"unique": "Another segment has this slug."}


class FilterOptionViewSet(ApiViewSet):
    """List the properties to filter by: `/subscribers/filter-options`."""

    access: ClassVar[dict[str, Access]] = {"filter_options": READ}

    @schema.FILTER_OPTIONS
    @action(detail=False, url_path="filter-options", pagination_class=None)
    def filter_options(self, request: Request) -> Response:
        """Return the providers, properties and operators, as FluentCRM's option groups."""
        return Response({"options": filter_options(request.user.has_perm)})


class SegmentViewSet(ListModelMixin, ApiViewSet):
    """Segments: `/segments`. A segment has the contacts that its filter matches now."""

    access: ClassVar[dict[str, Access]] = {
        "list": Access(Scope.READ, "crm.view_segment"),
        "retrieve": Access(Scope.READ, "crm.view_segment"),
        "create": Access(Scope.MANAGE, "crm.add_segment"),
        "update": Access(Scope.MANAGE, "crm.change_segment"),
        "destroy": Access(Scope.MANAGE, "crm.delete_segment"),
        "subscribers": READ_SEGMENTS,
    }
    noun = "Segment"
    lookup_url_kwarg = "segment_id"
    lookup_value_regex = ID_REGEX
    queryset = Segment.objects.all()
    serializer_class = SegmentSerializer
    pagination_class = SegmentPagination
    filter_backends = LABEL_BACKENDS
    list_fields = LABEL_LIST_FIELDS

    @schema.CREATE_SEGMENT
    def create(self, request: Request) -> Response:
        """Save a filter; without a slug, one is made from the title."""
        # The empty list is a filter that all contacts match.
        filters = () if isinstance(self.params.get("filters"), list) else ("filters",)
        warnings: Warnings = []
        fields = validate(FIELDS, self.params, ("title", *filters), warnings)
        fields["slug"] = slugify(fields.get("slug") or fields["title"])
        try:
            segment = segments.create_segment(fields, user_source_of(request))
        except SlugTaken:
            raise InvalidFields({"slug": SLUG_TAKEN}) from None
        return self._stored("Segment has been created", segment, warnings)

    @schema.RETRIEVE_SEGMENT
    def retrieve(self, request: Request, segment_id: str) -> Response:
        """Return a segment."""
        return Response({"segment": self.get_serializer(self.get_object()).data})

    @schema.UPDATE_SEGMENT
    def update(self, request: Request, segment_id: str) -> Response:
        """Change title, slug and filters, whichever are sent."""
        sent = [field for field in FIELDS if field in self.params]
        required = [field for field in sent if self.params[field] != []]
        warnings: Warnings = []
        fields = validate(FIELDS, self.params, required, warnings)
        if "slug" in fields:
            fields["slug"] = slugify(fields["slug"])
        try:
            segment = segments.update_segment(self.url_id, fields, user_source_of(request))
        except SlugTaken:
            raise InvalidFields({"slug": SLUG_TAKEN}) from None
        if segment is None:
            raise ObjectNotFound(self.noun)
        return self._stored("Segment has been updated", segment, warnings)

    def _stored(self, message: str, segment: Segment, warnings: Warnings) -> Response:
        body = {"message": message, "segment": self.get_serializer(segment).data}
        return Response(with_warnings(body, warnings))

    @MESSAGE
    def destroy(self, request: Request, segment_id: str) -> Response:
        """Delete a segment; its contacts stay."""
        if not segments.delete_segment(self.url_id):
            raise ObjectNotFound(self.noun)
        record(request, "deleted", what="segment", **of_ids([self.url_id]))
        return Response({"message": "Segment has been deleted"})

    @schema.SEGMENT_CONTACTS
    @action(
        detail=True,
        pagination_class=SubscriberPagination,
        serializer_class=SubscriberSerializer,
        filter_backends=CONTACT_BACKENDS,
        list_fields=LIST_FIELDS,
    )
    def subscribers(self, request: Request, segment_id: str) -> Response:
        """List the contacts of a segment, with the parameters of the list of contacts."""
        groups = segments.read_segment(self.get_object())
        contacts = apply_filter(Subscriber.objects.all(), groups, request.user.has_perm)
        page = self.paginate_queryset(self.filter_queryset(contacts))
        return self.get_paginated_response(serialize_contacts(page, ("tags", "lists")))

    @override
    def get_object(self) -> Segment:
        segment = super().get_object()
        assert isinstance(segment, Segment)
        return segment
