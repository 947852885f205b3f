"""Which contacts, tags and lists a request asks for, and in which order."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db.models import Count, F, Model, Q, QuerySet, TextField, Window
from django.db.models.functions import Lower

from config.api.errors import InvalidFields
from config.api.json_fields import json_text_or
from config.api.validation import (
    MAX_ID,
    InvalidValue,
    Validator,
    single_line,
    to_strings,
    to_text,
    validate,
)
from config.database import fetch_rows
from crm.api.serializers import CONTACT_FIELDS
from crm.filters import apply_filter, read_filters
from crm.filters.query import apply_query_filters
from crm.labels import LabelKind, resolve_label_ids
from crm.models import List, Segment, Status, Subscriber, Tag
from crm.segments import find_segment

Row = TypeVar("Row", bound=Model)

SEARCHED = (
    *("email", "first_name", "last_name", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "phone", "status"),
)
SORTABLE = {"id", "created_at", "updated_at", *CONTACT_FIELDS} - {"custom_values"}
SEGMENT_SORTABLE = {"id", "title", "slug", "created_at", "updated_at"}


def to_statuses(value: Any) -> list[str]:
    """Statuses to filter by. Raises Wrong: a mistyped one must not match everybody."""
    found = to_strings(value)
    if not set(found) <= set(Status.values):
        raise InvalidValue("in", f"The {{field}} must be of {', '.join(Status.values)}.")
    return found


def to_filter_type(value: Any) -> str:
    """The kind of filter. Raises Wrong for one we do not have: it must not match everybody."""
    kind = to_text(value)
    if kind not in ("", "simple", "advanced"):
        raise InvalidValue("in", "The {field} must be simple or advanced.")
    return kind


def to_segment_filters(value: Any) -> Any:
    """The filter of a saved segment, by its slug. Raises Wrong."""
    slug = single_line(192)(value)
    found = find_segment(slug) if slug else None
    if found is None:
        raise InvalidValue("exists", "The {field} must be the slug of a segment.")
    return found.filters


LIST_PARAMS: dict[str, Validator] = {
    "filter_type": to_filter_type,
    "search": single_line(255),
    "sort_by": single_line(64),
    "sort_type": single_line(4),
    "tags": to_strings,
    "lists": to_strings,
    "statuses": to_statuses,
    "segment": to_segment_filters,
}
ADVANCED: dict[str, Validator] = {"advanced_filters": json_text_or(lambda value: value)}
SEGMENT_PARAMS: dict[str, Validator] = {
    "search": single_line(192),
    "sort_by": single_line(64),
    "sort_order": single_line(4),
}


def filter_contacts(params: Mapping[str, Any], segment: Any = None) -> QuerySet[Subscriber]:
    """The contacts that the list's parameters ask for, in order; all of them have to fit.

    `segment` is the filter of a saved one. Raises InvalidFields (422).
    """
    asked = validate(LIST_PARAMS, params)
    contacts = apply_query_filters(Subscriber.objects.with_user(), params)
    if asked.get("filter_type") == "advanced":
        # The empty list is a filter, which all contacts fit.
        missing = () if params.get("advanced_filters") == [] else ADVANCED
        fields = validate(ADVANCED, params, required=missing)
        contacts = apply_filter(
            contacts, read_filters(fields["advanced_filters"], "advanced_filters")
        )
    elif "advanced_filters" in params:
        raise InvalidFields({"advanced_filters": {"in": "The filter_type must be advanced."}})
    for filters in (segment, asked.get("segment")):
        if filters is not None:
            contacts = apply_filter(contacts, read_filters(filters, "segment"))
    if asked.get("search"):
        contacts = contacts.filter(search_q(asked["search"]))
    kinds: tuple[LabelKind, LabelKind] = ("tags", "lists")
    for kind in kinds:
        if named := asked.get(kind):
            through = getattr(Subscriber, kind).through
            column = "tag_id__in" if kind == "tags" else "list_id__in"
            on_them = through.objects.filter(
                **{column: resolve_label_ids(kind, named, create=False)}
            )
            contacts = contacts.filter(id__in=on_them.values("subscriber_id"))
    if asked.get("statuses"):
        contacts = contacts.filter(status__in=asked["statuses"])
    column = asked.get("sort_by") or "id"
    if column not in SORTABLE:
        column = "id"
    return order_rows(contacts, column, asked.get("sort_type"))


def search_q(search: str) -> Q:
    """FluentCRM's search: a part of any of eleven columns, or of first and last name."""
    found = Q()
    for column in SEARCHED:
        found |= Q(**{f"{column}__icontains": search})
    first, _, last = search.partition(" ")
    if last:
        found |= Q(first_name__icontains=first) | Q(last_name__icontains=last)
    return found


def filter_labels(model: type[Tag | List | Segment], params: Mapping[str, Any]) -> QuerySet[Any]:
    """The tags, lists or segments that a list's parameters ask for. Raises InvalidFields (422)."""
    asked = validate(SEGMENT_PARAMS, params)
    segments = model.objects.all()
    if search := asked.get("search"):
        found = Q(title__icontains=search) | Q(slug__istartswith=search)
        if model is not Segment:
            found |= Q(description__istartswith=search)
        segments = segments.filter(found)
    column = asked.get("sort_by") or "id"
    if column not in SEGMENT_SORTABLE:
        column = "id"
    return order_rows(segments, column, asked.get("sort_order"))


def order_rows(rows: QuerySet[Row], column: str, direction: str | None) -> QuerySet[Row]:
    """Rows by a column as MySQL sorts: without regard to case, nothing before something."""
    field = rows.model._meta.get_field(column)
    textual = field.get_internal_type() in ("CharField", "TextField")
    key = Lower(column, output_field=TextField()) if textual else F(column)
    if (direction or "").upper() == "ASC":
        return rows.order_by(key.asc(nulls_first=True), "id")
    return rows.order_by(key.desc(nulls_last=True), "-id")


def page_ids_and_total(
    contacts: QuerySet[Subscriber], start: int, per_page: int
) -> tuple[list[int], int]:
    """The ids of a page, in order, and how many contacts there are in all."""
    # PostgreSQL counts no further.
    start = min(start, MAX_ID - per_page)
    counted = contacts.annotate(total=Window(Count("*"))).values_list("id", "total")
    try:
        query = counted[start : start + per_page].query.sql_with_params()
    except EmptyResultSet:  # tags that are not there
        return [], 0
    # Not prepared: a plan for any parameters took three times as long as one for these.
    page = fetch_rows(*query, prepare=False)
    if page:
        return [row[0] for row in page], page[0][1]
    # Beyond the last page no row tells how many there are.
    return [], contacts.count() if start else 0
