"""Describe ActiveCampaign's requests and responses in OpenAPI."""

from typing import Any

from rest_framework import serializers

from config.api.pagination import COUNT
from config.api.schema import WARNINGS, describe, envelope, parameter
from events.activecampaign.pagination import EventNameSerializer
from events.api.schema import IDEMPOTENCY_KEY, REPLAYED

EVENT_CALL = describe(
    envelope(
        "EventSpawned",
        success=serializers.IntegerField(),
        message=serializers.CharField(),
        **WARNINGS,
    ),
    request=envelope(
        "EventCall",
        actid=serializers.CharField(),
        key=serializers.CharField(),
        event=serializers.CharField(),
        eventdata=serializers.CharField(required=False),
        visit=serializers.CharField(
            required=False, help_text="JSON of email, url, referrer, ip4, ip6, ua, utm_* …"
        ),
        occurred_at=serializers.CharField(
            required=False, help_text="As for track-event. Default: now."
        ),
        api_key=serializers.CharField(required=False),
    ),
    parameters=[IDEMPOTENCY_KEY, REPLAYED],
)
EVENT_TRACKING = envelope(
    "EventTracking",
    eventTracking=envelope("EventTrackingEnabled", enabled=serializers.BooleanField()),
)
SWITCH = describe(EVENT_TRACKING)
UPDATE_SWITCH = describe(EVENT_TRACKING, request=EVENT_TRACKING)
CREATE_EVENT_NAME = describe(
    envelope("StoredEventName", eventTrackingEvent=EventNameSerializer(), **WARNINGS),
    request=envelope("NewEventName", eventTrackingEvent=EventNameSerializer()),
    created=True,
)
DESTROY_EVENT_NAME = describe(envelope("DeletedEventName"))


class TrackingLogSerializer(serializers.Serializer[Any]):
    """The description of a tracking log, which events/activecampaign/logs.py makes."""

    id = serializers.CharField()
    contact = serializers.CharField()
    subscriberid = serializers.CharField()
    type = serializers.CharField()
    value = serializers.CharField()
    tstamp = serializers.CharField()
    hash = serializers.CharField()
    links = serializers.DictField()


PAGE = [
    parameter("limit", "Number of rows: 20 by default, at most 100.", COUNT),
    parameter("offset", "Number of rows to skip.", COUNT),
]
TRACKING_LOGS = describe(
    envelope("TrackingLogs", trackingLogs=TrackingLogSerializer(many=True)), parameters=PAGE
)
ACTIVITIES = describe(
    envelope(
        "Activities",
        activities=serializers.ListField(child=serializers.DictField()),
        trackingLogs=TrackingLogSerializer(many=True),
    ),
    parameters=[parameter("contact", "The id of a contact."), *PAGE],
)
