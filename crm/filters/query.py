"""Filter by simple query parameters: `?created_after=2026-01-01&event_key=checkout`.

All of them have to match. Each app declares its parameters in a FilterSet that it registers.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from typing_extensions import override

from config.api.errors import FieldErrors, Forbidden, InvalidFields
from config.api.validation import InvalidValue, Validator, is_empty
from crm.filters.operators import to_date_or_datetime
from crm.filters.types import HasPerm
from crm.models import Subscriber


class ValidatedField(forms.Field):
    """A form field that validates as the API's other fields do."""

    def __init__(self, *, validator: Validator, **options: Any) -> None:
        self.validator = validator
        super().__init__(**options)

    @override
    def clean(self, value: Any) -> Any:
        if value is None:
            return None
        try:
            if is_empty(value):
                # An empty parameter must not match every contact.
                raise InvalidValue("required")
            return self.validator(value)
        except InvalidValue as error:
            raise ValidationError(error.message, code=error.rule) from None


class QueryFilter(django_filters.Filter):  # type: ignore[misc]  # it has no types
    """A query parameter: its validator, and its description in OpenAPI."""

    field_class = ValidatedField

    def __init__(self, validator: Validator, description: str, **options: Any) -> None:
        self.description = description
        super().__init__(validator=validator, **options)


class QueryFilterSet(django_filters.FilterSet):  # type: ignore[misc]  # it has no types
    """The query parameters of an app, which are applied together.

    Unknown parameters that start with one of `prefixes` are rejected, because a mistyped filter
    must not match every contact. Others are ignored, because clients send WordPress's own.
    `permissions` are those that a user needs to filter by them.
    """

    prefixes: ClassVar[tuple[str, ...]] = ()
    permissions: ClassVar[tuple[str, ...]] = ()

    def contacts(self) -> QuerySet[Subscriber]:
        """Return the contacts that match.

        Raises:
            InvalidFields: 422.
        """
        if not self.is_valid():
            errors: FieldErrors = {}
            for name, field_errors in self.errors.as_data().items():
                [error] = field_errors
                errors[name] = {str(error.code): str(error.message).format(field=name)}
            raise InvalidFields(errors)
        contacts: QuerySet[Subscriber] = self.qs
        return contacts


class ContactQueryFilterSet(QueryFilterSet):
    """Query parameters about the contact itself."""

    prefixes = ("created",)
    created_after = QueryFilter(
        to_date_or_datetime,
        "Contacts created after a date or a datetime.",
        field_name="created_at",
        lookup_expr="gt",
    )


# Other filters of the list of contacts, whose names are protected in the same way.
OTHER_PARAMETERS = ("advanced_filters", "filter_type", "segment", "tags", "lists", "statuses")
# FluentCRM filters by company_ids as well. There are no companies here.
OTHER_PREFIXES = ("advanced_filter", "filter", "segment", "tag", "list", "status", "compan")
# The columns of contacts and their ids are not parameters.
NO_PARAMETERS = {
    *(column.name for column in Subscriber._meta.get_fields()),
    *("hash", "user_id", "ids", "contact_id", "contact_ids", "subscriber_ids", "subscribers"),
}
_registered: list[type[QueryFilterSet]] = [ContactQueryFilterSet]


def register_query_filter_set(filter_set: type[QueryFilterSet]) -> None:
    """Add an app's query parameters to the list of contacts."""
    _registered.append(filter_set)


def query_filter_help() -> dict[str, str]:
    """Return every query parameter with its description in OpenAPI."""
    return {
        name: query_filter.description
        for filter_set in _registered
        for name, query_filter in filter_set.base_filters.items()
    }


def apply_query_filters(
    contacts: QuerySet[Subscriber], params: Mapping[str, Any], has_perm: HasPerm
) -> QuerySet[Subscriber]:
    """Return those of the contacts that the query parameters match.

    Raises:
        Forbidden: 403, a parameter is about what the user may not see.
        InvalidFields: 422, a parameter is invalid, or is none but starts with a protected prefix or
            has the name of a column, in any case.
    """
    known = query_filter_help()
    prefixes = (*OTHER_PREFIXES, *(prefix for each in _registered for prefix in each.prefixes))
    names = ", ".join((*known, *OTHER_PARAMETERS))
    unknown = {
        name: {"in": f"There is no {name}; there are {names}."}
        for name in params
        if name not in known
        and name not in OTHER_PARAMETERS
        and (name.lower().startswith(prefixes) or name.lower() in NO_PARAMETERS)
    }
    if unknown:
        raise InvalidFields(unknown)
    for filter_set in _registered:
        data = {
            # Django forms treat None as absent, so "" has an explicit null rejected.
            name: "" if params[name] is None else params[name]
            for name in filter_set.base_filters
            if name in params
        }
        if data:
            if not all(map(has_perm, filter_set.permissions)):
                raise Forbidden(f"You may not filter by {', '.join(data)}.")
            contacts = filter_set(data, contacts).contacts()
    return contacts
