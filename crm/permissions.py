"""Permit an API client what its application password's scope and its user's permissions allow."""

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from typing_extensions import override

from crm.models import ApplicationPassword, Scope

if TYPE_CHECKING:
    # DRF's views import their permission classes.
    from rest_framework.views import APIView


class Access:
    """What an action requires: a scope, and all of these permissions of Django."""

    def __init__(self, scope: Scope | None, *permissions: str) -> None:
        """Set `scope`, None for any, and `permissions` such as crm.view_tag."""
        self.scope = scope
        self.permissions = permissions


class HasAccess(BasePermission):
    """Permit an action only if the view's `access` names it and the client fulfils both parts."""

    @override
    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.auth, ApplicationPassword):
            return False
        action = getattr(view, "action", None)
        if action == "metadata":
            return True
        if action is None:
            # DRF answers 405 to a method that the URL does not have. An action that is named as an
            # HTTP method would answer at every URL of its view, so it is never permitted.
            return not hasattr(view, str(request.method).lower())
        access: Access | None = getattr(view, "access", {}).get(action)
        return access is not None and is_permitted(request, access)


def user_of(request: Request) -> User:
    """Return the user of a request with an application password."""
    assert isinstance(request.user, User)
    return request.user


def user_source_of(request: Request) -> str:
    """Return the source of the user_ids of a request with an application password."""
    assert isinstance(request.auth, ApplicationPassword)
    return request.auth.user_source


def is_permitted(request: Request, access: Access) -> bool:
    """Return whether a request has an application password that fulfils both parts."""
    if not isinstance(request.auth, ApplicationPassword):
        return False
    if not all(map(request.user.has_perm, access.permissions)):
        return False
    return access.scope is None or request.auth.scope in (Scope.MANAGE, access.scope)
