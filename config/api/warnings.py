"""Report what a request did otherwise than it was sent, beside FluentCRM's keys of the response."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict


class FieldWarning(TypedDict):
    """A field that was not written as sent, with the rule and a message."""

    field: str
    rule: str
    message: str


Warnings = list[FieldWarning]


# The most choices of a form in one response.
MAX_CHOICES = 10_000


def capped(choices: Iterable[Any], field: str) -> tuple[Sequence[Any], Warnings]:
    """Return the first 10,000 choices, with a warning if there are more.

    Args:
        choices: the choices, read up to one more than are returned.
        field: what the response calls them.
    """
    # Once, because a queryset reads the rows of each slice.
    found = list(choices)
    if len(found) <= MAX_CHOICES:
        return found, []
    message = f"The {field} are the first {MAX_CHOICES:,} only."
    return found[:MAX_CHOICES], [{"field": field, "rule": "max", "message": message}]


def with_warnings(body: Mapping[str, Any], warnings: Sequence[FieldWarning]) -> dict[str, Any]:
    """Return the body of a response, with the key `warnings` if there are any."""
    return {**body, "warnings": warnings} if warnings else {**body}
