"""Serialize events and occurrences, as FluentCRM shows them."""

from rest_framework import serializers

from config.api.serializers import FluentDateTimeField, RawJSONObjectField, RowSerializer, StrField


class TrackedEventSerializer(RowSerializer):
    """An event, as events/history.py reads it.

    See tests/conformance/track-event.json: "tracks an event by e-mail and lists it".
    """

    id = serializers.IntegerField()
    subscriber_id = StrField()
    counter = StrField()
    created_by = StrField()
    provider = serializers.CharField()
    event_key = serializers.CharField()
    title = serializers.CharField()
    value = serializers.CharField(allow_blank=True)
    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()


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
    counter = StrField()
    occurred_at = FluentDateTimeField()
    received_at = FluentDateTimeField()
