"""Contacts for people."""

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.timezone import now

from config.fields import Wrong, email_address
from crm.admin.actions import SegmentActions
from crm.admin.deletion import CountedDeletion
from crm.models import Subscriber


class SubscriberForm(forms.ModelForm):
    """A contact's form: the e-mail is checked as the API checks it."""

    def clean_email(self) -> str:
        """The e-mail as typed. Raises ValidationError."""
        try:
            return email_address(self.cleaned_data["email"])
        except Wrong as wrong:
            raise ValidationError(wrong.text.format(field="email")) from None


@admin.register(Subscriber)
class SubscriberAdmin(SegmentActions, CountedDeletion):
    """Contacts; deleted with all their events."""

    form = SubscriberForm
    actions = (*SegmentActions.actions, *CountedDeletion.actions)
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
