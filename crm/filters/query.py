"""Filters for people who type addresses: `?created_after=2026-01-01&event_key=checkout`.

They are ANDed, and apps declare theirs in a class of their own that they register.
"""

from collections.abc import Mapping
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import InvalidValue, Validator, is_empty
from crm.filters.operators import to_date_or_datetime
from crm.models import Subscriber


class ValidatedField(forms.Field):
    """A form field that reads as the API's other fields do."""

    def __init__(self, *, read: Validator, **options: Any) -> None:
        self.read = read
        super().__init__(**options)

    def clean(self, value: Any) -> Any:
        """The value as read; None if it was not sent. Raises ValidationError."""
        if value is None:
            return None
        try:
            if is_empty(value):
                # Sent empty by mistake, it must not match everybody.
                raise InvalidValue("required")
            return self.read(value)
        except InvalidValue as wrong:
            raise ValidationError(wrong.message, code=wrong.rule) from None


class QueryFilter(django_filters.Filter):  # type: ignore[misc]
    """A query parameter: how it is read, what it says in the API's description, what it does."""

    field_class = ValidatedField

    def __init__(self, read: Validator, says: str, **options: Any) -> None:
        self.says = says
        super().__init__(read=read, **options)


class QueryFilterSet(django_filters.FilterSet):  # type: ignore[misc]
    """The query parameters of an app, applied together."""

    def contacts(self) -> QuerySet[Subscriber]:
        """Those of the contacts that fit. Raises InvalidFields (422)."""
        if not self.is_valid():
            errors: FieldErrors = {}
            for name, wrong in self.errors.as_data().items():
                [error] = wrong
                errors[name] = {str(error.code): str(error.message).format(field=name)}
            raise InvalidFields(errors)
        found: QuerySet[Subscriber] = self.qs
        return found


class ContactQueryFilterSet(QueryFilterSet):
    """What can be asked of a contact itself."""

    created_after = QueryFilter(
        to_date_or_datetime, "A date or a time.", field_name="created_at", lookup_expr="gt"
    )


# The list's other parameters that say whom it finds, and how names begin that must be right.
OTHER_PARAMETERS = ("advanced_filters", "segment")
RESERVED_PREFIXES = ("event", "created", "advanced_filter", "segment")
_registered: list[type[QueryFilterSet]] = [ContactQueryFilterSet]


def register_query_filter_set(filters: type[QueryFilterSet]) -> None:
    """Make an app's query parameters known to the list of contacts."""
    _registered.append(filters)


def query_filter_help() -> dict[str, str]:
    """Every query parameter, and what it says in the API's description."""
    return {
        name: found.says for filters in _registered for name, found in filters.base_filters.items()
    }


def apply_query_filters(
    contacts: QuerySet[Subscriber], params: Mapping[str, Any]
) -> QuerySet[Subscriber]:
    """Those of the contacts that the query parameters ask for.

    Raises InvalidFields (422), also for a parameter that begins as one of ours and is none: a
    mistyped filter must not match everybody.
    """
    known = query_filter_help()
    unknown = {
        name: {
            "in": f"There is no {name}; there are {', '.join(known)}, {', '.join(OTHER_PARAMETERS)}."
        }
        for name in params
        if name not in known and name not in OTHER_PARAMETERS and name.startswith(RESERVED_PREFIXES)
    }
    if unknown:
        raise InvalidFields(unknown)
    for filters in _registered:
        asked = {
            # Of a JSON body's null a form would say that it was not sent.
            name: "" if params[name] is None else params[name]
            for name in filters.base_filters
            if name in params
        }
        if asked:
            contacts = filters(asked, contacts).contacts()
    return contacts
