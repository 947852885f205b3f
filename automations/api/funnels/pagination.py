"""Paginate funnels and the contacts in them."""

from typing import ClassVar

from typing_extensions import override

from config.api.pagination import FluentPagination, Schema, object_schema, query_parameter
from config.api.viewsets import ApiViewSet

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
OBJECT: Schema = {"type": "object", "additionalProperties": {}}
SEARCH = query_parameter("search", "Part of the title, or of a contact's name or e-mail.", TEXT)


class SearchedPagination(FluentPagination):
    """Pages whose rows are searched, of objects that the description does not name one by one."""

    parameters: ClassVar[tuple[Schema, ...]] = (SEARCH,)
    # Keys beside the page that a response has with `with[]`.
    optional: ClassVar[dict[str, Schema]] = {}

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        body = object_schema({self.key: self.get_envelope_schema(schema)})
        return {**body, "properties": {**body["properties"], **self.optional}}

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [*super().get_schema_operation_parameters(view), *self.parameters]


class FunnelPagination(SearchedPagination):
    """Pages of funnels: `{"funnels": {…}}`."""

    # The view adds it. Triggers and conditions have up to 64 KB each.
    key, long_column = "funnels", "document_text"
    optional = {"triggers": OBJECT}  # noqa: RUF012
    parameters = (
        SEARCH,
        query_parameter("sort_by", "Column to sort by, id by default.", TEXT),
        query_parameter("sort_type", "ASC, or DESC by default.", TEXT),
        query_parameter("with[]", "triggers adds them.", TEXTS),
    )


class FunnelSubscriberPagination(SearchedPagination):
    """Pages of the contacts of a funnel: `{"funnel_subscribers": {…}}`."""

    key = "funnel_subscribers"
    optional = {"funnel": OBJECT, "sequences": {"type": "array", "items": OBJECT}}  # noqa: RUF012
    parameters = (
        SEARCH,
        query_parameter("status", "active, waiting, completed or cancelled.", TEXT),
        query_parameter("sequence_id", "Those that came to this step.", {"type": "integer"}),
        query_parameter("with[]", "funnel and sequences add them.", TEXTS),
    )


class FunnelRunPagination(SearchedPagination):
    """Pages of the funnels of a contact: `{"automations": {…}}`."""

    key = "automations"
    parameters = ()


class ActivityPagination(SearchedPagination):
    """Pages of what happened in all funnels: `{"activities": {…}}`."""

    key = "activities"
    parameters = (SEARCH, FunnelSubscriberPagination.parameters[1])
