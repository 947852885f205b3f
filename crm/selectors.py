"""Read contacts and labels: search, order, a page of ids with the total, what contacts have."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db.models import F, Model, OrderBy, Q, QuerySet, TextField
from django.db.models.functions import Lower

from config.api.pagination import fetch_whole_page
from config.api.validation import MAX_ID
from config.database import fetch_rows
from crm.emails import email_key
from crm.filters.types import statement_alone
from crm.labels import LABEL_MODELS, LabelKind, memberships
from crm.models import Subscriber

ModelRow = TypeVar("ModelRow", bound=Model)

SEARCHED_COLUMNS = (
    *("email", "first_name", "last_name", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "phone", "status"),
)

# Each label once, with the contacts that have it.
LABELS = """
SELECT id, title, slug, description, created_at, updated_at, {is_public} AS is_public, contacts
FROM (SELECT {column} AS id, array_agg(subscriber_id) AS contacts FROM {attachments}
      WHERE subscriber_id = ANY(%(contacts)s::bigint[]) GROUP BY {column}) attached
JOIN {labels} label USING (id)
"""
# A label is written for each contact that has it, with about 150 bytes beside its texts.
LABEL_SIZE = """
(150 + octet_length(title) + octet_length(slug) + coalesce(octet_length(description), 0))
* cardinality(contacts)
"""
# Values from before they were limited may be too large even alone.
CUSTOM_VALUES = """
SELECT id, CASE WHEN size <= %(max_bytes)s THEN text END AS text, size
FROM (SELECT id, custom_values::text AS text FROM crm_subscriber
      -- OFFSET makes the text once for its size and for the response.
      WHERE id = ANY(%(contacts)s::bigint[]) OFFSET 0) contact, octet_length(text) size
"""


class AttachedLabel(NamedTuple):
    """A tag or list, and the ids of the contacts that have it."""

    id: int
    title: str
    slug: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    is_public: bool
    contacts: list[int]


def labels_of(kind: LabelKind, contact_ids: Sequence[int]) -> list[AttachedLabel]:
    """Return the tags or lists of contacts by title, each once.

    Raises:
        PageTooLarge: 422, a response with them has more than 8 MB.
    """
    rows, column = memberships(kind)
    statement = LABELS.format(
        column=column,
        attachments=rows.model._meta.db_table,
        labels=LABEL_MODELS[kind]._meta.db_table,
        is_public="is_public" if kind == "lists" else "false",
    )
    found = fetch_whole_page(
        statement, {"contacts": list(contact_ids)}, size=LABEL_SIZE, order="lower(title), id"
    )
    return [AttachedLabel(*row[:-2]) for row in found]


def custom_values_of(contact_ids: Sequence[int]) -> dict[int, str]:
    """Return the custom values of contacts as JSON text, by id.

    Raises:
        PageTooLarge: 422, they have more than 8 MB.
    """
    rows = fetch_whole_page(CUSTOM_VALUES, {"contacts": list(contact_ids)}, size="size", order="id")
    return {row[0]: row[1] for row in rows}


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
    is_ascending = (direction or "").upper() == "ASC"
    if column == "id":
        return rows.order_by("id" if is_ascending else "-id")
    field = rows.model._meta.get_field(column)
    is_text = field.get_internal_type() in ("CharField", "TextField")
    key = Lower(column, output_field=TextField()) if is_text else F(column)
    if is_ascending:
        return rows.order_by(key.asc(nulls_first=True), "id")
    return rows.order_by(key.desc(nulls_last=True), "-id")


# Materialized, so that a filter is run once for the page and the total, and planned for all of its
# contacts. With count(*) OVER (), PostgreSQL before 17 plans for the few of a page, as if it could
# stop there: a filter in the order of an index took 58 s instead of 0.1.
PAGE = """
WITH found AS MATERIALIZED ({found})
SELECT (SELECT count(*) FROM found),
       ARRAY(SELECT id FROM found ORDER BY {order} LIMIT {per_page} OFFSET {start})
"""


def page_ids_and_total(
    contacts: QuerySet[Subscriber], start: int, per_page: int
) -> tuple[list[int], int]:
    """Return the ids of a page, in order, and the total number of contacts, in one statement."""
    # The largest OFFSET that PostgreSQL accepts.
    start = min(start, MAX_ID - per_page)
    try:
        found, parameters, order = _found(contacts)
    except EmptyResultSet:  # a label that does not exist
        return [], 0
    statement = PAGE.format(found=found, order=order, per_page=per_page, start=start)
    # Not prepared, because a plan for any parameters took three times as long as one for these.
    [(total, ids)] = fetch_rows(statement, parameters, prepare=False)
    return ids, total


def _found(contacts: QuerySet[Subscriber]) -> tuple[str, tuple[Any, ...], str]:
    """Return a statement for the ids of contacts, its parameters, and the order of a page."""
    keys = contacts.query.order_by
    by_id: dict[Any, str] = {("id",): "id", ("-id",): "id DESC", (): "id"}
    order = by_id.get(keys)
    if order and (alone := statement_alone(contacts)):
        sql, parameters = alone
        return f"SELECT DISTINCT subscriber_id AS id FROM ({sql}) each", parameters, order  # noqa: S608
    names = []
    if order is None:
        # Beside the ids, because sorting all contacts would take longer than finding the first.
        sort_keys = [_to_sort_key(key) for key in keys]
        names = [f"key{number}" for number in range(len(keys))]
        contacts = contacts.order_by().annotate(
            **{name: key.expression for name, key in zip(names, sort_keys, strict=True)}
        )
        order = ", ".join(map(_direction, names, sort_keys))
    return *contacts.values_list("id", *names).query.sql_with_params(), order


def _to_sort_key(key: Any) -> OrderBy:
    """Return a key of order_by() as an expression."""
    if isinstance(key, OrderBy):
        return key
    return F(key[1:]).desc() if key.startswith("-") else F(key).asc()


def _direction(name: str, key: OrderBy) -> str:
    nulls = " NULLS FIRST" if key.nulls_first else " NULLS LAST" if key.nulls_last else ""
    return f"{name}{' DESC' if key.descending else ''}{nulls}"
