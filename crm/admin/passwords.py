"""Admin pages of application passwords."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, QuerySet
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest
from django.utils.timezone import now
from typing_extensions import override

from config.audit import of_ids, record
from crm.admin.base import StrictModelAdmin
from crm.identities import to_user_source
from crm.models import ApplicationPassword
from crm.passwords import create_application_password, revoke


class PasswordForm(ModelForm):
    """The form of a new application password."""

    def clean_expires_at(self) -> datetime | None:
        """Reject a datetime in the past."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= now():
            raise ValidationError("It would have expired already.")
        return expires_at

    def clean_user_source(self) -> str:
        """Reject what is no name of a source."""
        return to_user_source(self.cleaned_data["user_source"])


@admin.register(ApplicationPassword)
class ApplicationPasswordAdmin(StrictModelAdmin):
    """Application passwords: created, shown once, revoked. A secret cannot be changed or read."""

    list_display = (
        *("name", "user", "scope", "prefix"),
        *("last_used_at", "expires_at", "revoked_at"),
    )
    list_select_related = ("user",)
    form = PasswordForm
    fields = ("user", "name", "scope", "new_contacts", "user_source", "expires_at")
    actions = ("revoke_selected",)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[ApplicationPassword]:
        # A superuser sees all, other admin users their own.
        rows = super().get_queryset(request)
        user = request.user
        return rows if user.is_superuser else rows.filter(user_id=user.pk)

    @override
    def formfield_for_foreignkey(
        self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField | None:
        # Otherwise an admin user could create a password of a user who can do more.
        if db_field.name == "user" and not request.user.is_superuser:
            kwargs["queryset"] = User.objects.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    @override
    def save_model(
        self, request: HttpRequest, obj: ApplicationPassword, form: ModelForm, change: bool
    ) -> None:
        password, secret = create_application_password(
            obj.user, obj.name, obj.scope, obj.expires_at, obj.new_contacts, obj.user_source
        )
        obj.__dict__.update(password.__dict__)
        fields = {"user": str(obj.user), "scope": obj.scope, "credential": obj.prefix}
        record(request, "added", what="application password", id=obj.pk, **fields)
        messages.warning(request, f"The application password, shown only now: {secret}")

    @admin.action(description="Revoke the selected application passwords", permissions=["delete"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[ApplicationPassword]
    ) -> None:
        """Revoke passwords, so that they are rejected from the next request on."""
        passwords = list(queryset)
        ids = [password.pk for password in passwords]
        revoked = revoke(ids)
        record(request, "revoked", what="application password", **of_ids(ids))
        for password in passwords:
            self.log_change(request, password, "Revoked.")
        messages.success(request, f"{revoked} revoked.")

    @override
    def has_change_permission(
        self, request: HttpRequest, obj: ApplicationPassword | None = None
    ) -> bool:
        return False
