"""Describe the requests and the message envelopes of the endpoints of events in OpenAPI."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from config.api.schema import (
    WARNINGS,
    describe,
    envelope,
    parameter,
    response_header,
)
from crm.merge_plans import CHOICES
from crm.models import Status
from events.api.serializers import OccurrenceSerializer, TrackedEventSerializer
from events.tracking.fields import EVENT_FIELDS, MAX_IDEMPOTENCY_KEY_LENGTH

EVENT = {name: field.description for name, field in EVENT_FIELDS.items()}
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="A second request with the same key counts nothing. Up to 255 characters.",
)
REPLAYED = response_header("Idempotency-Replayed", 200)

TRACK_EVENT = describe(
    envelope(
        "TrackedEventReference",
        message=serializers.CharField(),
        id=serializers.IntegerField(),
        **WARNINGS,
    ),
    request=envelope("Event", **EVENT),
    parameters=[IDEMPOTENCY_KEY, REPLAYED],
)
EVENT_OUTCOMES = envelope(
    "EventOutcomes",
    tracked=serializers.IntegerField(),
    failed=serializers.IntegerField(),
    results=serializers.ListField(child=serializers.DictField()),
)
TRACK_EVENTS = describe(
    EVENT_OUTCOMES,
    request={
        "application/json": envelope(
            "EventBatch",
            events=serializers.ListSerializer(child=envelope("BatchEvent", **EVENT)),
            atomic=serializers.BooleanField(required=False, help_text="As the parameter."),
        ),
        "application/x-ndjson": OpenApiTypes.STR,
    },
    parameters=[
        parameter("atomic", "1: all events or none.", {"enum": ["1", "0"]}),
        REPLAYED,
    ],
    unprocessable=EVENT_OUTCOMES,
)
TRACKING_EVENTS = describe(TrackedEventSerializer(many=True))
OCCURRENCES = TIMELINE = describe(OccurrenceSerializer(many=True))
TAKEN_BACK = envelope(
    "TakenBack",
    message=serializers.CharField(),
    id=serializers.IntegerField(help_text="The id of the event."),
    counter=serializers.CharField(help_text="0: the event is deleted."),
)
TAKE_BACK = describe(TAKEN_BACK)
TAKE_BACK_EVENT = describe(
    TAKEN_BACK,
    names_row=True,
    request=envelope(
        "TakeBack",
        idempotency_key=serializers.CharField(
            min_length=1,
            max_length=MAX_IDEMPOTENCY_KEY_LENGTH,
            help_text="Of an event that the same application password sent.",
        ),
    ),
)
MERGE = describe(
    envelope(
        "Merged",
        message=serializers.CharField(),
        id=serializers.IntegerField(help_text="The contact that stays."),
        other_id=serializers.IntegerField(
            allow_null=True, help_text="The contact that is part of it now. Null: it was before."
        ),
        dry_run=serializers.BooleanField(),
        counts=serializers.DictField(child=serializers.IntegerField()),
        changes=serializers.DictField(
            child=envelope("Change", old=serializers.JSONField(), new=serializers.JSONField())
        ),
    ),
    request=envelope(
        "Merge",
        other_id=serializers.IntegerField(required=False, min_value=0),
        other_email=serializers.CharField(required=False),
        take=serializers.ListField(
            child=serializers.ChoiceField(choices=CHOICES),
            required=False,
            help_text="Columns whose value comes from the other contact.",
        ),
        status=serializers.ChoiceField(
            choices=Status.choices,
            required=False,
            help_text="The status of one of the contacts, in place of an opt-out of the other.",
        ),
        dry_run=serializers.BooleanField(required=False),
    ),
)

EXPERIMENT = serializers.ChoiceField(choices=["yes", "no"])
EXPERIMENTS = describe(
    envelope("Experiments", settings=envelope("Settings", event_tracking=EXPERIMENT))
)
UPDATE_EXPERIMENTS = describe(
    envelope("ChangedExperiments", message=serializers.CharField(), **WARNINGS),
    request=envelope(
        "ExperimentsChange", settings=envelope("SettingsChange", event_tracking=EXPERIMENT)
    ),
)
AJAX_OPTIONS = describe(
    envelope(
        "Options",
        options=serializers.ListSerializer(
            child=envelope("Option", id=serializers.CharField(), title=serializers.CharField())
        ),
        **WARNINGS,
    ),
    parameters=[parameter("option_key", "event_tracking_keys or event_tracking_providers.")],
)
