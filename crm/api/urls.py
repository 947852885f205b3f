"""The addresses of contacts, tags, lists and segments, below wherever this is mounted."""

from django.urls import URLPattern, re_path

from crm.api.views.bulk import BulkViewSet
from crm.api.views.contacts import SubscriberViewSet
from crm.api.views.labels import CustomFieldViewSet, LabelViewSet, ListViewSet, TagViewSet
from crm.api.views.segments import FilterOptionViewSet, SegmentViewSet


def segment_paths(name: str, views: type[LabelViewSet]) -> list[URLPattern]:
    """The addresses of tags or lists."""
    return [
        re_path(rf"^{name}/?$", views.as_view({"get": "index", "post": "store"})),
        re_path(rf"^{name}/bulk/?$", views.as_view({"post": "store_bulk"})),
        re_path(
            rf"^{name}/(?P<segment_id>[0-9]{{1,20}})/?$",
            views.as_view({"get": "show", "put": "update", "delete": "destroy"}),
        ),
    ]


urlpatterns = [
    re_path(
        r"^subscribers/(?P<contact_id>[0-9]{1,20})/?$",
        SubscriberViewSet.as_view({"get": "show", "put": "update", "delete": "destroy"}),
    ),
    re_path(
        r"^subscribers/(?P<contact_id>[0-9]{1,20})/segments/?$",
        SegmentViewSet.as_view({"get": "of_contact"}),
    ),
    re_path(
        r"^subscribers/filter-options/?$",
        FilterOptionViewSet.as_view({"get": "index"}),
    ),
    re_path(
        r"^subscribers/search-contacts/?$",
        SubscriberViewSet.as_view({"get": "search_contacts"}),
    ),
    re_path(
        r"^subscribers/subscribers-property/?$",
        BulkViewSet.as_view({"put": "update_property"}),
    ),
    re_path(r"^subscribers/sync-segments/?$", BulkViewSet.as_view({"post": "sync_segments"})),
    re_path(r"^subscribers/bulk-add-update/?$", BulkViewSet.as_view({"post": "bulk_add_update"})),
    re_path(r"^subscribers/do-bulk-action/?$", BulkViewSet.as_view({"post": "do_bulk_action"})),
    re_path(
        r"^subscribers/?$",
        SubscriberViewSet.as_view({"get": "index", "post": "store", "delete": "delete_several"}),
    ),
    re_path(r"^segments/?$", SegmentViewSet.as_view({"get": "index", "post": "store"})),
    re_path(
        r"^segments/(?P<segment_id>[0-9]{1,20})/?$",
        SegmentViewSet.as_view({"get": "show", "put": "update", "delete": "destroy"}),
    ),
    re_path(
        r"^segments/(?P<segment_id>[0-9]{1,20})/subscribers/?$",
        SegmentViewSet.as_view({"get": "subscribers"}),
    ),
    *segment_paths("tags", TagViewSet),
    *segment_paths("lists", ListViewSet),
    re_path(r"^custom-fields/contacts/?$", CustomFieldViewSet.as_view({"get": "index"})),
]
