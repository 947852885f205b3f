"""Paginate the catalogue of event names as ActiveCampaign does."""

from rest_framework import serializers
from typing_extensions import override

from config.api.pagination import INTEGER, MAX_PER_PAGE, Schema, object_schema
from config.api.serializers import RowSerializer
from config.api.validation import MAX_NAME_LENGTH
from crm.activecampaign.pagination import OffsetPagination


class EventNameSerializer(RowSerializer):
    """An event name."""

    name = serializers.CharField(min_length=1, max_length=MAX_NAME_LENGTH)


class EventNamePagination(OffsetPagination):
    """Pages of names: `{"eventTrackingEvents": […], "meta": {"total": 3}}`."""

    key = "eventTrackingEvents"
    limit = 100
    max_limit = MAX_PER_PAGE

    @property
    @override
    def shown_total(self) -> int:
        return self.total

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        return object_schema({self.key: schema, "meta": object_schema({"total": INTEGER})})
