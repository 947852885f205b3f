"""Pages of users and groups: Django's, with this admin's handling of invalid URLs."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from typing_extensions import override

from config.audit import record
from crm.admin.base import StrictModelAdmin

admin.site.unregister([User, Group])


class AuditedAdmin(StrictModelAdmin):
    """Write to the audit log what users and groups may do from now on."""

    def rights(self, obj: Any) -> dict[str, Any]:
        """Return the name of a user or group, and what it may do."""
        raise NotImplementedError

    @override
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(request, "added", what=self.opts.model_name, **self.rights(obj))
        return super().log_addition(request, obj, message)

    @override
    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(request, "changed", what=self.opts.model_name, **self.rights(obj))
        return super().log_change(request, obj, message)


@admin.register(User)
class UserPages(AuditedAdmin, UserAdmin):
    """List, add and change users."""

    @override
    def rights(self, obj: User) -> dict[str, Any]:
        return {
            "name": obj.get_username(),
            "is_active": obj.is_active,
            "is_staff": obj.is_staff,
            "is_superuser": obj.is_superuser,
            "groups": [group.name for group in obj.groups.all()],
            "permissions": permissions_of(obj.user_permissions),
        }

    @override
    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # The filters of UserAdmin are names of fields.
        names = ("is_staff__exact", "is_superuser__exact", "is_active__exact", "groups__id__exact")
        return lookup in names


@admin.register(Group)
class GroupPages(AuditedAdmin, GroupAdmin):
    """List, add and change groups."""

    @override
    def rights(self, obj: Group) -> dict[str, Any]:
        return {"name": obj.name, "permissions": permissions_of(obj.permissions)}


def permissions_of(permissions: Any) -> list[str]:
    """Return permissions as `has_perm` names them."""
    names = permissions.values_list("content_type__app_label", "codename")
    return [f"{app}.{codename}" for app, codename in names]
