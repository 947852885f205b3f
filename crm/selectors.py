"""Read contacts and labels: search, order, a page with the total, and what contacts have."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db.models import BooleanField, F, Func, Model, OrderBy, Q, QuerySet, TextField, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Contains

from config.api.pagination import PageTooLarge, fetch_whole_page
from config.api.validation import MAX_ID
from config.database import MAX_PAGE_BYTES, Row, fetch_row, fetch_rows
from crm.aliases import Name, find_holder, has_alias
from crm.emails import email_key
from crm.filters.types import statement_alone
from crm.labels import LabelKind
from crm.models import USER_ID_OF_CONTACT, Subscriber

ModelRow = TypeVar("ModelRow", bound=Model)

SEARCHED_COLUMNS = (
    *("email", "first_name", "last_name", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "phone", "status"),
)

# The columns of a contact, in the order of SubscriberSerializer's fields.
CONTACT_COLUMNS = (
    *("id", "user_id", "hash", "contact_owner", "company_id", "email", "prefix", "first_name"),
    *("last_name", "timezone", "address_line_1", "address_line_2", "postal_code", "city", "state"),
    *("country", "ip", "phone", "source", "avatar", "latitude", "longitude", "total_points"),
    *("life_time_value", "status", "contact_type", "date_of_birth", "created_at", "last_activity"),
    *("updated_at", "full_name", "photo"),
)
# How they are read where they are not a column of their name. The serializer computes three.
EXPRESSIONS = {
    "user_id": USER_ID_OF_CONTACT,
    "hash": "NULL",
    "full_name": "NULL",
    "photo": "NULL",
}
CONTACTS = f"""
SELECT {", ".join(EXPRESSIONS.get(name, f"s.{name}") for name in CONTACT_COLUMNS)},
       ARRAY(SELECT tag_id FROM crm_subscriber_tags WHERE subscriber_id = s.id),
       ARRAY(SELECT list_id FROM crm_subscriber_lists WHERE subscriber_id = s.id)
"""  # noqa: S608
# Its own statement, because PostgreSQL plans one for several ids each time that it gets one id.
CONTACT = f"{CONTACTS} FROM crm_subscriber s WHERE s.id = %(id)s"
CONTACT_OF_EMAIL = f"{CONTACTS} FROM crm_subscriber s WHERE s.email_key = %(email_key)s"
CONTACTS_OF_IDS = f"""
{CONTACTS} FROM crm_subscriber s WHERE s.id = ANY(%(ids)s::bigint[]) ORDER BY s.id
"""
# The numbers are in the text, because PostgreSQL plans a statement that has them as parameters for
# each call: 0.20 ms of page 1 instead of 0.10.
PAGE_OF_ALL = f"""
{CONTACTS}, (SELECT count(*) FROM crm_subscriber)
FROM (SELECT * FROM crm_subscriber ORDER BY {{order}} LIMIT {{limit}} OFFSET {{start}}) s
ORDER BY {{order}}
"""  # noqa: S608

# The labels of a page, each once. A label is written for each contact that has it, with about 150
# bytes beside its texts. Rows of a kind end where they exceed 8 MB together.
LABELS = """
SELECT is_list, is_public, id, title, slug, description, created_at, updated_at, bytes
FROM (
    SELECT *, sum(size) OVER (PARTITION BY is_list ORDER BY lower(title), id
                              ROWS UNBOUNDED PRECEDING) AS bytes
    FROM (
        SELECT *, number * (150 + octet_length(title) + octet_length(slug)
                            + coalesce(octet_length(description), 0)) AS size
        FROM (
            SELECT false AS is_list, id, title, slug, description, NULL::bool AS is_public,
                   created_at, updated_at, number
            FROM ({tags}) sent(id, number) JOIN crm_tag USING (id)
            UNION ALL
            SELECT true, id, title, slug, description, is_public, created_at, updated_at, number
            FROM ({lists}) sent(id, number) JOIN crm_list USING (id)
        ) label
    ) label
) label
WHERE bytes - size < %(max_bytes)s ORDER BY is_list, lower(title), id
"""
LABELS_OF_PAGE = LABELS.format(
    tags="SELECT * FROM unnest(%(tags)s::bigint[], %(tag_numbers)s::int[])",
    lists="SELECT * FROM unnest(%(lists)s::bigint[], %(list_numbers)s::int[])",
)
LABELS_OF_CONTACT = LABELS.format(
    tags="SELECT tag_id, 1 FROM crm_subscriber_tags WHERE subscriber_id = %(contact)s",
    lists="SELECT list_id, 1 FROM crm_subscriber_lists WHERE subscriber_id = %(contact)s",
)
# Values from before they were limited may be too large even alone.
CUSTOM_VALUES = """
SELECT id, CASE WHEN size <= %(max_bytes)s THEN text END AS text, size
FROM (SELECT id, custom_values::text AS text FROM crm_subscriber
      -- OFFSET makes the text once for its size and for the response.
      WHERE id = ANY(%(contacts)s::bigint[]) OFFSET 0) contact, octet_length(text) size
