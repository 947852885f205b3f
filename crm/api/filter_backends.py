"""Filter and order the list of contacts, and the lists of tags, lists and segments.

Each backend reads the view's `list_params`, which LIST_FIELDS or LABEL_LIST_FIELDS validated. All
filters have to match. An invalid one is 422, so that it never matches every contact.
"""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import Forbidden, InvalidFields
from config.api.json_fields import json_text_or
from config.api.pagination import Schema, query_parameter
from config.api.validation import (
    MAX_NAME_LENGTH,
    InvalidValue,
    Validator,
    single_line,
    to_strings,
    to_text,
    validate,
)
from config.api.viewsets import ApiViewSet
from crm.api.fields import CONTACT_FIELDS, LABEL_FIELDS
from crm.filters import FilterTable, apply_filter, read_filters
from crm.filters.contacts import to_status
from crm.filters.query import apply_query_filters, query_filter_help
from crm.labels import LabelKind, memberships, resolve_label_ids
from crm.models import Segment, Status, Subscriber
from crm.permissions import user_source_of
from crm.segments import find_segment, read_segment
from crm.selectors import AllContacts, order_rows, search_q

VIEW_SEGMENTS = "crm.view_segment"
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
STATUSES: Schema = {"type": "array", "items": {"enum": Status.values}}
Contacts = QuerySet[Subscriber]
Labels = QuerySet[Any]
# user_id is in another table.
SORTABLE = {"id", "created_at", "updated_at", *CONTACT_FIELDS} - {"custom_values", "user_id"}
SORTABLE_LABEL_COLUMNS = {"id", "title", "slug", "created_at", "updated_at"}
ADVANCED: dict[str, Validator] = {"advanced_filters": json_text_or(lambda value: value)}


def to_statuses(value: Any) -> list[str]:
    """Convert to statuses, of which all have to be known."""
    return [to_status(status) for status in to_strings(value)]


def to_filter_type(value: Any) -> str:
    """Convert to the kind of filter: simple, advanced, or empty for simple."""
    filter_type = to_text(value)
    if filter_type not in ("", "simple", "advanced"):
        raise InvalidValue("in", "The {field} must be simple or advanced.")
    return filter_type


def to_segment(value: Any) -> Segment:
    """Return the segment whose slug is given."""
    slug = single_line(MAX_NAME_LENGTH)(value)
    segment = find_segment(slug) if slug else None
    if segment is None:
        raise InvalidValue("exists", "The {field} must be the slug of a segment.")
    return segment


LIST_FIELDS: dict[str, Validator] = {
    "filter_type": to_filter_type,
    "search": single_line(255),
    "sort_by": single_line(64),
    "sort_type": single_line(4),
    **LABEL_FIELDS,
    "statuses": to_statuses,
    "segment": to_segment,
}
LABEL_LIST_FIELDS: dict[str, Validator] = {
    "search": single_line(MAX_NAME_LENGTH),
    "sort_by": single_line(64),
    "sort_order": single_line(4),
}


class DescribedFilterBackend(BaseFilterBackend):
    """A filter backend that declares its parameters in OpenAPI."""

    parameters: ClassVar[tuple[Schema, ...]]

    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        """Return the descriptions of the parameters."""
        return [*self.parameters]


class QueryFilterBackend(BaseFilterBackend):
    """Filter by the simple parameters that apps register, such as `event_key` (django-filter)."""

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        return apply_query_filters(queryset, view.params, request.user.has_perm)

    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        """Describe the parameters in OpenAPI."""
        return [query_parameter(name, text, TEXT) for name, text in query_filter_help().items()]


class AdvancedFilterBackend(DescribedFilterBackend):
    """Filter by FluentCRM's advanced filters: groups of conditions (crm/filters)."""

    parameters = (
        query_parameter(
            "filter_type",
            "advanced together with advanced_filters, otherwise simple.",
            {"enum": ["simple", "advanced"]},
        ),
        query_parameter(
            "advanced_filters",
            "JSON: a list of groups, of which one has to match. A group is a list of conditions, "
            "which all have to match: "
            '{"source":[provider,property],"operator":…,"value":…,"extra_value":…}. '
            "/subscribers/filter-options lists providers, properties and operators.",
            TEXT,
        ),
    )

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        if view.list_params.get("filter_type") != "advanced":
            if "advanced_filters" in view.params:
                message = "The filter_type must be advanced."
                raise InvalidFields({"advanced_filters": {"in": message}})
            return queryset
        # The empty list is a filter that all contacts match.
        required = () if view.params.get("advanced_filters") == [] else ADVANCED
        filters = validate(ADVANCED, view.params, required)["advanced_filters"]
        table = FilterTable(user_source_of(request))
        groups = read_filters(filters, "advanced_filters", table=table)
        return apply_filter(queryset, groups, request.user.has_perm)


