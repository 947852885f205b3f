"""How the contact calls are described; the shapes of rows stand in crm/serializers.py."""

from typing import Any

from rest_framework import serializers

from config.schema import (
    MESSAGE,
    PAGES,
    call,
    nullable_text,
    number,
    numbers,
    optional_list,
    optional_text,
    page_shape,
    query,
    shape,
    text,
    texts,
)
from crm.models import Status, Subscriber
from crm.query_filters import query_filters
from crm.serializers import (
    ListSerializer,
    SavedSegmentSerializer,
    SubscriberSerializer,
    TagSerializer,
)

CONTACT_INPUT: dict[str, Any] = {
    name: optional_text()
    for name in (
        *("status", "prefix", "first_name", "last_name", "full_name", "contact_type"),
        *("address_line_1", "address_line_2", "postal_code", "city", "state", "country"),
        *("phone", "timezone", "date_of_birth", "source", "avatar", "ip", "latitude", "longitude"),
        *("total_points", "life_time_value"),
    )
} | {"custom_values": serializers.DictField(required=False)}
SEGMENTS_INPUT = {
    "tags": optional_list(),
    "lists": optional_list(),
}
SEARCH = query("search", "A part of any of its texts.")
SORT = query("sort_by", "A column; id unless given.")
ACTION = serializers.ChoiceField(choices=["created", "updated"])


class ContactReference(serializers.Serializer[Subscriber]):
    """The shape of a contact in the answer to a batch."""

    id = serializers.IntegerField()
    email = serializers.CharField()
    status = serializers.ChoiceField(choices=Status.choices)


CONTACT_FILTERS = [
    query("filter_type", "simple, or advanced with advanced_filters."),
    query(
        "advanced_filters",
        "JSON: a list of groups, one of which has to hold; a group is a list of conditions, which "
        'all have to: {"source":[provider,property],"operator":…,"value":…,"extra_value":…}. What '
        "there is: /subscribers/filter-options.",
    ),
    query("segment", "In the saved segment with this slug."),
    *(query(name, says) for name, says in query_filters().items()),
]
CONTACT_LIST = call(
    shape(
        "ContactList",
        {
            "subscribers": page_shape("ContactPage", SubscriberSerializer),
            "custom": nullable_text(),
        },
    ),
    parameters=[
        *PAGES,
        SEARCH,
        SORT,
        query("sort_type", "ASC or DESC."),
        query("tags", "On any of these tags, by id, title or slug.", many=True),
        query("lists", "On any of these lists, by id, title or slug.", many=True),
        query("statuses", "With any of these statuses.", many=True),
        query("custom_fields", "true: with the contacts' custom values."),
        *CONTACT_FILTERS,
    ],
)
CONTACT_SHOW = call(
    shape(
        "ContactShown",
        {
            "subscriber": SubscriberSerializer(),
            "custom_fields": optional_list(),
        },
    ),
    parameters=[
        query("get_by_email", "With id 0: the contact's e-mail."),
        query("with", "subscriber.custom_values, custom_fields.", many=True),
    ],
)
CONTACT_STORE = call(
    shape(
        "ContactStored",
        {"message": text(), "contact": SubscriberSerializer(), "action_type": ACTION},
    ),
    fields=shape(
        "NewContact",
        {
            "email": text(),
            **CONTACT_INPUT,
            "status": text(),
            **SEGMENTS_INPUT,
            "__force_update": optional_text(),
        },
    ),
)
CONTACT_UPDATE = call(
    shape(
        "ContactUpdated",
        {
            "message": text(),
            "contact": SubscriberSerializer(),
            "isDirty": serializers.BooleanField(),
            "values": serializers.JSONField(),
        },
    ),
    fields=shape(
        "ContactChange",
        {
            "email": optional_text(),
            **CONTACT_INPUT,
            **{
                name: optional_list()
                for name in ("attach_tags", "detach_tags", "attach_lists", "detach_lists")
            },
        },
    ),
    missing=True,
)
CONTACT_DELETE = call(MESSAGE, missing=True)
SEARCH_CONTACTS = call(
    shape("ContactsFound", {"contacts": serializers.DictField(child=serializers.DictField())}),
    parameters=[
        SEARCH,
        query("limit", "20, and at most 1000."),
        query("values", "Ids that are to be in the answer as well.", many=True),
    ],
)

