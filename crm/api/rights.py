"""What calls about contacts require of an API client."""

from config.api.errors import Forbidden
from crm.api.filter_backends import VIEW_SEGMENTS
from crm.filters.types import HasPerm
from crm.models import Scope
from crm.permissions import Access

READ = Access(Scope.READ, "crm.view_subscriber")
READ_SEGMENTS = Access(Scope.READ, "crm.view_subscriber", VIEW_SEGMENTS)
ADD = Access(Scope.MANAGE, "crm.add_subscriber")
CHANGE = Access(Scope.MANAGE, "crm.change_subscriber")
DELETE = Access(Scope.MANAGE, "crm.delete_subscriber")


def require_change(is_new: bool, has_perm: HasPerm) -> None:
    """Check that a user may write a contact that exists. In the transaction that wrote it.

    Raises:
        Forbidden: 403, the user may only add contacts.
    """
    if not is_new and not all(map(has_perm, CHANGE.permissions)):
        raise Forbidden("The contact exists, and you may not change contacts.")
