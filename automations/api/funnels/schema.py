"""Describe FluentCRM's endpoints of automations. The rows are objects as FluentCRM has them."""

from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers

from automations.funnels.rows import FUNNEL_STATUSES
from config.api.pagination import COUNT
from config.api.schema import describe, envelope, ids, parameter
from crm.api.schema.base import MESSAGE, choice, objects, optional_text

__all__ = ["MESSAGE"]


def an_object() -> serializers.DictField:
    """Return the description of an object."""
    return serializers.DictField()


# Of any keys, because FluentCRM's rows are many.
ROWS = OpenApiTypes.OBJECT
FUNNEL = envelope("FunnelResponse", message=serializers.CharField(), funnel=an_object())
LIST = describe(ROWS, filters=False)
CREATE = describe(
    FUNNEL,
    request=envelope(
        "NewFunnel",
        funnel=envelope(
            "NewFunnelFields",
            trigger_name=serializers.CharField(),
            title=optional_text(),
            description=optional_text(),
            settings=serializers.DictField(required=False),
            conditions=serializers.DictField(required=False),
        ),
    ),
)
RETRIEVE = describe(
    envelope(
        "RetrievedFunnel",
        funnel=an_object(),
        blocks=serializers.DictField(required=False),
        block_fields=serializers.DictField(required=False),
        composer_context_codes=serializers.ListField(required=False),
        funnel_sequences=serializers.ListField(child=an_object(), required=False),
    )
)
OVERDUE = envelope(
    "OverdueFunnel",
    message=serializers.CharField(),
    error_code=serializers.CharField(),
    overdue=serializers.IntegerField(),
)
MESSAGE_BODY = envelope("FunnelMessage", message=serializers.CharField())
UPDATE = describe(
    MESSAGE_BODY,
    request=envelope(
        "FunnelStatus",
        status=choice(*FUNNEL_STATUSES),
        overdue=choice("run", "cancel", required=False),
    ),
    unprocessable=OVERDUE,
)
TRIGGERS = describe(envelope("FunnelTriggers", triggers=an_object()))
CLONE = describe(FUNNEL)
REPORT = describe(envelope("FunnelReport", stats=an_object()))
TITLE = describe(
    MESSAGE_BODY, request=envelope("FunnelTitle", title=serializers.CharField(min_length=1))
)
DO_BULK_ACTION = describe(
    MESSAGE_BODY,
    request=envelope(
        "FunnelBulkAction",
        action_name=choice("change_funnel_status", "delete_funnels"),
        funnel_ids=ids(),
        status=choice(*FUNNEL_STATUSES, required=False),
    ),
    unprocessable=OVERDUE,
)
SUBSCRIBERS = describe(ROWS, filters=False)
REMOVE_SUBSCRIBERS = describe(
    MESSAGE_BODY,
    # OpenAPI gives DELETE no body. One with "subscriber_ids" is accepted as well.
    parameters=[parameter("subscriber_ids", "Ids of the contacts.", COUNT, many=True)],
    filters=False,
)
SUBSCRIBER = describe(
    envelope(
        "FunnelSubscriber",
        funnel_subscriber=serializers.DictField(allow_null=True),
        sequences=objects(),
    )
)
SUBSCRIBER_STATUS = describe(
    MESSAGE_BODY,
    request=envelope("FunnelSubscriberStatus", status=serializers.CharField(min_length=1)),
)
CONTACT_FUNNELS = describe(ROWS, filters=False)
ACTIVITIES = describe(ROWS, filters=False)
REMOVE_BULK = describe(MESSAGE_BODY, request=envelope("FunnelRuns", funnel_subscriber_ids=ids()))
CHANGE_TRIGGER = describe(
    FUNNEL,
    request=envelope(
        "FunnelTrigger",
        trigger_name=serializers.CharField(),
        title=serializers.CharField(min_length=1),
        settings=serializers.DictField(required=False),
        conditions=serializers.DictField(required=False),
    ),
)
SAVED = {
    "sequences": serializers.ListField(
        child=serializers.DictField(), help_text="Or the text of its JSON."
    ),
    "funnel_settings": serializers.DictField(required=False),
    "conditions": serializers.DictField(required=False),
    "funnel_title": optional_text(),
    "funnel_description": optional_text(),
}
SAVED_SEQUENCES = envelope("SavedSequences", message=serializers.CharField(), sequences=objects())
SEQUENCES = describe(SAVED_SEQUENCES, request=envelope("FunnelSequences", **SAVED))
SAVE_SEQUENCES = describe(
    SAVED_SEQUENCES,
    request=envelope("SequencesOfFunnel", funnel_id=serializers.IntegerField(min_value=1), **SAVED),
    names_row=True,
)
