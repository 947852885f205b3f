"""FluentCRM's endpoints of users: the admin users, and their groups, which are the roles."""

from typing import Any, ClassVar

from django.contrib.auth.models import Group, User
from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.pagination import MAX_PER_PAGE
from config.api.responses import Response
from config.api.validation import to_bigint, to_strings, validate
from config.api.viewsets import ApiViewSet
from crm.api.schema import reports as schema
from crm.models import Scope
from crm.permissions import Access

VIEW_USERS = "auth.view_user"
# As FluentCRM's policy: app/Http/Policies/UsersPolicy.php.
READ_USERS = Access(Scope.READ, VIEW_USERS)
USERS = 5


class AdminUserViewSet(ApiViewSet):
    """Admin users as FluentCRM shows WordPress's: `/users`."""

    access: ClassVar[dict[str, Access]] = {"list": READ_USERS, "roles": READ_USERS}

    @schema.USERS
    def list(self, request: Request) -> Response:
        """Return the first users by name, five by default, and the number of all.

        See FluentCRM's app/Http/Controllers/UsersController.php, index. `fields` is ignored.
        """
        params = validate({"limit": to_bigint, "roles": to_strings}, self.params)
        users = User.objects.order_by("username")
        if roles := params.get("roles"):
            users = users.filter(groups__name__in=roles).distinct()
        limit = min(params.get("limit") or USERS, MAX_PER_PAGE)
        rows = [
            {
                "ID": str(user.pk),
                "display_name": user.get_full_name() or user.get_username(),
                "user_email": user.email,
                "id": str(user.pk),
            }
            for user in users[:limit]
        ]
        return Response({"users": rows, "total": users.count()})

    @schema.ROLES
    @action(detail=False, pagination_class=None)
    def roles(self, request: Request) -> Response:
        """Return the groups as WordPress's roles."""
        return Response({"roles": roles()})


def roles() -> dict[str, Any]:
    """Return the groups as WordPress's get_editable_roles() returns roles, by name."""
    names = Group.objects.order_by("name").values_list("name", flat=True)
    return {name: {"name": name, "capabilities": {}} for name in names}
