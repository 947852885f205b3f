"""How the contact calls are described; the shapes of rows stand in crm/api/serializers.py."""

from typing import Any

from rest_framework import serializers

from config.api.schema import (
    COUNT,
    MESSAGE,
    PAGES,
    call,
    ids,
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
from crm.api.serializers import (
    ListSerializer,
    SubscriberSerializer,
    TagSerializer,
)
from crm.filters.query import query_filter_help
from crm.models import Status, Subscriber, Tag


def optional_names() -> serializers.ListField:
    """A list of ids, titles or slugs that may be left out."""
    return serializers.ListField(child=serializers.CharField(), required=False)


def degrees() -> serializers.FloatField:
    """A coordinate that may be left out."""
    return serializers.FloatField(required=False, allow_null=True, min_value=-180, max_value=180)


CONTACT_INPUT: dict[str, Any] = {
    name: optional_text()
    for name in (
        *("prefix", "first_name", "last_name", "full_name", "contact_type"),
        *("address_line_1", "address_line_2", "postal_code", "city", "state", "country"),
        *("phone", "timezone", "source", "ip"),
    )
} | {
    "status": serializers.ChoiceField(choices=Status.choices, required=False),
    "avatar": serializers.RegexField("^(https?://|/)", required=False),
    "date_of_birth": serializers.DateField(required=False, allow_null=True),
    "latitude": degrees(),
    "longitude": degrees(),
    "total_points": serializers.IntegerField(required=False, min_value=0),
    "life_time_value": serializers.IntegerField(required=False, min_value=0),
    "custom_values": serializers.DictField(required=False),
}
SEGMENTS_INPUT = {
    "tags": optional_names(),
    "lists": optional_names(),
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
    query(
        "filter_type",
        "advanced with advanced_filters, else simple.",
        kind={"enum": ["simple", "advanced"]},
    ),
    query(
        "advanced_filters",
        "JSON: a list of groups, one of which has to hold; a group is a list of conditions, which "
        'all have to: {"source":[provider,property],"operator":…,"value":…,"extra_value":…}. What '
        "there is: /subscribers/filter-options.",
    ),
    query("segment", "In the saved segment with this slug."),
    *(query(name, says) for name, says in query_filter_help().items()),
]
CONTACT_PAGE = page_shape("ContactPage", SubscriberSerializer)
CONTACT_LIST = call(
    shape(
        "ContactList",
        {
            "subscribers": CONTACT_PAGE,
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
        query("statuses", "With any of these statuses.", many=True, kind={"enum": Status.values}),
        query("custom_fields", "true: with the contacts' custom values."),
        *CONTACT_FILTERS,
    ],
)
WITH = ["subscriber.custom_values", "custom_fields", "stats"]
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
        query("with", many=True, kind={"enum": WITH}),
    ],
    missing=True,
)
CONTACT_STORE = call(
    shape(
        "ContactStored",
        {"message": text(), "contact": SubscriberSerializer(), "action_type": ACTION},
    ),
    fields=shape(
        "NewContact",
        {
            **CONTACT_INPUT,
            "email": serializers.EmailField(),
            "status": serializers.ChoiceField(choices=Status.choices),
            **SEGMENTS_INPUT,
            "__force_update": serializers.ChoiceField(choices=["yes"], required=False),
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
            "email": serializers.EmailField(required=False),
            **CONTACT_INPUT,
            **{
                name: optional_names()
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
        query("limit", "20, and at most 1000.", kind=COUNT),
        query("values", "Ids that are to be in the answer as well.", many=True, kind=COUNT),
    ],
)

DELETE_SEVERAL = call(
    MESSAGE,
    # OpenAPI gives DELETE no body; one with "subscribers" is taken as well.
    parameters=[query("subscribers", "The contacts' ids.", many=True, kind=COUNT)],
)
UPDATE_PROPERTY = call(
    MESSAGE,
    fields=shape(
        "ContactProperty",
        {
            "property": serializers.ChoiceField(choices=["status", "contact_type", "avatar"]),
            "value": text(),
            "subscribers": ids(),
        },
    ),
)
SYNC_SEGMENTS = call(
    shape("ContactsSynced", {"message": text(), "subscribers": SubscriberSerializer(many=True)}),
    fields=shape(
        "SegmentSync",
        {
            "type": serializers.ChoiceField(choices=["tags", "lists"]),
            "attach": optional_names(),
            "detach": optional_names(),
            "find_by": serializers.ChoiceField(choices=["slug", "title", "id"], required=False),
            "subscribers": ids(),
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
            "contacts": serializers.ListField(
                child=shape(
                    "BatchContact",
                    {**CONTACT_INPUT, "email": serializers.EmailField(), **SEGMENTS_INPUT},
                ),
                max_length=1000,
            ),
            "force_update": serializers.BooleanField(required=False),
        },
    ),
)
ACTIONS = (
    *("delete_contacts", "change_contact_status", "change_contact_type"),
    *("add_to_tags", "remove_from_tags", "add_to_lists", "remove_from_lists"),
)
DO_BULK_ACTION = call(
    shape(
        "BulkActionDone",
        {"message": text(), "last_contact_id": number(), "completed_contacts": number()},
    ),
    fields=shape(
        "BulkAction",
        {
            "action_name": serializers.ChoiceField(choices=ACTIONS),
            "subscriber_ids": ids(),
            "action_options": serializers.ListField(
                child=serializers.IntegerField(), required=False
            ),
            "new_status": optional_text(),
        },
    ),
)

SEGMENT_INPUT = shape(
    "SegmentInput",
    {
        "title": serializers.CharField(min_length=1),
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
    fields=shape(
        "SegmentBatch",
        {"items": shape("BatchSegment", {"title": text(), "slug": optional_text()}, many=True)},
    ),
)
SEGMENT_DELETE = call(MESSAGE, missing=True)
SEGMENT_PARAMETERS = [
    *PAGES,
    SEARCH,
    SORT,
    query("sort_order", "ASC or DESC."),
    query("exclude_counts", "Anything: without the numbers of contacts."),
]


class Choice(serializers.Serializer[Tag]):
    """The shape of a tag or list where all are told, for a choice in a form."""

    id = serializers.CharField()
    title = serializers.CharField()
    slug = serializers.CharField()


class CountedTag(TagSerializer):
    """The shape of a tag in the list of tags."""

    subscribersCount = serializers.IntegerField(required=False)


class CountedList(ListSerializer):
    """The shape of a list in the list of lists."""

    totalCount = serializers.IntegerField(required=False)
    subscribersCount = serializers.IntegerField(required=False)


TAG_LIST = call(
    shape(
        "TagList",
        {
            "tags": page_shape("TagPage", CountedTag),
            "all_tags": Choice(many=True, required=False),
        },
    ),
    parameters=[*SEGMENT_PARAMETERS, query("all_tags", "Anything: with every tag there is.")],
)
TAG_SHOW = call(shape("TagShown", {"tag": TagSerializer()}), missing=True)
LIST_LIST = call(
    shape(
        "ListList",
        {
            "lists": CountedList(many=True),
            "pagination": shape("Total", {"total": number()}),
            "all_lists": Choice(many=True, required=False),
        },
    ),
    parameters=[*SEGMENT_PARAMETERS, query("all_lists", "Anything: with every list there is.")],
)
LIST_SHOW = call(ListSerializer, missing=True)
CUSTOM_FIELDS = call(shape("CustomFields", {"fields": texts()}))
