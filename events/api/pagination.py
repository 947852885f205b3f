"""Paginate events and occurrences."""

from collections.abc import Sequence
from typing import Any

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from typing_extensions import override

from config.api.pagination import (
    NULLABLE_STRING,
    PER_PAGE_PARAMETER,
    FluentPagination,
    Schema,
    object_schema,
    page_size,
    query_parameter,
)
from config.api.responses import Response
from config.api.viewsets import ApiViewSet
from events.history import Cursor, Occurrence, Timeline

TEXT: Schema = {"type": "string"}


class EventPagination(FluentPagination):
    """Pages of a contact's events: `{"events": {…}}`."""

    key = "events"


class OccurrencePagination(FluentPagination):
    """Pages of an event's occurrences: `{"occurrences": {…}}`."""

    key = "occurrences"


class TimelinePagination(BasePagination):
    """Pages of a timeline from a cursor on: `{"timeline": {"data": […], "next_cursor": …}}`.

    DRF's CursorPagination has no cursor of a datetime with microseconds and an id.
    """

    next_cursor: Cursor | None

    @override
    def paginate_queryset(
        self, queryset: Timeline, request: Request, view: ApiViewSet
    ) -> Sequence[Occurrence]:
        rows, self.next_cursor = queryset.page(page_size(view.params))
        return rows

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        next_cursor = str(self.next_cursor) if self.next_cursor else None
        return Response({"timeline": {"data": data, "next_cursor": next_cursor}})

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        page = object_schema({"data": schema, "next_cursor": NULLABLE_STRING})
        return object_schema({"timeline": page})

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [
            query_parameter("event_key", "Occurrences with this event key.", TEXT),
            query_parameter("provider", "Occurrences that this program sent.", TEXT),
            query_parameter("from", "Inclusive start: a date or a datetime.", TEXT),
            query_parameter("to", "Inclusive end: a date or a datetime.", TEXT),
            query_parameter("cursor", "next_cursor of the previous page.", TEXT),
            PER_PAGE_PARAMETER,
        ]
