"""How the event calls are described."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from config.api.schema import (
    COUNT,
    MESSAGE,
    PAGES,
    PER_PAGE,
    REFUSALS,
    answer_header,
    call,
    nullable_text,
    number,
    optional_text,
    page_shape,
    query,
    shape,
    text,
)
from events.api.serializers import OccurrenceSerializer, TrackedEventSerializer

EVENT = {
    "event_key": serializers.CharField(min_length=1, max_length=192),
    "title": serializers.CharField(min_length=1, max_length=192),
    "email": optional_text(),
    "subscriber_id": serializers.IntegerField(required=False, min_value=0),
    "user_id": serializers.IntegerField(required=False, min_value=0),
    "value": serializers.CharField(required=False, allow_blank=True, max_length=65_535),
    "provider": serializers.CharField(required=False, allow_blank=True, max_length=50),
    "repeatable": serializers.BooleanField(required=False),
    "properties": serializers.DictField(required=False, help_text="Whatever belongs to it."),
    "context": serializers.DictField(
        required=False, help_text="Where it came from: url, referrer, ip, user agent, utm_*."
    ),
    "occurred_at": serializers.CharField(
        required=False, help_text="ISO 8601, or YYYY-MM-DD HH:MM:SS in TIME_ZONE; default now."
    ),
    "idempotency_key": serializers.CharField(
        required=False,
        min_length=1,
        max_length=255,
        help_text="The same key again counts nothing.",
    ),
}
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The same call with the same key again counts nothing; up to 255 characters.",
)
REPLAYED = answer_header("Idempotency-Replayed", 200, required=False)
TRACK_EVENT = call(
    shape("EventTracked", {"message": text(), "id": number()}),
    fields=shape("Event", EVENT),
    parameters=[IDEMPOTENCY_KEY, REPLAYED],
)
TRACK_EVENTS = call(
    shape(
        "EventsTracked",
        {
            "tracked": number(),
            "failed": number(),
            "results": serializers.ListField(child=serializers.DictField()),
        },
    ),
    fields={
        "application/json": shape("EventBatch", {"events": shape("BatchEvent", EVENT, many=True)}),
        "application/x-ndjson": OpenApiTypes.STR,
    },
    parameters=[query("atomic", "1: all events or none.", kind={"enum": ["1", "0"]}), REPLAYED],
    refusals=[*REFUSALS, {"$ref": "#/components/schemas/EventsTracked"}],
)
OCCURRENCES = call(
    shape("Occurrences", {"occurrences": page_shape("OccurrencePage", OccurrenceSerializer)}),
    parameters=PAGES,
    missing=True,
)
TIMELINE = call(
    shape(
        "Timeline",
        {
            "timeline": shape(
                "TimelinePage",
                {
                    "data": OccurrenceSerializer(many=True),
                    "next_cursor": nullable_text(),
                },
            )
        },
    ),
    parameters=[
        query("event_key"),
        query("provider"),
        query("from", "A date or a time; it belongs to what is asked for."),
        query("to", "A date or a time; it belongs to what is asked for."),
        query("cursor", "next_cursor of the page before."),
        PER_PAGE,
    ],
    missing=True,
)
TRACKING_EVENTS = call(
    shape("TrackingEvents", {"events": page_shape("EventPage", TrackedEventSerializer)}),
    parameters=PAGES,
    missing=True,
)
EXPERIMENT = serializers.ChoiceField(choices=["yes", "no"])
EXPERIMENTS = call(
    shape("Experiments", {"settings": shape("Settings", {"event_tracking": EXPERIMENT})})
)
UPDATE_EXPERIMENTS = call(
    MESSAGE,
    fields=shape(
        "ExperimentsChange", {"settings": shape("SettingsChange", {"event_tracking": EXPERIMENT})}
    ),
)
OPTIONS = call(
    shape("Options", {"options": shape("Option", {"id": text(), "title": text()}, many=True)}),
    parameters=[query("option_key", "event_tracking_keys or event_tracking_providers.")],
)

# ActiveCampaign's.
EVENT_CALL = call(
    shape("EventSpawned", {"success": number(), "message": text()}),
    fields=shape(
        "EventCall",
        {
            "actid": text(),
            "key": text(),
            "event": text(),
            "eventdata": optional_text(),
            "visit": serializers.CharField(
                required=False, help_text="JSON of email, url, referrer, ip4, ip6, ua, utm_* …"
            ),
            "api_key": optional_text(),
        },
    ),
    parameters=[IDEMPOTENCY_KEY, REPLAYED],
    refusals=None,
)
SWITCH_SHAPE = shape(
    "EventTracking",
    {"eventTracking": shape("EventTrackingEnabled", {"enabled": serializers.BooleanField()})},
)
SWITCH = call(SWITCH_SHAPE)
UPDATE_SWITCH = call(SWITCH_SHAPE, fields=SWITCH_SHAPE)
EVENT_NAME = {"name": serializers.CharField(min_length=1, max_length=192)}
EVENT_NAMES = call(
    shape(
        "EventNames",
        {
            "eventTrackingEvents": shape("EventNameRow", EVENT_NAME, many=True),
            "meta": shape("EventNamesMeta", {"total": number()}),
        },
    ),
    parameters=[
        query("limit", "100, and at most 1000.", kind=COUNT),
        query("offset", "From 0.", kind=COUNT),
    ],
)
EVENT_NAME_SHAPE = shape(
    "EventNameStored", {"eventTrackingEvent": shape("EventNameFields", EVENT_NAME)}
)
STORE_EVENT_NAME = call(EVENT_NAME_SHAPE, fields=EVENT_NAME_SHAPE, created=True)
DELETE_EVENT_NAME = call(shape("EventNameDeleted", {}), missing=True)
