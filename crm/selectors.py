"""Read contacts and labels: search, order, and a page of ids with the total."""

from typing import TypeVar

from django.core.exceptions import EmptyResultSet
from django.db.models import Count, F, Model, Q, QuerySet, TextField, Window
from django.db.models.functions import Lower

from config.api.validation import MAX_ID
from config.database import fetch_rows
from crm.emails import email_key
from crm.models import Subscriber

ModelRow = TypeVar("ModelRow", bound=Model)

SEARCHED_COLUMNS = (
    *("email", "first_name", "last_name", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "phone", "status"),
)


def search_q(search: str) -> Q:
    """Return FluentCRM's search: part of any of eleven columns, or of first and last name.

    See tests/conformance/subscribers.json: "list: search, sort, status".
    """
    matches = Q()
    for column in SEARCHED_COLUMNS:
        matches |= Q(**{f"{column}__icontains": search})
    if "@" in search:
        matches |= Q(email_key__contains=email_key(search))
    first, _, last = search.partition(" ")
    if last:
        matches |= Q(first_name__icontains=first) | Q(last_name__icontains=last)
    return matches


def order_rows(rows: QuerySet[ModelRow], column: str, direction: str | None) -> QuerySet[ModelRow]:
    """Order rows as MySQL does: text without regard to case, null before values.

    Args:
        rows: the rows to order.
        column: the column to order by; rows with equal values are ordered by id.
        direction: "ASC" in any case, else descending.
    """
    field = rows.model._meta.get_field(column)
    is_text = field.get_internal_type() in ("CharField", "TextField")
    key = Lower(column, output_field=TextField()) if is_text else F(column)
    if (direction or "").upper() == "ASC":
        return rows.order_by(key.asc(nulls_first=True), "id")
    return rows.order_by(key.desc(nulls_last=True), "-id")


def page_ids_and_total(
    contacts: QuerySet[Subscriber], start: int, per_page: int
) -> tuple[list[int], int]:
    """Return the ids of a page, in order, and the total number of contacts, in one statement.

    So a filter is run once. Beyond the last page a second statement counts.
    """
    # The largest OFFSET that PostgreSQL accepts.
    start = min(start, MAX_ID - per_page)
    counted = contacts.annotate(total=Window(Count("*"))).values_list("id", "total")
    try:
        query = counted[start : start + per_page].query.sql_with_params()
    except EmptyResultSet:  # a label that does not exist
        return [], 0
    # Not prepared, because a plan for any parameters took three times as long as one for these.
    page = fetch_rows(*query, prepare=False)
    if page:
        return [row[0] for row in page], page[0][1]
    return [], contacts.count() if start else 0
