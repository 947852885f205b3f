"""Actions on several contacts that apps add to FluentCRM's do-bulk-action."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crm.filters.types import HasPerm


@dataclass(frozen=True)
class BulkActionResult:
    """The message of the response, and the ids of the contacts that the action changed."""

    message: str
    contact_ids: Sequence[int]


@dataclass(frozen=True)
class BulkAction:
    """An action on several contacts.

    Attributes:
        permissions: Django's permissions that it requires, beside that to change contacts.
        run: does it to contacts, who are named by their ids. The second argument is `new_status` of
            the request, by which FluentCRM names what the action needs. The third one tells what
            the user may do.
    """

    permissions: tuple[str, ...]
    run: Callable[[Sequence[int], str, HasPerm], BulkActionResult]


_actions: dict[str, BulkAction] = {}


def register_bulk_action(name: str, action: BulkAction) -> None:
    """Add an action by its `action_name`."""
    _actions[name] = action


def find_bulk_action(name: str) -> BulkAction | None:
    """Return the action that an app has added by this name, or None."""
    return _actions.get(name)
