"""Describe tags and lists."""

from rest_framework import serializers

from config.api.schema import (
    WARNINGS,
    describe,
    envelope,
    parameter,
)
from crm.api.schema.base import (
    optional_text,
)
from crm.api.serializers import (
    ContactListSerializer,
    TagSerializer,
)

LABEL = envelope(
    "Label",
    title=serializers.CharField(min_length=1),
    slug=optional_text(),
    description=optional_text(),
)


CREATE_LABEL = describe(
    envelope(
        "CreatedLabel",
        lists=TagSerializer(),
        item=TagSerializer(),
        message=serializers.CharField(),
        **WARNINGS,
    ),
    request=LABEL,
)


UPDATE_LABEL = describe(
    envelope(
        "UpdatedLabel",
        lists=serializers.IntegerField(),
        message=serializers.CharField(),
        **WARNINGS,
    ),
    request=LABEL,
)


DESTROY_LABEL = describe(
    envelope(
        "DeletedLabel",
        message=serializers.CharField(),
        **WARNINGS,
    ),
    parameters=[
        parameter("force", "1: also if segments use it. They are 422 until they are changed.")
    ],
)


DESTROY_LABELS = describe(
    envelope("DeletedLabels", message=serializers.CharField(), **WARNINGS),
    # The field of the other kind is ignored.
    request=envelope(
        "LabelDeletion",
        tagIds=serializers.ListField(
            child=serializers.IntegerField(min_value=0),
            required=False,
            max_length=1000,
            help_text="Of /tags: the ids of the tags.",
        ),
        listIds=serializers.ListField(
            child=serializers.IntegerField(min_value=0),
            required=False,
            max_length=1000,
            help_text="Of /lists: the ids of the lists.",
        ),
        force=serializers.BooleanField(
            required=False,
            help_text="Delete also if segments use them. They are 422 until they are changed.",
        ),
    ),
)


BULK_CREATE_LABELS = describe(
    envelope(
        "CreatedLabels",
        message=serializers.CharField(),
        ids=serializers.ListField(child=serializers.IntegerField()),
        errors=serializers.ListField(
            child=serializers.DictField(),
            required=False,
            help_text="Why an item was not stored: `index`, its position from 0, and `errors`.",
        ),
        **WARNINGS,
    ),
    request=envelope(
        "LabelBatch",
        items=serializers.ListSerializer(
            child=envelope("BatchLabel", title=serializers.CharField(), slug=optional_text())
        ),
    ),
)


RETRIEVE_TAG = describe(envelope("RetrievedTag", tag=TagSerializer()))


RETRIEVE_LIST = describe(ContactListSerializer)
