"""Pages of users and groups: Django's, with this admin's handling of invalid URLs."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from typing_extensions import override

from crm.admin.base import StrictModelAdmin

admin.site.unregister([User, Group])


@admin.register(User)
class UserPages(StrictModelAdmin, UserAdmin):
    """List, add and change users."""

    @override
    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # The filters of UserAdmin are names of fields.
        names = ("is_staff__exact", "is_superuser__exact", "is_active__exact", "groups__id__exact")
        return lookup in names


@admin.register(Group)
class GroupPages(StrictModelAdmin, GroupAdmin):
    """List, add and change groups."""
