"""Filter and order ActiveCampaign's list of contacts.

See the page "List, search, and filter contacts" of its API reference. An empty or unknown e-mail
finds no contact.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.lookups import Exact
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.pagination import query_parameter
from config.api.validation import (
    InvalidValue,
    Validator,
    is_empty,
    single_line,
    to_text,
    validate,
)
from config.api.viewsets import ApiViewSet
from crm.activecampaign.fields import decode_email, to_keyed, to_object_id
from crm.activecampaign.serializers import LIST_STATUSES, OPTED_OUT
from crm.activecampaign.viewsets import unknown_filters
from crm.aliases import has_alias
from crm.api.fields import to_contact_ids
from crm.api.filter_backends import DescribedFilterBackend
from crm.emails import email_key
from crm.filters.operators import to_date_or_datetime
from crm.models import Status, Subscriber
from crm.selectors import search_q

Contacts = QuerySet[Subscriber]
ANY_STATUS = "-1"
# What ActiveCampaign orders by, and the column.
ORDERS = {
    **{"id": "id", "email": "email", "cdate": "created_at", "udate": "updated_at"},
    **{"first_name": "first_name", "last_name": "last_name"},
}


def to_email_q(value: Any) -> Q:
    """Convert an e-mail to the condition of its contact. Any other text finds none."""
    key = email_key(to_text(decode_email(value)))
    return Q(email_key=key) | has_alias(lambda alias: Exact(alias, key))


def to_statuses_q(value: Any) -> Q:
    """Convert ActiveCampaign's status of a contact. -1 is any."""
    text = to_text(value).strip()
    if text in ("", ANY_STATUS):
        return Q()
    statuses = [each for each in Status if LIST_STATUSES.get(each, OPTED_OUT) == text]
    if not statuses:
        message = "The {field} must be -1 (any), 0 (unconfirmed), 1 (active), 2 or 3 (bounced)."
        raise InvalidValue("in", message)
    return Q(status__in=statuses)


def id_q(lookup: str) -> Callable[[Any], Q]:
    """Return a conversion of an id to a condition. An empty id filters nothing."""
    return lambda value: Q() if is_empty(value) else Q(**{lookup: to_object_id(value)})


def date_q(lookup: str) -> Callable[[Any], Q]:
    """Return a conversion of a date or a datetime to a condition."""
    return lambda value: Q(**{lookup: to_date_or_datetime(value)})


def to_search_q(value: Any) -> Q:
    """Convert a text to the condition that a contact has it."""
    text = single_line(255)(value)
    return search_q(text) if text else Q()


CONDITIONS: dict[str, Validator] = {
    "email": to_email_q,
    "search": to_search_q,
    "ids": lambda value: Q(id__in=to_contact_ids(value)),
    "listid": id_q("lists"),
    "tagid": id_q("tags"),
    "id_greater": id_q("id__gt"),
    "id_less": id_q("id__lt"),
    "status": to_statuses_q,
}
# Inside filters[…].
FILTERS: dict[str, Validator] = {
    "email": to_email_q,
    "created_after": date_q("created_at__gt"),
    "created_before": date_q("created_at__lt"),
    "updated_after": date_q("updated_at__gt"),
    "updated_before": date_q("updated_at__lt"),
}


class ContactFilterBackend(DescribedFilterBackend):
    """Filter and order contacts by ActiveCampaign's parameters."""

    parameters = (
        query_parameter("email", "The contact with this e-mail.", {"type": "string"}),
        query_parameter("search", "Part of any text of the contact.", {"type": "string"}),
        query_parameter("listid", "Contacts on this list.", {"type": "string"}),
        query_parameter("tagid", "Contacts with this tag.", {"type": "string"}),
        query_parameter("filters[email]", "The contact with this e-mail.", {"type": "string"}),
    )

    @override
    def filter_queryset(self, request: Request, queryset: Contacts, view: ApiViewSet) -> Contacts:
        params = view.params
        nested = validate({"filters": to_keyed, "orders": to_keyed}, params)
        sent = nested.get("filters", {})
        if unknown := sent.keys() - FILTERS.keys():
            raise unknown_filters(f"filters[{name}]" for name in sorted(unknown))
        conditions = [*validate(CONDITIONS, params).values(), *validate(FILTERS, sent).values()]
        for condition in conditions:
            queryset = queryset.filter(condition)
        return queryset.order_by(*order_of(nested.get("orders", {})), "id")


def order_of(orders: Mapping[str, Any]) -> list[str]:
    """Return the order of `orders[email]=ASC`.

    Raises:
        InvalidFields: 422, an unknown column.
    """
    if unknown := orders.keys() - ORDERS.keys():
        names = ", ".join(ORDERS)
        message = f"Contacts are ordered by {names}."
        raise InvalidFields({f"orders[{min(unknown)}]": {"in": message}})
    return [
        f"{'-' if str(direction).upper() == 'DESC' else ''}{ORDERS[name]}"
        for name, direction in orders.items()
    ]
