"""Application passwords for people."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Field, ForeignKey, QuerySet
from django.forms import Field as FormField
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest
from django.utils.timezone import now

from crm.admin.base import StrictModelAdmin
from crm.models import ApplicationPassword
from crm.passwords import create_application_password, revoke


class PasswordForm(ModelForm):
    """A new application password's form."""

    def clean_expires_at(self) -> datetime | None:
        """When it ends. Raises ValidationError for a time that is over."""
        ends: datetime | None = self.cleaned_data["expires_at"]
        if ends and ends <= now():
            raise ValidationError("It would have expired already.")
        return ends


@admin.register(ApplicationPassword)
class ApplicationPasswordAdmin(StrictModelAdmin):
    """Application passwords: made here, shown once, revoked; never changed or read again."""

    list_display = (
        *("name", "user", "scope", "prefix"),
        *("last_used_at", "expires_at", "revoked_at"),
    )
    list_select_related = ("user",)
    form = PasswordForm
    fields = ("user", "name", "scope", "expires_at")
    actions = ("revoke_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApplicationPassword]:
        """One's own; a superuser sees everybody's."""
        rows = super().get_queryset(request)
        user = request.user
        return rows if user.is_superuser else rows.filter(user_id=user.pk)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField | None:
        """Nobody makes a password for a user who can do more than they can."""
        if db_field.name == "user" and not request.user.is_superuser:
            kwargs["queryset"] = User.objects.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(
        self, db_field: Field, request: HttpRequest, **kwargs: Any
    ) -> FormField | None:
        """The two halves of a time have names of their own, for those who do not see them."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and isinstance(field.widget, AdminSplitDateTime):
            for half, name in zip(field.widget.widgets, ("date", "time"), strict=True):
                half.attrs["aria-label"] = f"{field.label}: {name}"
        return field

    def save_model(
        self,
        request: HttpRequest,
        obj: ApplicationPassword,
        form: ModelForm,  # noqa: ARG002
        change: bool,  # noqa: ARG002
    ) -> None:
        """Make it, and show its secret this once."""
        made, secret = create_application_password(obj.user, obj.name, obj.scope, obj.expires_at)
        obj.__dict__.update(made.__dict__)
        messages.warning(request, f"The application password, shown only now: {secret}")

    @admin.action(description="Revoke the selected application passwords", permissions=["delete"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[ApplicationPassword]
    ) -> None:
        """Revoke: they are refused from the next request on."""
        passwords = list(queryset)
        revoked = revoke([password.pk for password in passwords])
        for password in passwords:
            self.log_change(request, password, "Revoked.")
        messages.success(request, f"{revoked} revoked.")

    def has_change_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: ApplicationPassword | None = None,  # noqa: ARG002
    ) -> bool:
        """Nobody: a secret cannot be changed, only made anew."""
        return False
