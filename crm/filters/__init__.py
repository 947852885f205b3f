"""FluentCRM's advanced filters: validate them, and compile them to SQL.

A filter is a list of groups, of which one has to match. A group is a list of conditions, which all
have to match: `{"source": [provider, property], "operator": …, "value": …, "extra_value": …}`.
Providers, properties and operators stand in one table, to which apps register their part
(crm/filters/contacts.py, events/filters). options.py and describe.py show the table to people.

See FluentCRM's app/Services/ContactsQuery.php, and tests/conformance/filters.json.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import chain, islice
from typing import Any

from django.db.models import F, Q, QuerySet

from config.api.errors import FieldErrors, Forbidden, InvalidFields
from config.api.validation import MESSAGES, InvalidValue, Validator, php_list
from crm.filters.operators import in_exact
from crm.filters.types import (
    CompiledCondition,
    Condition,
    ConditionGroup,
    ContactSet,
    HasPerm,
    InContactSet,
    Property,
    Provider,
    Statement,
    all_of,
    statement_alone,
)
from crm.labels import LabelKey, missing_labels
from crm.models import Subscriber

__all__ = [
    "ContactSet",
    "FilterTable",
    "apply_filter",
    "compile_filters",
    "contacts_matching",
    "label_errors",
    "labels_of",
    "matches",
    "providers",
    "read_filters",
    "register_provider",
    "require_permissions",
    "require_providers",
    "those_matching",
    "trusted",
]

MAX_CONDITIONS = 50
# The fields of FluentCRM's conditions. Its interface leaves a value where an operator takes none.
FLUENTCRM_FIELDS = ("source", "operator", "value", "extra_value")
# Names that an error lists at most.
MAX_NAMES = 50
NO_PROPERTY = Property("", {}, lambda _: Q())

_providers: dict[str, Provider] = {}


def register_provider(name: str, provider: Provider) -> None:
    """Add a provider to the table of filters."""
    _providers[name] = provider


def providers() -> Mapping[str, Provider]:
    """Return the table of filters, in the order of registration."""
    return _providers


class FilterTable:
    """The properties of all providers. Those that are in the database are read once, if need be."""

    def __init__(self, user_source: str = "") -> None:
        """Begin a table in which user_id is that of a source."""
        self.user_source = user_source
        self._loaded: dict[str, Mapping[str, Property]] = {}

    def properties(self, provider_name: str) -> Mapping[str, Property]:
        """Return the properties of a provider by their names on the wire."""
        provider = _providers[provider_name]
        if provider.load is None:
            return provider.properties
        if provider_name not in self._loaded:
            self._loaded[provider_name] = provider.load()
        return self._loaded[provider_name]


def trusted(_: str) -> bool:
    """Return that our own code has every permission (`HasPerm`)."""
    return True


def contacts_matching(filters: Any, path: str = "filters") -> QuerySet[Subscriber]:
    """Return the contacts that a filter matches; the empty filter matches all.

    Args:
        filters: the filter as sent.
        path: what errors call it.

    Raises:
        InvalidFields: 422 with every error by its path, such as `filters.0.1.operator`.
    """
    return apply_filter(Subscriber.objects.all(), read_filters(filters, path), trusted)


def matches(contact: Subscriber, filters: Any) -> bool:
    """Return whether a filter matches one contact, by the same SQL.

    Raises:
        InvalidFields: 422.
    """
    return those_matching([contact.pk], read_filters(filters, "filters")).exists()


def those_matching(contact_ids: list[int], groups: list[ConditionGroup]) -> QuerySet[Subscriber]:
    """Return those of the contacts that one of the groups matches; without groups all of them.

    Only the rows of these contacts are read, however large the store is. So the caller names a few
    hundred contacts at most.
    """
    if not contact_ids:
        return Subscriber.objects.none()
    is_match = Q()
    for group in groups:
        is_match |= all_of(condition.q(contact_ids) for condition in group)
    return Subscriber.objects.filter(is_match, in_exact(F("id"), contact_ids))


def apply_filter(
    contacts: QuerySet[Subscriber], groups: list[ConditionGroup], has_perm: HasPerm
) -> QuerySet[Subscriber]:
    """Return those of the contacts that one of the groups matches; without groups all.

    Raises:
        Forbidden: as `require_permissions`.
    """
    require_permissions(groups, has_perm)
    if len(groups) < 2:
        return contacts.filter(*(condition.q() for group in groups for condition in group))
    # A UNION, because PostgreSQL joins on conditions that are ANDed, but looks contacts up one by
    # one where they are ORed.
    statements = [_statement(group) for group in groups]
    union = " UNION ALL ".join(f"({sql})" for sql, _ in statements)
    parameters = tuple(chain.from_iterable(each for _, each in statements))
    return contacts.filter(InContactSet((union, parameters)))


def _statement(group: ConditionGroup) -> Statement:
    """Return the statement for the ids of the contacts that a group matches."""
    matching = Subscriber.objects.filter(*(condition.q() for condition in group))
    alone = statement_alone(matching)
    return alone or matching.values(subscriber_id=F("id")).query.sql_with_params()


def require_permissions(groups: Iterable[ConditionGroup], has_perm: HasPerm) -> None:
    """Check that a user may see what a filter asks for, before they learn who matches.

    Raises:
        Forbidden: 403, a condition is about what the user may not see.
    """
    require_providers((each.item["source"][0] for each in chain.from_iterable(groups)), has_perm)


def require_providers(names: Iterable[str], has_perm: HasPerm) -> None:
    """Check that a user may see what providers of filters are about.

    Raises:
        Forbidden: 403.
    """
    for name in names:
        provider = _providers[name]
        if not all(map(has_perm, provider.permissions)):
            raise Forbidden(f"You may not filter by {provider.verbose_name}.")


def read_filters(
    filters: Any, path: str, lock_labels: bool = False, table: FilterTable | None = None
) -> list[ConditionGroup]:
    """Validate and compile a filter. Empty groups are dropped.

    Args:
        filters: the filter as sent.
        path: what errors call it.
        lock_labels: whether its labels stay until the transaction ends.
        table: the properties, if the caller reads several filters.

    Raises:
        InvalidFields: 422 with every error by its path, or with every label that does not exist.
    """
    groups = compile_filters(filters, path, table)
    if errors := label_errors(groups, missing_labels(labels_of(groups), lock_labels)):
        raise InvalidFields(errors)
    return groups


def labels_of(groups: Iterable[ConditionGroup]) -> set[LabelKey]:
    """Return the labels that a filter names. They need not exist."""
    return {label for group in groups for condition in group for label in condition.labels}


def label_errors(
    groups: Iterable[ConditionGroup],
    missing: Collection[LabelKey],
    titles: Mapping[str, Mapping[str, str]] | None = None,
) -> FieldErrors:
    """Return an error for each condition that names a missing label.

    With `not_in`, a label that does not exist would match every contact.

    Args:
        groups: the filter.
        missing: labels that do not exist.
        titles: the titles that missing labels had, by kind and id in digits, as far as known.
    """
    errors: FieldErrors = {}
    for condition in chain.from_iterable(groups):
        if names := [
            f"{kind[:-1]} {_name_of_label(kind, label_id, titles or {})}"
            for kind, label_id in sorted(condition.labels & set(missing))
        ]:
            path = f"{condition.path}.value"
            message = f"The {path} names labels that do not exist: {', '.join(names)}."
            errors[path] = {"exists": message}
    return errors


def _name_of_label(kind: str, label_id: int, titles: Mapping[str, Mapping[str, str]]) -> str:
    title = titles.get(kind, {}).get(str(label_id))
    return str(label_id) if title is None else f'"{title}" ({label_id})'


def compile_filters(
    filters: Any, path: str, table: FilterTable | None = None
) -> list[ConditionGroup]:
    """Validate and compile a filter as `read_filters` does, whether its labels exist or not.

    Raises:
        InvalidFields: 422 with every error by its path.
    """
    filters = php_list(filters)
    filters = [php_list(group) for group in filters] if isinstance(filters, list) else None
    if filters is None or not all(isinstance(group, list) for group in filters):
        raise InvalidFields({path: {"array": f"The {path} must be a list of lists."}})
    if sum(map(len, filters)) > MAX_CONDITIONS:
        message = f"The {path} may not have more than {MAX_CONDITIONS} conditions."
        raise InvalidFields({path: {"max": message}})
    errors: FieldErrors = {}
    table = table or FilterTable()
    groups = [
        [
            _compile(item, f"{path}.{number}.{index}", table, errors)
            for index, item in enumerate(group)
        ]
        for number, group in enumerate(filters)
        if group
    ]
    if errors:
        raise InvalidFields(errors)
    return groups


def _compile(item: Any, path: str, table: FilterTable, errors: FieldErrors) -> CompiledCondition:
    """Compile a condition. An invalid one adds to `errors`, and its result is of no use."""
    invalid = CompiledCondition(Q(), False, path, {}, NO_PROPERTY)
    if not isinstance(item, dict):
        errors[path] = {"object": MESSAGES["object"].format(field=path)}
        return invalid
    item = {**item, "source": php_list(item.get("source"))}
    prop = _property(item["source"], f"{path}.source", table, errors)
    if prop is None:
        return invalid
    operator_name = str(item.get("operator"))
    operator = prop.operators.get(operator_name)
    if operator is None:
        errors[f"{path}.operator"] = _one_of_error(f"{path}.operator", prop.operators)
        return invalid
    types = {
        field: need.value_type
        for field, need in prop.needs.items()
        if need.is_required or item.get(field) not in (None, "")
    }
    if operator.value_type:
        types["value"] = operator.value_type
    errors_before = len(errors)
    for field in sorted(item.keys() - types.keys() - set(FLUENTCRM_FIELDS)):
        if item[field] not in (None, ""):
            message = f"The {path}.{field} has no meaning for {item['source'][1]}."
            errors[f"{path}.{field}"] = {"unknown": message}
    values = {
        field: _value(item.get(field), value_type.validator, f"{path}.{field}", errors)
        for field, value_type in types.items()
    }
    if len(errors) > errors_before:
        return invalid
    # With lists of PHP as lists, because segments are stored and shown so.
    sent = {f: php_list(item[f]) if isinstance(values[f], list) else item[f] for f in types}
    value = values.pop("value", None)
    condition = Condition(operator_name, operator, value, values, table.user_source)
    for field, error in prop.check(condition).items():
        errors[f"{path}.{field}"] = error.for_field(f"{path}.{field}")
    if len(errors) > errors_before:
        return invalid
    used_item = {"source": item["source"], "operator": operator_name, **sent}
    labels = [(prop.label_kind, each) for each in condition.value] if prop.label_kind else []
    return CompiledCondition(
        prop.matching(condition), operator.negated, path, used_item, prop, frozenset(labels)
    )


def _property(source: Any, path: str, table: FilterTable, errors: FieldErrors) -> Property | None:
    if (
        not isinstance(source, list)
        or len(source) != 2
        or not all(isinstance(part, str) for part in source)
    ):
        errors[path] = {"array": f"The {path} must be a list of provider and property."}
        return None
    if source[0] not in _providers:
        errors[path] = _one_of_error(path, _providers, "provider")
        return None
    properties = table.properties(source[0])
    prop = properties.get(source[1])
    if prop is None:
        errors[path] = _one_of_error(path, properties, "property")
    return prop


def _one_of_error(path: str, choices: Iterable[str], noun: str = "") -> dict[str, str]:
    subject = f"The {noun} of {path}" if noun else f"The {path}"
    return {"in": f"{subject} must be one of: {', '.join(islice(choices, MAX_NAMES))}."}


def _value(value: Any, validator: Validator, path: str, errors: FieldErrors) -> Any:
    """Validate a field of a condition; null, "" and [] are missing values."""
    try:
        converted = None if value is None else validator(value)
        if converted in (None, "", []):
            raise InvalidValue("required")
    except InvalidValue as error:
        errors[path] = error.for_field(path)
        return None
    return converted
