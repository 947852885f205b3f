"""Describe segments, and the properties to filter by."""

from rest_framework import serializers

from config.api.schema import (
    WARNINGS,
    describe,
    envelope,
)
from crm.api.schema.base import (
    optional_text,
)
from crm.api.serializers import (
    ConditionSerializer,
    SegmentSerializer,
    SubscriberSerializer,
)

FILTER_OPTIONS = describe(
    envelope(
        "FilterOptions",
        options=serializers.ListSerializer(
            child=envelope(
                "FilterProvider",
                label=serializers.CharField(),
                value=serializers.CharField(),
                children=serializers.ListField(child=serializers.DictField()),
            )
        ),
    )
)


def filters(required: bool = True) -> serializers.ListField:
    """Return the description of a segment's filter."""
    return serializers.ListField(
        child=ConditionSerializer(many=True),
        required=required,
        help_text="As advanced_filters of the list of contacts.",
    )


STORED_SEGMENT = envelope(
    "StoredSegment", message=serializers.CharField(), segment=SegmentSerializer(), **WARNINGS
)


CREATE_SEGMENT = describe(
    STORED_SEGMENT,
    request=envelope(
        "NewSegment", title=serializers.CharField(), slug=optional_text(), filters=filters()
    ),
)


RETRIEVE_SEGMENT = describe(envelope("RetrievedSegment", segment=SegmentSerializer()))


UPDATE_SEGMENT = describe(
    STORED_SEGMENT,
    request=envelope(
        "SegmentChange",
        title=optional_text(),
        slug=optional_text(),
        filters=filters(required=False),
    ),
)


SEGMENT_CONTACTS = describe(SubscriberSerializer(many=True))
