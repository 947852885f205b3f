"""Describe incoming webhooks."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from config.api.schema import (
    FieldWarningSerializer,
    describe,
    envelope,
    parameter,
)
from crm.api.schema.base import (
    LABELS,
    Fields,
    objects,
    optional_text,
)
from crm.models import Status


class WebhookSerializer(serializers.Serializer[Any]):
    """What an incoming webhook does, and its address."""

    name = serializers.CharField()
    lists = serializers.ListField(child=serializers.IntegerField())
    tags = serializers.ListField(child=serializers.IntegerField())
    status = serializers.ChoiceField(choices=Status.choices)
    url = serializers.CharField()


class StoredWebhookSerializer(serializers.Serializer[Any]):
    """An incoming webhook as crm/api/views/webhooks.py serializes it."""

    id = serializers.IntegerField()
    object_type = serializers.CharField()
    object_id = serializers.CharField(allow_null=True)
    key = serializers.CharField()
    value = WebhookSerializer()
    created_at = serializers.CharField()
    updated_at = serializers.CharField()


# One object, although the action is called list.
@extend_schema_serializer(many=False)
class WebhooksSerializer(serializers.Serializer[Any]):
    """The incoming webhooks, and the fields and labels that a post may name."""

    webhooks = StoredWebhookSerializer(many=True)
    fields = objects()  # type: ignore[assignment]  # FluentCRM's name
    custom_fields = objects()
    tags = objects()
    lists = objects()
    warnings = FieldWarningSerializer(many=True, required=False)


LIST_WEBHOOKS = describe(WebhooksSerializer, parameters=[parameter("search", "Part of the name.")])


WEBHOOK_CHANGE: Fields = {
    "name": serializers.CharField(),
    "status": serializers.ChoiceField(choices=Status.choices),
    **LABELS,
}


CREATE_WEBHOOK = describe(
    envelope(
        "CreatedWebhook",
        id=serializers.IntegerField(),
        webhook=WebhookSerializer(),
        webhooks=StoredWebhookSerializer(many=True),
        message=serializers.CharField(),
    ),
    request=envelope("NewWebhook", **WEBHOOK_CHANGE),
)


WRITTEN_WEBHOOKS = envelope(
    "WrittenWebhooks",
    webhooks=StoredWebhookSerializer(many=True),
    message=serializers.CharField(),
)


UPDATE_WEBHOOK = describe(
    WRITTEN_WEBHOOKS,
    request=envelope(
        "WebhookChange",
        name=optional_text(),
        status=serializers.ChoiceField(choices=Status.choices, required=False),
        **LABELS,
    ),
)


DESTROY_WEBHOOK = describe(WRITTEN_WEBHOOKS)
