"""FluentCRM's advanced filters: read, refused where they are wrong, and made SQL.

A filter is a list of groups, of which one has to hold; a group is a list of conditions, which all
have to: `{"source": [provider, property], "operator": …, "value": …, "extra_value": …}`. What there
is of providers, properties, operators and values stands in one table, which apps register their
part of: crm/filters/contacts.py and events/filters/__init__.py. Reading and SQL are made from it here, what
user interfaces show in crm/filters/options.py and crm/filters/describe.py.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Any

from django.db.models import BooleanField, Expression, F, Func, Q, QuerySet, Subquery

from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import MESSAGES, InvalidValue, Validator
from crm.models import Subscriber

MAX_CONDITIONS = 50
# FluentCRM's interface leaves extra_value where it had a meaning once; these are ours.
ONLY_WHERE_NEEDED = ("path", "within_days")

Column = F | Expression
Test = Callable[[Column, Any], Expression | Q]


@dataclass(frozen=True)
class ValueType:
    """A kind of value: its name for user interfaces, and how it is read."""

    name: str
    read: Validator


@dataclass(frozen=True)
class Operator:
    """How a value is compared.

    `test(column, value)` is the SQL of it. `negated`: it is true of exactly those contacts that
    `test` is not true of, also of those that have nothing to compare. Without `value_type` it takes
    no value.
    """

    label: str
    value_type: ValueType | None
    test: Test
    negated: bool = False


@dataclass(frozen=True)
class Condition:
    """One item of a filter, read; `name` is its operator's, `extra` has what its property needs."""

    name: str
    operator: Operator
    value: Any
    extra: Mapping[str, Any]

    def test(self, column: Column) -> Expression | Q:
        """Whether the operator's test is true of a column."""
        return self.operator.test(column, self.value)


@dataclass(frozen=True)
class ContactSet:
    """Contacts that are some row's `subscriber_id`; with `flag`, of the rows where that is true.

    `negated`: the others.
    """

    rows: QuerySet[Any]
    flag: str = ""
    negated: bool = False

    def q(self, contact_id: int | None = None) -> Q:
        """The condition on contacts; with `contact_id` only that one's rows are looked at.

        EXISTS over a subquery in FROM: PostgreSQL joins on it, and on its negation, which it does
        not on NOT IN. OFFSET 0 has it read once as a whole, which takes a known time: without it
        the planner may look up contact by contact, and guesses wrong how often.
        """
        rows = self.rows if contact_id is None else self.rows.filter(subscriber_id=contact_id)
        columns = ("subscriber_id", self.flag) if self.flag else ("subscriber_id",)
        flagged = f"found.{self.flag} AND " if self.flag else ""
        inside = Func(
            Subquery(rows.values(*columns)),
            F("id"),
            template="EXISTS (SELECT FROM (SELECT * FROM %(expressions)s)",
            arg_joiner=f" each OFFSET 0) found WHERE {flagged}found.subscriber_id = ",
            output_field=BooleanField(),
        )
        return ~Q(inside) if self.negated else Q(inside)


@dataclass(frozen=True)
class Choices:
    """What a form offers for a field; `closed`: there is nothing else to choose.

    `load()` gives some (value, label), never more than MOST_ITEMS, to those who have `permission`.
    """

    name: str
    load: Callable[[], list[tuple[Any, str]]]
    permission: str = ""
    closed: bool = False


@dataclass(frozen=True)
class Property:
    """What a condition can be about.

    `matching(condition)` are the contacts of whom the condition's test is true. `needs` are further
    fields of the item; `about` is what FluentCRM's option groups say besides label and operators;
    `choices` are what our own form offers, by field.
    """

    label: str
    operators: Mapping[str, Operator]
    matching: Callable[[Condition], Q | ContactSet]
    needs: Mapping[str, ValueType] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Choices] = field(default_factory=dict)


@dataclass(frozen=True)
class Provider:
    """Properties that belong together."""

    label: str
    properties: Mapping[str, Property]


@dataclass(frozen=True)
class CompiledCondition:
    """A condition made SQL: the contacts that its test is true of, or with `negated` the others.

    `sent` is the item without what it has no use for.
    """

    contacts: Q | ContactSet
    negated: bool
    sent: dict[str, Any]

    def q(self, contact_id: int | None = None) -> Q:
        """The condition on contacts, or on the one whose id it is."""
        found = self.contacts if isinstance(self.contacts, Q) else self.contacts.q(contact_id)
        return ~found if self.negated else found


ConditionGroup = list[CompiledCondition]
_providers: dict[str, Provider] = {}


def register_provider(name: str, provider: Provider) -> None:
    """Make a provider's properties known to filters and their options."""
    _providers[name] = provider


def providers() -> Mapping[str, Provider]:
    """The whole table, in the order in which its parts were registered."""
    return _providers


