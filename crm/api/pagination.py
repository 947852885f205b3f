"""Paginate contacts, tags, lists, segments and notes."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from typing_extensions import override

from config.api.pagination import (
    INTEGER,
    NULLABLE_STRING,
    Countable,
    FluentPagination,
    Schema,
    object_schema,
    query_parameter,
)
from config.api.responses import Response
from config.api.viewsets import ApiViewSet
from config.api.warnings import MAX_CHOICES, capped, with_warnings
from crm.api.serializers import LabelChoiceSerializer
from crm.models import Subscriber
from crm.notes import TYPES
from crm.permissions import user_source_of
from crm.selectors import AllContacts, Contact, page_ids_and_total, read_contacts

TEXT: Schema = {"type": "string"}


class SubscriberPagination(FluentPagination):
    """Pages of contacts: `{"subscribers": {…}}`."""

    key = "subscribers"

    @override
    def get_rows(
        self, queryset: QuerySet[Subscriber] | AllContacts, start: int, per_page: int
    ) -> tuple[Sequence[Contact], int]:
        if isinstance(queryset, AllContacts):
            return queryset.page(start, per_page, user_source_of(self.request))
        ids, total = page_ids_and_total(queryset, start, per_page)
        positions = {contact_id: position for position, contact_id in enumerate(ids)}
        contacts = read_contacts(ids, user_source_of(self.request))
        return sorted(contacts, key=lambda contact: positions[contact[0]]), total


class ContactListPagination(SubscriberPagination):
    """Pages of the list of contacts, which repeats its parameter custom_fields as `custom`."""

    @override
    def paginate_queryset(
        self, queryset: Countable, request: Request, view: ApiViewSet
    ) -> Sequence[Any]:
        self.custom = view.params.get("custom_fields")
        return super().paginate_queryset(queryset, request, view)

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({self.key: self.get_envelope(data), "custom": self.custom})

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        return object_schema(
            {self.key: self.get_envelope_schema(schema), "custom": NULLABLE_STRING}
        )

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        custom = query_parameter("custom_fields", "true adds the contacts' custom values.", TEXT)
        return [*super().get_schema_operation_parameters(view), custom]


class LabelPagination(FluentPagination):
    """Pages of tags or lists; the parameter `all_key` adds every one as a choice in a form.

    Of more than 10,000 it adds the oldest, and a warning.
    """

    all_key: ClassVar[str]
    long_column = "description"

    @override
    def paginate_queryset(
        self, queryset: Countable, request: Request, view: ApiViewSet
    ) -> Sequence[Any]:
        self.choices: Iterable[Any] | None = None
        if view.is_on(self.all_key):
            choices = view.get_queryset().order_by("id").only("id", "title", "slug")
            self.choices = choices[: MAX_CHOICES + 1]
        return super().paginate_queryset(queryset, request, view)

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        body = self.get_body(data)
        if self.choices is not None:
            choices, warnings = capped(self.choices, self.all_key)
            body[self.all_key] = LabelChoiceSerializer(choices, many=True).data
            body = with_warnings(body, warnings)
        return Response(body)

    def get_body(self, data: Sequence[Any]) -> dict[str, Any]:
        """Return the response without the choices."""
        return {self.key: self.get_envelope(data)}

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        described = self.get_body_schema(schema)
        choice = object_schema({"id": TEXT, "title": TEXT, "slug": TEXT})
        described["properties"][self.all_key] = {"type": "array", "items": choice}
        described["properties"]["warnings"] = {"type": "array", "items": {"type": "object"}}
        return described

    def get_body_schema(self, schema: Schema) -> Schema:
        """Return the OpenAPI schema of the response without the choices."""
        return object_schema({self.key: self.get_envelope_schema(schema)})

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [
            *super().get_schema_operation_parameters(view),
            query_parameter("exclude_counts", "true leaves out the counts.", TEXT),
            query_parameter(self.all_key, f"true adds all {self.key}.", TEXT),
        ]


class TagPagination(LabelPagination):
    """Pages of tags: `{"tags": {…}, "all_tags": […]}`."""

    key, all_key = "tags", "all_tags"


class ContactListsPagination(LabelPagination):
    """Pages of lists, without FluentCRM's envelope: `{"lists": […], "pagination": {…}}`."""

    key, all_key = "lists", "all_lists"

    @override
    def get_body(self, data: Sequence[Any]) -> dict[str, Any]:
        return {self.key: data, "pagination": {"total": self.total}}

    @override
    def get_body_schema(self, schema: Schema) -> Schema:
        return object_schema({self.key: schema, "pagination": object_schema({"total": INTEGER})})


class SegmentPagination(FluentPagination):
    """Pages of segments: `{"segments": {…}}`."""

    key, long_column = "segments", "filters"

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [
            *super().get_schema_operation_parameters(view),
            query_parameter("exclude_counts", "Accepted and ignored.", TEXT),
        ]


# FluentCRM's form of a note: app/Services/Helper.php, getNoteSyncFields.
NOTE_FIELDS = {
    "type": {
        "type": "input-option",
        "label": "Type",
        "id": "fc_note_type",
        "name": "type",
        "options": [{"id": name, "label": label} for name, label in TYPES.items()],
    },
    "created_at": {
        "type": "input-date",
        "data_type": "datetime",
        "name": "created_at",
        "label": "Date Time",
        "id": "fc_note_title",
        "value_format": "yyyy-MM-dd HH:mm:ss",
        "help": "keep blank for current time",
    },
    "title": {
        "type": "input-text",
        "name": "title",
        "label": "Title",
        "id": "fc_note_title",
        "placeholder": "Your Note Title",
    },
    "description": {
        "type": "wp-editor",
        "name": "description",
        "label": "Description",
        "id": "fc_note_desc",
    },
}


class NotePagination(FluentPagination):
    """Pages of notes, and the fields of a form: `{"notes": {…}, "fields": {"fields": {…}}}`."""

    key, long_column = "notes", "description"

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({self.key: self.get_envelope(data), "fields": {"fields": NOTE_FIELDS}})

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        fields: Schema = {"type": "object", "additionalProperties": {}}
        return object_schema({self.key: self.get_envelope_schema(schema), "fields": fields})

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        search = query_parameter("search", "Part of the title.", TEXT)
        return [*super().get_schema_operation_parameters(view), search]
