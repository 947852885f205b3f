"""What there is to choose from in filters, for user interfaces, made from the filter table."""

from collections.abc import Callable
from typing import Any

from crm.filters import Choices, Property, providers


def filter_options() -> list[dict[str, Any]]:
    """The table as FluentCRM's option groups, for user interfaces."""
    return [
        {
            "label": provider.label,
            "value": name,
            "children": [_options(value, found) for value, found in provider.properties.items()],
        }
        for name, provider in providers().items()
    ]


def _options(name: str, found: Property) -> dict[str, Any]:
    """A property as FluentCRM describes it; `operators` and `needs` say which values it takes."""
    return {
        "label": found.label,
        "value": name,
        **found.about,
        "custom_operators": {value: one.label for value, one in found.operators.items()},
        "operators": [
            {
                "value": value,
                "label": one.label,
                "value_type": one.value_type.name if one.value_type else None,
            }
            for value, one in found.operators.items()
        ],
        "needs": {field: kind.name for field, kind in found.needs.items()},
    }


def builder_table(may: Callable[[str], bool]) -> dict[str, Any]:
    """The table for our own form: the options, and what it offers for values.

    `may(permission)`: what somebody may not see is not offered to them.
    """
    options = filter_options()
    offered: dict[str, Choices] = {}
    for group in options:
        for child in group["children"]:
            choices = providers()[group["value"]].properties[child["value"]].choices
            child["choices"] = {field: one.name for field, one in choices.items()}
            offered |= {one.name: one for one in choices.values()}
    return {
        "providers": options,
        "choices": {
            name: {
                "closed": one.closed,
                "items": one.load() if not one.permission or may(one.permission) else [],
            }
            for name, one in offered.items()
        },
    }
