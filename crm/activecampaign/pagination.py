"""Paginate lists as ActiveCampaign does: by `limit` and `offset`, with `meta.total`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from typing_extensions import override

from config.api.pagination import COUNT, Schema, object_schema, query_parameter
from config.api.responses import Response
from config.api.validation import MAX_ID, Validator, to_bigint, validate
from config.api.viewsets import ApiViewSet
from crm.models import Subscriber
from crm.selectors import page_ids_and_total

PAGE_FIELDS: dict[str, Validator] = {"offset": to_bigint, "limit": to_bigint}


class OffsetPagination(BasePagination):
    """A page below `key`: `{"tags": […], "meta": {"total": "3"}}`."""

    key: ClassVar[str]
    # The number of rows without `limit`, and at most.
    limit: ClassVar[int] = 20
    max_limit: ClassVar[int] = 100
    # What ActiveCampaign sends beside the page.
    beside: ClassVar[dict[str, Any]] = {}
    total: int

    @override
    def paginate_queryset(
        self, queryset: QuerySet[Any], request: Request, view: ApiViewSet
    ) -> Sequence[Any]:
        params = {"offset": 0, "limit": self.limit} | validate(PAGE_FIELDS, view.params)
        limit = min(params["limit"], self.max_limit)
        rows, self.total = self.get_rows(queryset, min(params["offset"], MAX_ID - limit), limit)
        return rows

    def get_rows(
        self, queryset: QuerySet[Any], start: int, limit: int
    ) -> tuple[Sequence[Any], int]:
        """Return the rows of a page and the total number of rows."""
        return list(queryset[start : start + limit]), queryset.count()

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({**self.beside, self.key: data, "meta": {"total": self.shown_total}})

    @property
    def shown_total(self) -> int | str:
        """The total, which ActiveCampaign writes as text."""
        return str(self.total)

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        beside: Schema = {name: {"type": "array", "items": {}} for name in self.beside}
        meta = object_schema({"total": {"type": "string"}})
        return object_schema({**beside, self.key: schema, "meta": meta})

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        limit = f"Number of rows: {self.limit} by default, at most {self.max_limit}."
        return [
            query_parameter("limit", limit, COUNT),
            query_parameter("offset", "Number of rows to skip.", COUNT),
        ]


class ACContactPagination(OffsetPagination):
    """Pages of contacts."""

    key = "contacts"
    beside: ClassVar[dict[str, Any]] = {"scoreValues": []}

    @override
    def get_rows(
        self, queryset: QuerySet[Subscriber], start: int, limit: int
    ) -> tuple[list[Subscriber], int]:
        if not queryset.query.where:
            return list(queryset[start : start + limit]), queryset.count()
        ids, total = page_ids_and_total(queryset, start, limit)
        rows = Subscriber.objects.in_bulk(ids)
        return [rows[each] for each in ids if each in rows], total


class ACTagPagination(OffsetPagination):
    """Pages of tags."""

    key = "tags"


class ACListPagination(OffsetPagination):
    """Pages of lists."""

    key = "lists"


class ACFieldPagination(OffsetPagination):
    """Pages of custom fields."""

    key = "fields"
    limit = 100
    beside: ClassVar[dict[str, Any]] = {"fieldRels": []}

    @override
    def get_paginated_response(self, data: Any) -> Response:
        fields = [field for field, _ in data]
        options = [option for _, options in data for option in options]
        body = super().get_paginated_response(fields).data
        return Response({"fieldOptions": options, **body})
