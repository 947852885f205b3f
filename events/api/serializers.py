"""Serialize events and occurrences, as FluentCRM shows them."""

from typing import Any

from rest_framework import serializers
from typing_extensions import override

from config.api.serializers import FluentDateTimeField, RawJSONObjectField, RowSerializer
from events.models import TrackedEvent


class TrackedEventSerializer(RowSerializer):
    """An event.

    See tests/conformance/track-event.json: "tracks an event by e-mail and lists it".
    """

    id = serializers.IntegerField()
    subscriber_id = serializers.CharField()
    counter = serializers.CharField()
    created_by = serializers.CharField(source="created_by_id")
    provider = serializers.CharField()
    event_key = serializers.CharField()
    title = serializers.CharField()
    value = serializers.CharField(allow_blank=True)
    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()

    @override
    def to_representation(self, instance: TrackedEvent) -> dict[str, Any]:
        row = super().to_representation(instance)
        row["created_by"] = row["created_by"] or "0"
        return row


class OccurrenceSerializer(RowSerializer):
    """An occurrence, as events/history.py reads it."""

    id = serializers.IntegerField()
    event_id = serializers.IntegerField()
    event_key = serializers.CharField()
    title = serializers.CharField()
    provider = serializers.CharField()
    value = serializers.CharField(allow_blank=True)
    properties = RawJSONObjectField()
    context = RawJSONObjectField()  # type: ignore[assignment]  # DRF's own attribute
    counter = serializers.CharField()
    occurred_at = FluentDateTimeField()
    received_at = FluentDateTimeField()