class SegmentFilterBackend(DescribedFilterBackend):
    """Filter by a saved segment."""

    parameters = (query_parameter("segment", "Slug of a segment that contacts are in.", TEXT),)

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        segment = view.list_params.get("segment")
        if not segment:
            return queryset
        if not request.user.has_perm(VIEW_SEGMENTS):
            raise Forbidden("You may not filter by segment.")
        return apply_filter(queryset, read_segment(segment), request.user.has_perm)


class SearchBackend(DescribedFilterBackend):
    """Search in the texts of contacts."""

    parameters = (query_parameter("search", "Part of any text of the object.", TEXT),)

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        search = view.list_params.get("search")
        if not search:
            return queryset
        return queryset.filter(search_q(search, in_custom_values=view.is_on("custom_fields")))


class LabelFilterBackend(DescribedFilterBackend):
    """Filter by tags and by lists: contacts with one of the tags and on one of the lists."""

    parameters = (
        query_parameter("tags[]", "Contacts with any of these tags: id, title or slug.", TEXTS),
        query_parameter("lists[]", "Contacts on any of these lists: id, title or slug.", TEXTS),
    )

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        kinds: tuple[LabelKind, LabelKind] = ("tags", "lists")
        for kind in kinds:
            if names := view.list_params.get(kind):
                label_ids = resolve_label_ids(kind, names, create=False)
                rows, column = memberships(kind)
                attached = rows.filter(**{f"{column}__in": label_ids})
                queryset = queryset.filter(id__in=attached.values("subscriber_id"))
        return queryset


class StatusFilterBackend(DescribedFilterBackend):
    """Filter by statuses, of which one has to match."""

    parameters = (query_parameter("statuses[]", "Contacts with any of these statuses.", STATUSES),)

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        statuses = view.list_params.get("statuses")
        return queryset.filter(status__in=statuses) if statuses else queryset


class OrderingBackend(DescribedFilterBackend):
    """Order contacts by a column, by default by id, the newest first.

    Contacts that no backend filtered become AllContacts.
    """

    parameters = (
        query_parameter("sort_by", "Column to sort by, id by default.", TEXT),
        query_parameter("sort_type", "ASC, or DESC by default.", TEXT),
    )

    @override
    def filter_queryset(
        self, request: Request, queryset: Contacts, view: ApiViewSet
    ) -> Contacts | AllContacts:
        column = view.list_params.get("sort_by")
        column = column if column in SORTABLE else "id"
        direction = view.list_params.get("sort_type")
        if queryset.query.where:
            return order_rows(queryset, column, direction)
        return AllContacts(column, direction)


class LabelSearchBackend(SearchBackend):
    """Search tags, lists and segments by a part of the title, or the start of another text."""

    @override
    def filter_queryset(self, request: Request, queryset: Labels, view: ApiViewSet) -> Labels:
        search = view.list_params.get("search")
        if not search:
            return queryset
        matches = Q(title__icontains=search) | Q(slug__istartswith=search)
        if queryset.model is not Segment:
            matches |= Q(description__istartswith=search)
        return queryset.filter(matches)


class LabelOrderingBackend(DescribedFilterBackend):
    """Order tags, lists and segments by a column, by default by id, the newest first."""

    parameters = (
        query_parameter("sort_by", "Column to sort by, id by default.", TEXT),
        query_parameter("sort_order", "ASC, or DESC by default.", TEXT),
    )

    @override
    def filter_queryset(self, request: Request, queryset: Labels, view: ApiViewSet) -> Labels:
        column = view.list_params.get("sort_by")
        column = column if column in SORTABLE_LABEL_COLUMNS else "id"
        return order_rows(queryset, column, view.list_params.get("sort_order"))


# In the order of the SQL they make: a filter's set of contacts first, the order last.
CONTACT_BACKENDS = (
    QueryFilterBackend,
    AdvancedFilterBackend,
    SegmentFilterBackend,
    SearchBackend,
    LabelFilterBackend,
    StatusFilterBackend,
    OrderingBackend,
)
# Without an order, for those that read contacts by their ids.
CONTACT_FILTERS = CONTACT_BACKENDS[:-1]
LABEL_BACKENDS = (LabelSearchBackend, LabelOrderingBackend)
