"""The admin page that takes back all occurrences that match a filter."""

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from crm.admin.jobs import redirect_to_new
from crm.contacts import find_contact
from events.models import EventOccurrence
from events.tracking.take_back_jobs import (
    PERMISSIONS,
    OccurrenceFilter,
    count_matching,
    create_take_back,
)


class TakeBackForm(forms.Form):
    """Which occurrences are taken back. The names are those of the list's filters."""

    key = forms.CharField(required=False, label="Event key", max_length=192)
    provider = forms.CharField(required=False, max_length=50)
    contact = forms.CharField(required=False, max_length=254, help_text="Id or e-mail.")
    since = forms.DateTimeField(
        required=False,
        label="Happened since",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}),
    )
    until = forms.DateTimeField(
        required=False,
        label="Happened before",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}),
    )
    number = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def clean_contact(self) -> int | None:
        """Return the id of the contact."""
        text = self.cleaned_data["contact"].strip()
        contact = find_contact(text) if text else None
        if text and contact is None:
            raise ValidationError("There is no such contact.")
        return contact.pk if contact else None

    def clean(self) -> dict[str, Any]:
        """Reject a filter that matches everything."""
        super().clean()
        if not self.errors and self.chosen().is_empty:
            raise ValidationError("Choose what is taken back: all occurrences would match.")
        return self.cleaned_data

    def chosen(self) -> OccurrenceFilter:
        """Return the filter of a valid form."""
        data = self.cleaned_data
        return OccurrenceFilter(
            data["key"].strip(),
            data["provider"].strip(),
            data["contact"],
            data["since"],
            data["until"],
        )


def take_back_view(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the form, then the true number, and then start the job.

    Args:
        request: a GET shows the form, or counts what its query names. A POST starts the job, if
            as many match as the page has named.
        context: of all pages of the admin.
    """
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    form = TakeBackForm(request.POST or request.GET or None)
    found = count_matching(form.chosen()) if form.is_valid() else None
    named = form.cleaned_data.get("number") if form.is_valid() else None
    if request.method == "POST" and found and named == found.occurrences:
        assert isinstance(request.user, User)
        return redirect_to_new(request, create_take_back(form.chosen(), request.user))
    context |= {
        "title": "Take back occurrences",
        "opts": EventOccurrence._meta,
        "form": form,
        "found": found,
        "changed": request.method == "POST" and found is not None,
    }
    return TemplateResponse(request, "admin/events/eventoccurrence/take_back_many.html", context)
