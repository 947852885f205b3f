"""List what there is to filter by, for user interfaces, from the table of filters."""

from itertools import chain
from typing import Any

from crm.filters import FilterTable, providers
from crm.filters.types import Choices, ConditionGroup, HasPerm, Property


def filter_options(has_perm: HasPerm, table: FilterTable | None = None) -> list[dict[str, Any]]:
    """Return the table of filters as FluentCRM's option groups: those that a user may filter by.

    A provider without properties is left out, as custom fields are if there are none. See
    FluentCRM's app/Services/Helper.php, getAdvancedFilterOptions.
    """
    table = table or FilterTable()
    return [
        {
            "label": provider.verbose_name,
            "value": name,
            "children": [_property_options(*item) for item in table.properties(name).items()],
        }
        for name, provider in providers().items()
        if all(map(has_perm, provider.permissions)) and table.properties(name)
    ]


def _property_options(name: str, prop: Property) -> dict[str, Any]:
    """Return a property as FluentCRM describes it.

    Tallybook adds the types of values: `operators`, the fields that it `needs`, and those that are
    `optional`.
    """
    return {
        "label": prop.verbose_name,
        "value": name,
        **prop.options,
        "custom_operators": {
            value: operator.verbose_name for value, operator in prop.operators.items()
        },
        "operators": [
            {
                "value": value,
                "label": operator.verbose_name,
                "value_type": operator.value_type.name if operator.value_type else None,
            }
            for value, operator in prop.operators.items()
        ],
        "needs": _type_names(prop, required=True),
        "optional": _type_names(prop, required=False),
    }


def _type_names(prop: Property, required: bool) -> dict[str, str]:
    return {
        field: need.value_type.name
        for field, need in prop.needs.items()
        if need.is_required == required
    }


def value_hints(groups: list[ConditionGroup], has_perm: HasPerm) -> list[str]:
    """Return sentences about values of a valid filter that no contact has, such as misspelt ones.

    Args:
        groups: the compiled filter.
        has_perm: tells whether the admin user has a permission, as for `builder_table`.
    """
    values: dict[str, list[str]] = {}
    all_choices: dict[str, Choices] = {}
    for condition in chain(*groups):
        for field, choices in condition.prop.choices.items():
            value = condition.item.get(field, [])
            values.setdefault(choices.name, []).extend(
                value if isinstance(value, list) else [value]
            )
            all_choices[choices.name] = choices
    return [
        hint
        for name, choices in all_choices.items()
        if not choices.permission or has_perm(choices.permission)
        for hint in choices.hints(values[name])
    ]


def builder_table(has_perm: HasPerm) -> dict[str, Any]:
    """Return the table for the admin's builder: the options, and the choices for their values.

    Args:
        has_perm: tells whether the admin user has a permission. Choices that need one they lack
            are empty.
    """
    table = FilterTable()
    groups = filter_options(has_perm, table)
    all_choices: dict[str, Choices] = {}
    for group in groups:
        for child in group["children"]:
            choices = table.properties(group["value"])[child["value"]].choices
            child["choices"] = {field: choice.name for field, choice in choices.items()}
            all_choices |= {choice.name: choice for choice in choices.values()}
    return {
        "providers": groups,
        "choices": {
            name: {
                "closed": choices.closed,
                "items": choices.load()
                if not choices.permission or has_perm(choices.permission)
                else [],
            }
            for name, choices in all_choices.items()
        },
    }
