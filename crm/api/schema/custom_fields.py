"""Describe custom fields."""

from typing import Any

from rest_framework import serializers

from config.api.schema import (
    WARNINGS,
    describe,
    envelope,
    parameter,
)
from crm.api.schema.base import (
    choice,
    optional_text,
)
from crm.custom_fields import FIELD_KEYS
from crm.models import FieldType


class CustomFieldSerializer(serializers.Serializer[Any]):
    """The description of a custom field. crm/api/custom_fields.py makes it."""

    field_key = choice(*FIELD_KEYS.values())
    type = choice(*FieldType.values)
    label = serializers.CharField()  # type: ignore[assignment]  # FluentCRM's name
    slug = serializers.CharField()
    options = serializers.ListField(child=serializers.CharField(), required=False)
    group = optional_text()


CUSTOM_FIELDS = describe(
    envelope(
        "CustomFields",
        fields=CustomFieldSerializer(many=True),
        field_types=serializers.DictField(required=False),
        field_groups=serializers.ListField(child=serializers.DictField(), required=False),
    ),
    parameters=[
        parameter("with", schema={"enum": ["field_types", "field_groups"]}, many=True),
    ],
)


STORED_FIELDS = envelope(
    "StoredCustomFields",
    fields=CustomFieldSerializer(many=True),
    message=serializers.CharField(),
    **WARNINGS,
)


REPLACE_FIELDS = describe(
    STORED_FIELDS,
    request=envelope(
        "NewCustomFields",
        fields=serializers.ListSerializer(
            child=envelope(
                "NewCustomField",
                type=choice(*FieldType.values),
                label=serializers.CharField(),
                slug=optional_text(),
                options=serializers.ListField(child=serializers.CharField(), required=False),
                group=optional_text(),
            )
        ),
    ),
)


RENAME_GROUP = describe(
    STORED_FIELDS,
    request=envelope(
        "GroupName", old_name=serializers.CharField(), new_name=serializers.CharField()
    ),
)
