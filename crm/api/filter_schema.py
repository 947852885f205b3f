"""How the calls about filters and segments are described."""

from rest_framework import serializers

from config.api.schema import MESSAGE, PAGES, call, optional_text, page_shape, query, shape, text
from crm.api.schema import CONTACT_FILTERS, CONTACT_PAGE, SEARCH, SEGMENT_PARAMETERS, SORT
from crm.api.serializers import ConditionSerializer, SegmentSerializer

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
    child=ConditionSerializer(many=True),
    help_text="As advanced_filters of the list of contacts.",
)
SAVED_SEGMENT_SHAPE = {"segment": SegmentSerializer()}
SAVED_SEGMENT_DONE = shape("SavedSegmentDone", {"message": text(), **SAVED_SEGMENT_SHAPE})
SAVED_SEGMENT_LIST = call(
    shape("SavedSegmentList", {"segments": page_shape("SavedSegmentPage", SegmentSerializer)}),
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
            "filters": serializers.ListField(child=ConditionSerializer(many=True), required=False),
        },
    ),
    missing=True,
)
SAVED_SEGMENT_DELETE = call(MESSAGE, missing=True)
SAVED_SEGMENT_CONTACTS = call(
    shape("SavedSegmentContacts", {"subscribers": CONTACT_PAGE}),
    parameters=[*PAGES, SEARCH, SORT, query("sort_type", "ASC or DESC."), *CONTACT_FILTERS],
    missing=True,
)
CONTACT_SAVED_SEGMENTS = call(
    shape("ContactSavedSegments", {"segments": SegmentSerializer(many=True)}), missing=True
)
