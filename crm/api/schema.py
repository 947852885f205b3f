"""Describe the requests and the message envelopes of the endpoints of contacts in OpenAPI.

Rows, pages and query parameters follow from serializers, pagination and filter backends.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers
from typing_extensions import override

from config.api.pagination import COUNT
from config.api.schema import (
    WARNINGS,
    FieldWarningSerializer,
    MessageSerializer,
    describe,
    envelope,
    ids,
    parameter,
)
from crm.api.fields import TEXT_COLUMNS
from crm.api.serializers import (
    AddedNoteSerializer,
    ConditionSerializer,
    ContactListSerializer,
    ContactReferenceSerializer,
    SegmentSerializer,
    StoredNoteSerializer,
    SubscriberSerializer,
    TagSerializer,
)
from crm.custom_fields import FIELD_KEYS
from crm.models import FieldType, Status
from crm.notes import MAX_DESCRIPTION_LENGTH

Fields = dict[str, Any]


def optional_text() -> serializers.CharField:
    """Return the description of an optional text."""
    return serializers.CharField(required=False)


def names() -> serializers.ListField:
    """Return the description of an optional list of ids, titles or slugs."""
    return serializers.ListField(child=serializers.CharField(), required=False)


def degrees() -> serializers.FloatField:
    """Return the description of an optional coordinate."""
    return serializers.FloatField(required=False, allow_null=True, min_value=-180, max_value=180)


def choice(*choices: str, required: bool = True) -> serializers.ChoiceField:
    """Return the description of one of these texts."""
    return serializers.ChoiceField(choices=choices, required=required)


class CustomFieldSerializer(serializers.Serializer[Any]):
    """The description of a custom field. crm/api/custom_fields.py makes it."""

    field_key = choice(*FIELD_KEYS.values())
    type = choice(*FieldType.values)
    label = serializers.CharField()  # type: ignore[assignment]  # FluentCRM's name
    slug = serializers.CharField()
    options = serializers.ListField(child=serializers.CharField(), required=False)
    group = optional_text()


def id_list() -> serializers.ListField:
    """Return the description of a list of ids in a response."""
    return serializers.ListField(child=serializers.IntegerField())


KEEP_OPT_OUTS: Fields = {
    "keep_opt_outs": serializers.BooleanField(
        required=False,
        help_text="false lets contacts be mailed again that are unsubscribed, complained, bounced "
        "or spammed.",
    )
}
CONTACT: Fields = {
    "user_id": optional_text(),
    **{name: optional_text() for name in (*TEXT_COLUMNS, "full_name", "contact_type")},
    "status": serializers.ChoiceField(choices=Status.choices, required=False),
    "avatar": serializers.RegexField("^(https?://|/)", required=False),
    "date_of_birth": serializers.DateField(required=False, allow_null=True),
    "latitude": degrees(),
    "longitude": degrees(),
    "total_points": serializers.IntegerField(required=False, min_value=0),
    "life_time_value": serializers.IntegerField(required=False, min_value=0),
    "custom_values": serializers.DictField(required=False),
}
LABELS: Fields = {"tags": names(), "lists": names()}
SEARCH = parameter("search", "Part of any text of the object.")

MESSAGE = describe(MessageSerializer)


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


def objects() -> serializers.ListField:
    """Return the description of a list of objects."""
    return serializers.ListField(child=serializers.DictField())


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

UPDATE_PROPERTY = describe(
    envelope("ChangedProperty", message=serializers.CharField(), **WARNINGS),
    request=envelope(
        "ContactProperty",
        property=choice("status", "contact_type", "avatar"),
        value=serializers.CharField(),
        subscribers=ids(),
        **KEEP_OPT_OUTS,
    ),
)
SYNC_LABELS = describe(
    envelope(
        "SyncedContacts",
        message=serializers.CharField(),
        subscribers=SubscriberSerializer(many=True),
        **WARNINGS,
    ),
    request=envelope(
        "LabelSync",
        type=choice("tags", "lists"),
        attach=names(),
        detach=names(),
        find_by=choice("slug", "title", "id", required=False),
        subscribers=ids(),
    ),
)


class WrittenContactSerializer(ContactReferenceSerializer):
    """A contact in the response to a batch, with what was not written as sent."""

    warnings = FieldWarningSerializer(many=True, required=False)


class RejectedContactSerializer(serializers.Serializer[Any]):
    """Why a contact of a batch was rejected."""

    index = serializers.IntegerField(help_text="The position in `contacts`, from 0.")
    email = serializers.JSONField(help_text="As sent.")

    # As a class attribute, `errors` would hide the serializer's own.
    @override
    def get_fields(self) -> Fields:
        errors = serializers.DictField(child=serializers.DictField(child=serializers.CharField()))
        return {**super().get_fields(), "errors": errors}


BULK_ADD_UPDATE = describe(
    envelope(
        "AddedOrUpdatedContacts",
        message=serializers.CharField(),
        created=WrittenContactSerializer(many=True),
        updated=WrittenContactSerializer(many=True),
        invalids=serializers.ListField(),
        errors=RejectedContactSerializer(
            many=True, required=False, help_text="The reasons of `invalids`, in the same order."
        ),
    ),
    request=envelope(
        "ContactBatch",
        contacts=serializers.ListField(
            child=envelope(
                "BatchContact", **CONTACT | {"email": serializers.EmailField()} | LABELS
            ),
            max_length=1000,
        ),
        force_update=serializers.BooleanField(required=False),
        restore_erased=serializers.BooleanField(
            required=False, help_text="true stores contacts that were erased, as sent."
        ),
        **KEEP_OPT_OUTS,
    ),
)
DO_BULK_ACTION = describe(
    envelope(
        "DoneBulkAction",
        message=serializers.CharField(),
        last_contact_id=serializers.IntegerField(required=False),
        completed_contacts=serializers.IntegerField(),
        is_completed=serializers.BooleanField(
            required=False, help_text="true if contact_query has no more contacts."
        ),
        **WARNINGS,
    ),
    request=envelope(
        "BulkAction",
        action_name=choice(
            *("delete_contacts", "change_contact_status", "change_contact_type"),
            *("add_to_tags", "remove_from_tags", "add_to_lists", "remove_from_lists"),
        ),
        subscriber_ids=serializers.ListField(
            child=serializers.IntegerField(min_value=0), required=False, max_length=1000
        ),
        is_all=serializers.CharField(required=False, help_text="yes, with contact_query."),
        contact_query=serializers.DictField(
            required=False,
            help_text="With is_all: the parameters of the list of contacts, such as "
            '{"filter_type": "simple", "tags": [1]}. The next 400 contacts are changed.',
        ),
        last_id=serializers.IntegerField(
            required=False, min_value=0, help_text="last_contact_id of the request before."
        ),
        action_options=serializers.ListField(child=serializers.IntegerField(), required=False),
        new_status=optional_text(),
        **KEEP_OPT_OUTS,
    ),
)


def note_written(component: str, note: Any) -> Any:
    """Return the serializer of the response to a note that was written."""
    return envelope(component, note=note, message=serializers.CharField(), **WARNINGS)


NOTE = envelope(
    "NewNote",
    note=envelope(
        "NoteFields",
        title=serializers.CharField(min_length=1),
        description=serializers.CharField(min_length=1, max_length=MAX_DESCRIPTION_LENGTH),
        type=serializers.CharField(min_length=1, help_text="Such as note, call or meeting."),
        created_at=serializers.CharField(required=False, help_text="A datetime, now by default."),
    ),
)
CREATE_NOTE = describe(note_written("AddedNoteResponse", AddedNoteSerializer()), request=NOTE)
UPDATE_NOTE = describe(note_written("ChangedNoteResponse", StoredNoteSerializer()), request=NOTE)

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

REPORT_OPTIONS = describe(
    envelope(
        "ReportOptions",
        options=serializers.JSONField(help_text="The choices by field, or [] without any."),
        **WARNINGS,
    ),
    parameters=[
        parameter("fields", "Such as lists,tags,statuses,segments,contact_types."),
        parameter("with_count", "lists adds the numbers of subscribed contacts.", many=True),
    ],
)
DASHBOARD_STATS = describe(
    envelope(
        "DashboardStats",
        stats=serializers.DictField(
            child=envelope(
                "DashboardFigure",
                title=serializers.CharField(),
                count=serializers.IntegerField(),
                route=serializers.DictField(child=serializers.CharField()),
            )
        ),
        sales=serializers.ListField(),
        dashboard_notices=serializers.ListField(),
        onboarding=serializers.JSONField(allow_null=True),
        quick_links=serializers.ListField(),
        ff_config=serializers.DictField(),
        recommendation=serializers.BooleanField(),
        system_tips=serializers.CharField(allow_blank=True),
    )
)


# Without it, a list view returns an array.
@extend_schema_serializer(many=False)
class UsersSerializer(serializers.Serializer[Any]):
    """The first users, and the number of all."""

    users: Any = serializers.ListSerializer(
        child=envelope(
            "ListedUser",
            ID=serializers.CharField(),
            display_name=serializers.CharField(),
            user_email=serializers.CharField(allow_blank=True),
            id=serializers.CharField(),
        )
    )
    total = serializers.IntegerField()


USERS = describe(
    UsersSerializer,
    parameters=[
        parameter("limit", "Number of users: 5 by default, at most 1000.", COUNT),
        parameter("roles", "Users in any of these groups.", many=True),
    ],
)
ROLES = describe(envelope("Roles", roles=serializers.DictField(child=serializers.DictField())))
