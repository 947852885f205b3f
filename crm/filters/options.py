"""List what there is to filter by, for user interfaces, from the table of filters."""

from collections.abc import Callable
from typing import Any

from crm.filters import providers
from crm.filters.types import Choices, Property


def filter_options() -> list[dict[str, Any]]:
    """Return the table of filters as FluentCRM's option groups.

    See FluentCRM's app/Services/Helper.php, getAdvancedFilterOptions.
    """
    return [
        {
            "label": provider.verbose_name,
            "value": name,
            "children": [_property_options(*item) for item in provider.properties.items()],
        }
        for name, provider in providers().items()
    ]


def _property_options(name: str, prop: Property) -> dict[str, Any]:
    """Return a property as FluentCRM describes it, and `operators` and `needs` with their types."""
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
        "needs": {field: need.value_type.name for field, need in prop.needs.items()},
    }


def builder_table(has_perm: Callable[[str], bool]) -> dict[str, Any]:
    """Return the table for the admin's builder: the options, and the choices for their values.

    Args:
        has_perm: tells whether the admin user has a permission. Choices that need one they lack
            are empty.
    """
    groups = filter_options()
    all_choices: dict[str, Choices] = {}
    for group in groups:
        for child in group["children"]:
            choices = providers()[group["value"]].properties[child["value"]].choices
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
