"""What a caller may do: the password's scope and its user's permissions, both."""

from typing import TYPE_CHECKING, NamedTuple

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from crm.authentication import Caller
from crm.models import Scope

if TYPE_CHECKING:
    # DRF's views import their permission classes.
    from rest_framework.views import APIView


class Access(NamedTuple):
    """What an action asks for: a scope, and one of Django's permissions."""

    scope: Scope
    permission: str


class HasAccess(BasePermission):
    """Lets through what the view's `access` names for its action; what it does not name, nobody."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Whether the caller may."""
        caller = request.user
        if not isinstance(caller, Caller):
            return False
        action = getattr(view, "action", None)
        if action == "metadata":
            return True
        if action is None:
            # A method that the address does not have is answered 405. An action that is named as a
            # method would answer at every address of its view.
            return not hasattr(view, str(request.method).lower())
        access: Access | None = getattr(view, "access", {}).get(action)
        if access is None or not caller.has_perm(access.permission):
            return False
        return caller.scope in (Scope.MANAGE, access.scope)
