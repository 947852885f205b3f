"""How the event calls are described."""

from rest_framework import serializers

from config.schema import (
    MESSAGE,
    PAGES,
    call,
    number,
    optional_text,
    page_shape,
    query,
    shape,
    text,
)
from events.serializers import TrackedEventSerializer

TRACK_EVENT = call(
    shape("EventTracked", {"message": text(), "id": number()}),
    fields=shape(
        "Event",
        {
            "event_key": serializers.CharField(max_length=192),
            "title": serializers.CharField(max_length=192),
            "email": optional_text(),
            "subscriber_id": serializers.IntegerField(required=False),
            "user_id": serializers.IntegerField(required=False),
            "value": serializers.CharField(required=False, allow_blank=True, max_length=65_535),
            "provider": serializers.CharField(required=False, allow_blank=True, max_length=50),
            "repeatable": serializers.BooleanField(required=False),
        },
    ),
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
    parameters=[query("option_key", "event_tracking_keys")],
)
