"""The parts of a filter: providers, properties and operators, in a table, and conditions."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import and_
from typing import Any

from django.db.models import BooleanField, Expression, F, Func, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.lookups import Exact
from django.db.models.sql.where import WhereNode

from config.api.validation import InvalidValue, Validator
from crm.labels import LabelKey, LabelKind

Column = F | Expression
# SQL and its parameters.
Statement = tuple[str, tuple[Any, ...]]
# Tells whether the user who asks has one of Django's permissions, such as crm.view_tag.
HasPerm = Callable[[str], bool]
# The SQL of an operator: test(column, value).
Test = Callable[[Column, Any], Expression | Q]


@dataclass(frozen=True)
class ValueType:
    """A type of values: its name for user interfaces, and its validator."""

    name: str
    validator: Validator


@dataclass(frozen=True)
class Operator:
    """A comparison with a value.

    Attributes:
        verbose_name: the name for user interfaces.
        value_type: None if the operator takes no value.
        test: the SQL of the comparison.
        negated: whether the operator matches exactly the contacts that `test` does not match, also
            those that have nothing to compare.
    """

    verbose_name: str
    value_type: ValueType | None
    test: Test
    negated: bool = False


@dataclass(frozen=True)
class Condition:
    """A validated condition: operator, value, and the further fields that its property needs.

    `user_source` is the source of the user_ids of who asks.
    """

    operator_name: str
    operator: Operator
    value: Any
    extra: Mapping[str, Any]
    user_source: str = ""

    def test(self, column: Column) -> Expression | Q:
        """Return the SQL of the operator on a column."""
        return self.operator.test(column, self.value)


def all_of(tests: Iterable[Expression | Q]) -> Q:
    """Combine tests with AND."""
    return reduce(and_, (Q(test) for test in tests), Q())


class InContactSet(Func):
    """Whether an id is among the `subscriber_id` of a statement: `EXISTS (SELECT FROM (…) …)`.

    PostgreSQL joins on EXISTS over a subquery in FROM, and on its negation, but not on NOT IN.
    OFFSET 0 makes it read the subquery once as a whole, in a time that does not depend on
    estimates. Otherwise the planner may look contacts up one by one.
    """

    template = "EXISTS (SELECT FROM (SELECT * FROM %(expressions)s)"
    arg_joiner = " each OFFSET 0) found WHERE found.subscriber_id = "
    output_field = BooleanField()

    def __init__(self, statement: Statement) -> None:
        # As text, because Django copies an expression at each level of nesting.
        super().__init__(RawSQL(*statement), F("id"))  # noqa: S611
        self.statement = statement


@dataclass(frozen=True)
class ContactSet:
    """The contacts referenced by `rows.subscriber_id`.

    Attributes:
        rows: any rows with a column subscriber_id.
        flag: the name of a boolean column that must be true.
        negated: whether the set is the complement.
        all_rows: returns a faster statement for the `subscriber_id` of all rows, if there is one.
    """

    rows: QuerySet[Any]
    flag: str = ""
    negated: bool = False
    all_rows: Callable[[], Statement] | None = None

    def q(self, contact_ids: list[int] | None = None) -> Q:
        """Return the condition on contacts.

        Args:
            contact_ids: if given, only the rows of these contacts are read.
        """
        if contact_ids is None:
            is_in: Expression = InContactSet((self.all_rows or self._statement)())
        else:
            # PostgreSQL looks for the contacts inside of the statement, grouped or not.
            sql, parameters = self._statement()
            own = RawSQL(  # noqa: S611
                f"SELECT subscriber_id FROM ({sql}) each WHERE subscriber_id = ANY(%s::bigint[])",  # noqa: S608
                # An array as text, because the driver takes long for a list.
                (*parameters, f"{{{','.join(map(str, contact_ids))}}}"),
            )
            # IN, because PostgreSQL reads the set once, also where conditions are ORed.
            is_in = Func(
                F("id"),
                own,
                template="%(expressions)s",
                arg_joiner=" IN ",
                output_field=BooleanField(),
            )
        return ~Q(is_in) if self.negated else Q(is_in)

    def _statement(self) -> Statement:
        columns = ("subscriber_id", self.flag) if self.flag else ("subscriber_id",)
        sql, parameters = self.rows.values(*columns).query.sql_with_params()
        if self.flag:
            sql = f"SELECT subscriber_id FROM ({sql}) each WHERE {self.flag}"  # noqa: S608
        return sql, parameters


def statement_alone(contacts: QuerySet[Any]) -> Statement | None:
    """Return the statement for `subscriber_id` if a set is the only condition on contacts.

    Its contacts exist, so that a join with their table would cost time for nothing.
    """
    node: Any = contacts.query.where
    while isinstance(node, WhereNode) and len(node.children) == 1 and not node.negated:
        node = node.children[0]
    # A condition that is no comparison is `Exact(condition, True)` to Django.
    is_in = node.lhs if isinstance(node, Exact) else None
    return is_in.statement if isinstance(is_in, InContactSet) else None


@dataclass(frozen=True)
class Choices:
    """The values that a form offers for a field.

    Attributes:
        name: equal names are equal choices, and are loaded once.
        load: returns (value, label) pairs, at most MAX_ITEMS.
        permission: Django's permission that an admin user needs to see them.
        closed: whether no other value is possible.
        hints: returns a sentence for each of the values that no contact has.
    """

    name: str
    load: Callable[[], list[tuple[Any, str]]]
    permission: str = ""
    closed: bool = False
    hints: Callable[[list[str]], list[str]] = lambda _: []


@dataclass(frozen=True)
class Need:
    """A further field that a condition on a property needs or may have, such as the event key.

    Attributes:
        value_type: the type of its values.
        phrase: how a sentence about the filter mentions the value, such as "of {}".
        noun: what an error calls the field, such as "event key".
        is_quoted: whether the sentence quotes the value.
        is_required: whether a condition without the field is rejected.
    """

    value_type: ValueType
    phrase: str
    noun: str
    is_quoted: bool = True
    is_required: bool = True


@dataclass(frozen=True)
class Property:
    """A property that a condition compares.

    Attributes:
        verbose_name: the name for user interfaces.
        operators: the operators by their names on the wire.
        matching: returns the contacts that the condition's test matches.
        needs: further fields of the condition, by name.
        check: returns the errors of fields that do not go together, by field.
        options: what FluentCRM's option groups say besides name and operators.
        choices: what our own form offers, by field.
        label_kind: the kind of labels whose ids the value lists, if any.
    """

    verbose_name: str
    operators: Mapping[str, Operator]
    matching: Callable[[Condition], Q | ContactSet]
    needs: Mapping[str, Need] = field(default_factory=dict)
    check: Callable[[Condition], Mapping[str, InvalidValue]] = lambda _: {}
    options: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Choices] = field(default_factory=dict)
    label_kind: LabelKind | None = None


@dataclass(frozen=True)
class Provider:
    """A group of properties.

    Attributes:
        verbose_name: the name for user interfaces.
        properties: the properties by their names on the wire.
        permissions: Django's permissions that a user needs to filter by them, because a filter
            tells what it asks for.
        load: returns the properties in place of `properties`, if the database has them.
    """

    verbose_name: str
    properties: Mapping[str, Property]
    permissions: tuple[str, ...] = ()
    load: Callable[[], Mapping[str, Property]] | None = None


@dataclass(frozen=True)
class CompiledCondition:
    """The contacts that a condition's test matches, or with `negated` the others.

    Attributes:
        path: what errors call the condition, such as `filters.0.1`.
        item: the condition as it was sent, without the fields that it ignores.
        prop: the property that it compares.
        labels: the labels that its value names. They need not exist.
    """

    contacts: Q | ContactSet
    negated: bool
    path: str
    item: dict[str, Any]
    prop: Property
    labels: frozenset[LabelKey] = frozenset()

    def q(self, contact_ids: list[int] | None = None) -> Q:
        """Return the condition on contacts; `contact_ids` as for ContactSet.q."""
        matches = self.contacts if isinstance(self.contacts, Q) else self.contacts.q(contact_ids)
        return ~matches if self.negated else matches


ConditionGroup = list[CompiledCondition]
