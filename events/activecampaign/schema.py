"""Describe ActiveCampaign's requests and responses in OpenAPI."""

from rest_framework import serializers

from config.api.schema import WARNINGS, describe, envelope
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
