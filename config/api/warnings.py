"""Report what a request did otherwise than it was sent, beside FluentCRM's keys of the response."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class FieldWarning(TypedDict):
    """A field that was not written as sent, with the rule and a message."""

    field: str
    rule: str
    message: str


Warnings = list[FieldWarning]


def with_warnings(body: Mapping[str, Any], warnings: Sequence[FieldWarning]) -> dict[str, Any]:
    """Return the body of a response, with the key `warnings` if there are any."""
    return {**body, "warnings": warnings} if warnings else {**body}
