"""Describe calls about one contact, the search for a form, and the neighbours of a contact."""

from rest_framework import serializers

from config.api.pagination import COUNT
from config.api.schema import (
    WARNINGS,
    MessageSerializer,
    describe,
    envelope,
    parameter,
)
from crm.api.schema.base import CONTACT, LABELS, SEARCH, choice, id_list, names
from crm.api.schema.custom_fields import CustomFieldSerializer
from crm.api.serializers import (
    SegmentSerializer,
    SubscriberSerializer,
)
from crm.models import Status

RETRIEVE_CONTACT = describe(
    envelope(
        "RetrievedContact",
        subscriber=SubscriberSerializer(),
        custom_fields=CustomFieldSerializer(many=True, required=False),
    ),
    parameters=[
        parameter("get_by_email", "With id 0: the contact's e-mail."),
        parameter(
            "with",
            schema={"enum": ["subscriber.custom_values", "custom_fields", "stats"]},
            many=True,
        ),
    ],
)


CREATE_CONTACT = describe(
    envelope(
        "CreatedContact",
        message=serializers.CharField(),
        contact=SubscriberSerializer(),
        action_type=choice("created", "updated"),
        **WARNINGS,
    ),
    request=envelope(
        "NewContact",
        **CONTACT
        | {"email": serializers.EmailField()}
        | {"status": serializers.ChoiceField(choices=Status.choices)}
        | LABELS
        | {"__force_update": choice("yes", required=False)},
    ),
)


UPDATE_CONTACT = describe(
    envelope(
        "UpdatedContact",
        message=serializers.CharField(),
        contact=SubscriberSerializer(),
        isDirty=serializers.BooleanField(),
        values=serializers.JSONField(),
        **WARNINGS,
    ),
    request=envelope(
        "ContactChange",
        email=serializers.EmailField(required=False),
        **CONTACT,
        **LABELS,
        **{
            name: names() for name in ("attach_tags", "detach_tags", "attach_lists", "detach_lists")
        },
    ),
)


DESTROY_CONTACTS = describe(
    MessageSerializer,
    # OpenAPI gives DELETE no body; a body with "subscribers" is accepted as well.
    parameters=[parameter("subscribers", "Ids of the contacts.", COUNT, many=True)],
)


SEARCH_CONTACTS = describe(
    envelope("FoundContacts", contacts=serializers.DictField(child=serializers.DictField())),
    parameters=[
        SEARCH,
        parameter("limit", "Number of contacts: 20 by default, at most 1000.", COUNT),
        parameter("values", "Ids of contacts to return in any case.", COUNT, many=True),
    ],
)


CONTACT_SEGMENTS = describe(
    envelope(
        "ContactSegments",
        segments=SegmentSerializer(many=True),
        **WARNINGS,
    )
)


PREV_NEXT_IDS = describe(
    envelope(
        "BesideContacts",
        navigation=envelope("BesideIds", next=id_list(), prev=id_list()),
        has_next=serializers.BooleanField(),
        has_prev=serializers.BooleanField(),
    ),
    parameters=[parameter("current_id", "The contact's id.", COUNT)],
    filters=True,
)