DELETE_SEVERAL = call(MESSAGE, fields=shape("ContactIds", {"subscribers": numbers()}))
UPDATE_PROPERTY = call(
    MESSAGE,
    fields=shape(
        "ContactProperty",
        {
            "property": serializers.ChoiceField(choices=["status", "contact_type", "avatar"]),
            "value": text(),
            "subscribers": numbers(),
        },
    ),
)
SYNC_SEGMENTS = call(
    shape("ContactsSynced", {"message": text(), "subscribers": SubscriberSerializer(many=True)}),
    fields=shape(
        "SegmentSync",
        {
            "type": serializers.ChoiceField(choices=["tags", "lists"]),
            "attach": optional_list(),
            "detach": optional_list(),
            "find_by": serializers.ChoiceField(choices=["slug", "id"], required=False),
            "subscribers": numbers(),
        },
    ),
)
BULK_ADD_UPDATE = call(
    shape(
        "ContactsAddedOrUpdated",
        {
            "message": text(),
            "created": ContactReference(many=True),
            "updated": ContactReference(many=True),
            "invalids": serializers.ListField(),
        },
    ),
    fields=shape(
        "ContactBatch",
        {
            "contacts": serializers.ListField(child=serializers.DictField(), max_length=1000),
            "force_update": optional_text(),
        },
    ),
)
DO_BULK_ACTION = call(
    shape(
        "BulkActionDone",
        {"message": text(), "last_contact_id": number(), "completed_contacts": number()},
    ),
    fields=shape(
        "BulkAction",
        {
            "action_name": text(),
            "subscriber_ids": numbers(),
            "action_options": optional_list(),
            "new_status": optional_text(),
        },
    ),
)

SEGMENT_INPUT = shape(
    "SegmentInput",
    {
        "title": text(),
        "slug": optional_text(),
        "description": optional_text(),
    },
)
SEGMENT_STORE = call(
    shape("SegmentStored", {"lists": TagSerializer(), "item": TagSerializer(), "message": text()}),
    fields=SEGMENT_INPUT,
)
SEGMENT_UPDATE = call(
    shape("SegmentUpdated", {"lists": number(), "message": text()}),
    fields=SEGMENT_INPUT,
    missing=True,
)
SEGMENT_STORE_BULK = call(
    shape("SegmentsStored", {"message": text(), "ids": numbers()}),
    fields=shape("SegmentBatch", {"items": serializers.ListField(child=serializers.DictField())}),
)
SEGMENT_DELETE = call(MESSAGE, missing=True)
SEGMENT_PARAMETERS = [*PAGES, SEARCH, SORT, query("sort_order", "ASC or DESC.")]


class CountedTag(TagSerializer):
    """The shape of a tag in the list of tags."""

    subscribersCount = serializers.IntegerField(required=False)


class CountedList(ListSerializer):
    """The shape of a list in the list of lists."""

    totalCount = serializers.IntegerField(required=False)
    subscribersCount = serializers.IntegerField(required=False)


TAG_LIST = call(
    shape("TagList", {"tags": page_shape("TagPage", CountedTag)}), parameters=SEGMENT_PARAMETERS
)
TAG_SHOW = call(shape("TagShown", {"tag": TagSerializer()}), missing=True)
LIST_LIST = call(
    shape(
        "ListList",
        {
            "lists": CountedList(many=True),
            "pagination": shape("Total", {"total": number()}),
        },
    ),
    parameters=SEGMENT_PARAMETERS,
)
LIST_SHOW = call(ListSerializer, missing=True)
CUSTOM_FIELDS = call(shape("CustomFields", {"fields": texts()}))

FILTER_OPTIONS = call(
    shape(
        "FilterOptions",
        {
            "options": shape(
                "FilterProvider",
                {
                    "label": text(),
                    "value": text(),
                    "children": serializers.ListField(child=serializers.DictField()),
                },
                many=True,
            )
        },
    )
)
FILTERS = serializers.ListField(
    child=serializers.ListField(child=serializers.DictField()),
    help_text="As advanced_filters of the list of contacts.",
)
SAVED_SEGMENT_SHAPE = {"segment": SavedSegmentSerializer()}
SAVED_SEGMENT_DONE = shape("SavedSegmentDone", {"message": text(), **SAVED_SEGMENT_SHAPE})
SAVED_SEGMENT_LIST = call(
    shape("SavedSegmentList", {"segments": page_shape("SavedSegmentPage", SavedSegmentSerializer)}),
    parameters=SEGMENT_PARAMETERS,
)
SAVED_SEGMENT_STORE = call(
    SAVED_SEGMENT_DONE,
    fields=shape("NewSavedSegment", {"title": text(), "slug": optional_text(), "filters": FILTERS}),
)
SAVED_SEGMENT_SHOW = call(shape("SavedSegmentShown", SAVED_SEGMENT_SHAPE), missing=True)
SAVED_SEGMENT_UPDATE = call(
    SAVED_SEGMENT_DONE,
    fields=shape(
        "SavedSegmentChange",
        {
            "title": optional_text(),
            "slug": optional_text(),
            "filters": serializers.ListField(
                child=serializers.ListField(child=serializers.DictField()), required=False
            ),
        },
    ),
    missing=True,
)
SAVED_SEGMENT_DELETE = call(MESSAGE, missing=True)
SAVED_SEGMENT_CONTACTS = call(
    shape("SavedSegmentContacts", {"subscribers": page_shape("ContactPage", SubscriberSerializer)}),
    parameters=[*PAGES, SEARCH, SORT, query("sort_type", "ASC or DESC."), *CONTACT_FILTERS],
    missing=True,
)
CONTACT_SAVED_SEGMENTS = call(
    shape("ContactSavedSegments", {"segments": SavedSegmentSerializer(many=True)}), missing=True
)