def contacts_matching(filters: Any, place: str = "filters") -> QuerySet[Subscriber]:
    """The contacts that a filter, as sent, means; no filter means all.

    Raises InvalidFields (422) with every mistake by its place, such as `filters.0.1.operator`.
    """
    return apply_filter(Subscriber.objects.all(), read_filters(filters, place))


def matches(contact: Subscriber, filters: Any) -> bool:
    """Whether a filter means this contact, by the same SQL. Raises InvalidFields (422)."""
    return contact_if_matching(contact, filters).exists()


def contact_if_matching(contact: Subscriber, filters: Any) -> QuerySet[Subscriber]:
    """The contact alone if a filter means it, or nobody; looks at nobody else's rows.

    Raises InvalidFields (422).
    """
    groups = read_filters(filters, "filters")
    found = Q()
    for group in groups:
        found |= all_of(term.q(contact.pk) for term in group)
    return Subscriber.objects.filter(found, id=contact.pk)


def apply_filter(
    contacts: QuerySet[Subscriber], groups: list[ConditionGroup]
) -> QuerySet[Subscriber]:
    """Those of the contacts that are in one of the groups; no groups are no filter."""
    if len(groups) < 2:
        return contacts.filter(*(term.q() for group in groups for term in group))
    # Not OR in one WHERE: PostgreSQL joins on conditions that are ANDed, and looks the others up
    # contact by contact.
    found = [
        Subscriber.objects.filter(*(term.q() for term in group)).values("id") for group in groups
    ]
    return contacts.filter(id__in=found[0].union(*found[1:]))


def read_filters(filters: Any, place: str) -> list[ConditionGroup]:
    """A filter as the conditions of its groups; empty groups are dropped.

    Raises InvalidFields (422).
    """
    if not isinstance(filters, list) or not all(isinstance(group, list) for group in filters):
        raise InvalidFields({place: {"array": f"The {place} must be a list of lists."}})
    if sum(map(len, filters)) > MAX_CONDITIONS:
        text = f"The {place} may not have more than {MAX_CONDITIONS} conditions."
        raise InvalidFields({place: {"max": text}})
    errors: FieldErrors = {}
    groups = [
        [_compile(item, f"{place}.{number}.{index}", errors) for index, item in enumerate(group)]
        for number, group in enumerate(filters)
        if group
    ]
    if errors:
        raise InvalidFields(errors)
    return groups


def _compile(item: Any, place: str, errors: FieldErrors) -> CompiledCondition:
    """The contacts that an item is true of; mistakes go into `errors`."""
    refused = CompiledCondition(Q(), False, {})
    if not isinstance(item, dict):
        errors[place] = {"object": MESSAGES["object"].format(field=place)}
        return refused
    found = _property(item.get("source"), f"{place}.source", errors)
    if found is None:
        return refused
    chosen = str(item.get("operator"))
    operator = found.operators.get(chosen)
    if operator is None:
        errors[f"{place}.operator"] = _one_of_error(f"{place}.operator", found.operators)
        return refused
    wanted = dict(found.needs)
    if operator.value_type:
        wanted["value"] = operator.value_type
    before = len(errors)
    for name in ONLY_WHERE_NEEDED:
        if name not in wanted and item.get(name) not in (None, ""):
            text = f"The {place}.{name} has no meaning for {item['source'][1]}."
            errors[f"{place}.{name}"] = {"unknown": text}
    values = {
        field: _value(item.get(field), kind.read, f"{place}.{field}", errors)
        for field, kind in wanted.items()
    }
    if len(errors) > before:
        return refused
    condition = Condition(chosen, operator, values.pop("value", None), values)
    used = ("source", "operator", *wanted)
    sent = {name: item[name] for name in used}
    return CompiledCondition(found.matching(condition), operator.negated, sent)


def _property(source: Any, place: str, errors: FieldErrors) -> Property | None:
    if (
        not isinstance(source, list)
        or len(source) != 2
        or not all(isinstance(part, str) for part in source)
    ):
        errors[place] = {"array": f"The {place} must be a list of provider and property."}
        return None
    provider = _providers.get(source[0])
    if provider is None:
        errors[place] = _one_of_error(place, _providers, "provider")
        return None
    found = provider.properties.get(source[1])
    if found is None:
        errors[place] = _one_of_error(place, provider.properties, "property")
    return found


def _one_of_error(place: str, choices: Iterable[str], what: str = "") -> dict[str, str]:
    named = f"The {what} of {place}" if what else f"The {place}"
    return {"in": f"{named} must be one of: {', '.join(choices)}."}


def _value(value: Any, read: Validator, place: str, errors: FieldErrors) -> Any:
    """A field of an item; nothing, '' and [] are no value."""
    try:
        found = None if value is None else read(value)
        if found in (None, "", []):
            raise InvalidValue("required")
    except InvalidValue as wrong:
        errors[place] = wrong.for_field(place)
        return None
    return found


def all_of(tests: Iterable[Expression | Q]) -> Q:
    """All the tests in one."""
    return reduce(and_, (Q(test) for test in tests), Q())
