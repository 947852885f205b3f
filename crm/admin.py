"""Contacts and application passwords for people."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, QuerySet
from django.forms import ModelChoiceField, ModelForm
from django.http import HttpRequest
from django.utils.timezone import now

from config.fields import Wrong, email_address
from crm import contacts
from crm.models import ApplicationPassword, List, Subscriber, Tag
from crm.passwords import create_application_password, revoke

admin.site.site_header = admin.site.site_title = "Tallybook"
admin.site.site_url = None  # there is no other site


class SubscriberForm(forms.ModelForm):
    """A contact's form: the e-mail is checked as the API checks it."""

    def clean_email(self) -> str:
        """The e-mail as typed. Raises ValidationError."""
        try:
            return email_address(self.cleaned_data["email"])
        except Wrong as wrong:
            raise ValidationError(wrong.text.format(field="email")) from None


@admin.register(Subscriber)
class SubscriberAdmin(admin.ModelAdmin):
    """Contacts; deleted with all their events."""

    form = SubscriberForm
    list_display = ("email", "first_name", "last_name", "status", "contact_type", "created_at")
    list_filter = ("status", "contact_type", "tags", "lists")
    search_fields = ("email", "first_name", "last_name")
    readonly_fields = ("custom_values", "created_at", "updated_at", "last_activity")
    filter_horizontal = ("tags", "lists")
    show_full_result_count = False

    def save_model(
        self, request: HttpRequest, obj: Subscriber, form: ModelForm, change: bool
    ) -> None:
        """Save, and say when."""
        obj.updated_at = now()
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Subscriber) -> None:  # noqa: ARG002
        """Delete the contact and its events."""
        contacts.delete_contacts([obj.pk])

    def delete_queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Subscriber],
    ) -> None:
        """Delete the contacts and their events."""
        contacts.delete_contacts(queryset.values_list("pk", flat=True))


@admin.register(Tag, List)
class SegmentAdmin(admin.ModelAdmin):
    """Tags, and lists."""

    list_display = ("title", "slug", "created_at")
    search_fields = ("title", "slug")
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012


@admin.register(ApplicationPassword)
class ApplicationPasswordAdmin(admin.ModelAdmin):
    """Application passwords: made here, shown once, revoked; never changed or read again."""

    list_display = (
        *("name", "user", "scope", "prefix"),
        *("last_used_at", "expires_at", "revoked_at"),
    )
    list_select_related = ("user",)
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
        revoked = revoke(list(queryset.values_list("pk", flat=True)))
        messages.success(request, f"{revoked} revoked.")

    def has_change_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: ApplicationPassword | None = None,  # noqa: ARG002
    ) -> bool:
        """Nobody: a secret cannot be changed, only made anew."""
        return False
