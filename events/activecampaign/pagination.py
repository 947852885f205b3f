"""Paginate the catalogue of event names as ActiveCampaign does."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from typing_extensions import override

from config.api.pagination import (
    COUNT,
    INTEGER,
    MAX_PER_PAGE,
    Schema,
    object_schema,
    query_parameter,
)
from config.api.responses import Response
from config.api.serializers import RowSerializer
from config.api.validation import MAX_NAME_LENGTH, validate
from config.api.viewsets import ApiViewSet
from events.activecampaign.fields import PAGE_FIELDS
from events.models import EventName

NAMES_PER_PAGE = 100


class EventNameSerializer(RowSerializer):
    """An event name."""

    name = serializers.CharField(min_length=1, max_length=MAX_NAME_LENGTH)


class EventNamePagination(BasePagination):
    """Pages by offset and limit: `{"eventTrackingEvents": […], "meta": {"total": 3}}`."""

    total: int

    @override
    def paginate_queryset(
        self, queryset: QuerySet[EventName], request: Request, view: ApiViewSet
    ) -> Sequence[EventName]:
        params = {"offset": 0, "limit": NAMES_PER_PAGE} | validate(PAGE_FIELDS, view.params)
        start = params["offset"]
        rows = list(queryset[start : start + min(params["limit"], MAX_PER_PAGE)])
        self.total = queryset.count()
        return rows

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({"eventTrackingEvents": data, "meta": {"total": self.total}})

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        meta = object_schema({"total": INTEGER})
        return object_schema({"eventTrackingEvents": schema, "meta": meta})

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [
            query_parameter("limit", "Number of names: 100 by default, at most 1000.", COUNT),
            query_parameter("offset", "Number of names to skip.", COUNT),
        ]