"""


# A contact: the values of CONTACT_COLUMNS, and then the ids of its tags and of its lists.
Contact = Row
# Labels by id, in the order of their titles: the values of the fields of their serializer.
Labels = dict[int, Row]


def read_contact(contact_id: int, user_source: str = "") -> Contact | None:
    """Return the contact with this id, or the one that it was merged into, or None.

    Args:
        contact_id: the id.
        user_source: the source of the user_id that is shown.
    """
    contact = fetch_row(CONTACT, {"id": contact_id, "user_source": user_source})
    return contact or _read_holder(("contact", str(contact_id)), user_source)


def read_contact_of_email(email: str, user_source: str = "") -> Contact | None:
    """Return the contact with this e-mail or alias by its key, or None, as `read_contact` does."""
    key = email_key(email)
    contact = fetch_row(CONTACT_OF_EMAIL, {"email_key": key, "user_source": user_source})
    return contact or _read_holder(("email", key), user_source)


def _read_holder(name: Name, user_source: str) -> Contact | None:
    holder = find_holder(name)
    return fetch_row(CONTACT, {"id": holder, "user_source": user_source}) if holder else None


def read_contacts(contact_ids: Sequence[int], user_source: str = "") -> list[Contact]:
    """Return the contacts with these ids, in the order of their ids, as `read_contact` does."""
    return fetch_rows(CONTACTS_OF_IDS, {"ids": list(contact_ids), "user_source": user_source})


def labels_of(contacts: Iterable[Contact], kinds: Collection[LabelKind]) -> dict[LabelKind, Labels]:
    """Return the labels of contacts, of each kind, by one statement.

    Raises:
        PageTooLarge: 422, a response with them has more than 8 MB of a kind.
    """
    tags: Counter[int] = Counter()
    lists: Counter[int] = Counter()
    for *_, tag_ids, list_ids in contacts:
        if "tags" in kinds:
            tags.update(tag_ids)
        if "lists" in kinds:
            lists.update(list_ids)
    found: dict[LabelKind, Labels] = {kind: {} for kind in kinds}
    if not tags and not lists:
        return found
    parameters = {
        "tags": [*tags],
        "tag_numbers": [*tags.values()],
        "lists": [*lists],
        "list_numbers": [*lists.values()],
    }
    return found | _fetch_labels(LABELS_OF_PAGE, parameters, kinds)


def labels_of_contact(contact_id: int, kinds: Collection[LabelKind]) -> dict[LabelKind, Labels]:
    """Return the labels of a contact as `labels_of` does.

    Raises:
        PageTooLarge: 422, they have more than 8 MB of a kind.
    """
    return _fetch_labels(LABELS_OF_CONTACT, {"contact": contact_id}, kinds) if kinds else {}


def _fetch_labels(
    statement: str, parameters: dict[str, Any], kinds: Collection[LabelKind]
) -> dict[LabelKind, Labels]:
    found: dict[LabelKind, Labels] = {kind: {} for kind in kinds}
    rows = fetch_rows(statement, {**parameters, "max_bytes": MAX_PAGE_BYTES})
    for is_list, is_public, *label, size_so_far in rows:
        kind: LabelKind = "lists" if is_list else "tags"
        if kind not in kinds:
            continue
        if size_so_far > MAX_PAGE_BYTES:
            raise PageTooLarge
        found[kind][label[0]] = (*label[:4], is_public, *label[4:]) if is_list else tuple(label)
    return found


def custom_values_of(contact_ids: Sequence[int]) -> dict[int, str]:
    """Return the custom values of contacts as JSON text, by id.

    Raises:
        PageTooLarge: 422, they have more than 8 MB.
    """
    rows = fetch_whole_page(CUSTOM_VALUES, {"contacts": list(contact_ids)}, size="size", order="id")
    return {row[0]: row[1] for row in rows}


def search_q(search: str, in_custom_values: bool = False) -> Q:
    """Return FluentCRM's search: part of any of eleven columns, or of first and last name.

    See tests/conformance/subscribers.json: "list: search, sort, status", and FluentCRM's
    app/Models/Subscriber.php, scopeSearchBy.

    Args:
        search: the text.
        in_custom_values: whether contacts with a custom value that has the text match too.
    """
    matches = Q()
    for column in SEARCHED_COLUMNS:
        matches |= Q(**{f"{column}__icontains": search})
    if "@" in search:
        key = email_key(search)
        matches |= Q(email_key__contains=key) | has_alias(lambda alias: Contains(alias, key))
    first, _, last = search.partition(" ")
    if last:
        matches |= Q(first_name__icontains=first) | Q(last_name__icontains=last)
    if in_custom_values:
        has_value = Func(
            F("custom_values"),
            Value(search),
            template="EXISTS (SELECT FROM jsonb_each_text(%(expressions)s)) > 0)",
            arg_joiner=") each WHERE strpos(lower(each.value), lower(",
            output_field=BooleanField(),
        )
        matches |= Q(has_value)
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


class AllContacts(NamedTuple):
    """All contacts in an order, of which a page is read without a look at the others."""

    # As for order_rows.
    column: str = "id"
    direction: str | None = None

    def page(self, start: int, per_page: int, user_source: str = "") -> tuple[list[Contact], int]:
        """Return the contacts of a page, as `read_contact` does, and the number of all contacts."""
        order = _order_of_all(self.column, (self.direction or "").upper() == "ASC")
        statement = PAGE_OF_ALL.format(order=order, limit=per_page, start=_within(start, per_page))
        if page := fetch_rows(statement, {"user_source": user_source}):
            return [row[:-1] for row in page], page[0][-1]
        return [], Subscriber.objects.count()


@cache
def _order_of_all(column: str, is_ascending: bool) -> str:
    """Return the SQL of `order_rows`, because making it takes longer than reading a page."""
    if column == "id":
        # The primary key has this order, and not the one with NULLS LAST.
        return "id" if is_ascending else "id DESC"
    ordered = order_rows(Subscriber.objects.all(), column, "ASC" if is_ascending else "DESC")
    statement, _ = ordered.query.sql_with_params()
    return statement.rpartition(" ORDER BY ")[2].replace('"crm_subscriber".', "")


def _within(start: int, per_page: int) -> int:
    """Return an OFFSET that PostgreSQL accepts."""
    return min(start, MAX_ID - per_page)


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
    start = _within(start, per_page)
    try:
        found, parameters, order = _found(contacts)
    except EmptyResultSet:  # a label that does not exist
        return [], 0
    statement = PAGE.format(found=found, order=order, per_page=per_page, start=start)
    # Not prepared, because a plan for any parameters took three times as long as one for these.
    [(total, ids)] = fetch_rows(statement, parameters, prepare=False)
    return ids, total


def ids_beyond(
    contacts: QuerySet[Subscriber], contact_id: int, number: int, *, ascending: bool = True
) -> list[int]:
    """Return the first ids of contacts beyond an id, in the order of the ids.

    Args:
        contacts: the contacts. Of all of them, no more are read than are returned.
        contact_id: the id before the first.
        number: how many ids are returned at most.
        ascending: whether the ids rise. Otherwise they fall.
    """
    is_filtered = bool(contacts.query.where)
    if ascending:
        contacts = contacts.filter(id__gt=contact_id).order_by("id")
    else:
        contacts = contacts.filter(id__lt=contact_id).order_by("-id")
    if is_filtered:
        return page_ids_and_total(contacts, 0, number)[0]
    return list(contacts.values_list("id", flat=True)[:number])


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
