"""The page that starts an export."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from typing_extensions import override

from crm.admin.jobs import JobKindAdmin, redirect_to_new
from transfers.exports import (
    CONTACTS,
    CSV,
    EVENTS,
    KIND_OF,
    NDJSON,
    OCCURRENCES,
    SEE_EVENTS,
    ExportOptions,
    create_export,
)
from transfers.exports.contacts import contact_columns
from transfers.models import Export

WHAT = {
    CONTACTS: "Contacts, each with its tags and lists",
    EVENTS: "Events with their counters. In NDJSON with all occurrences as well",
    OCCURRENCES: "Occurrences: each time that an event happened",
}
READERS = {
    NDJSON: "API clients, or another Tallybook (NDJSON)",
    "programs": "programs that read tables (CSV)",
    "excel": "Excel, in countries that write 1.5 (CSV with commas)",
    "excel-semicolon": "Excel, in countries that write 1,5 (CSV with semicolons)",
}


class ExportForm(forms.Form):
    """What is exported, and for whom."""

    what = forms.ChoiceField(choices=WHAT, widget=forms.RadioSelect, initial=CONTACTS)
    reader = forms.ChoiceField(
        label="For", choices=READERS, widget=forms.RadioSelect, initial="programs"
    )
    columns = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Of contacts as CSV. None means all.",
    )
    event_keys = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Of events and occurrences: only these keys, one in each line. Empty means all.",
    )
    since = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Of events and occurrences: only those that happened since then.",
    )

    def __init__(self, data: Any, user: Any) -> None:
        super().__init__(data)
        self.user = user
        names = [(name, name) for name in contact_columns()]
        self.fields["columns"].choices = names  # type: ignore[attr-defined]

    def clean_what(self) -> str:
        """Reject events to those who may not see them."""
        what: str = self.cleaned_data["what"]
        if what != CONTACTS and not self.user.has_perms(SEE_EVENTS):
            raise ValidationError("You may not see events.")
        return what

    def options(self) -> ExportOptions:
        """Return the options of the valid form."""
        data = self.cleaned_data
        is_ndjson = data["reader"] == NDJSON
        return ExportOptions(
            data["what"],
            NDJSON if is_ndjson else CSV,
            data["columns"],
            [key.strip() for key in data["event_keys"].splitlines() if key.strip()],
            data["since"].isoformat() if data["since"] else "",
            "programs" if is_ndjson else data["reader"],
        )


@admin.register(Export)
class ExportAdmin(JobKindAdmin):
    """Exports, and the page that starts one."""

    kinds = tuple(set(KIND_OF.values()))

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form, or create the job."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ExportForm(request.POST or None, request.user)
        if form.is_valid():
            assert isinstance(request.user, User)
            return redirect_to_new(request, create_export(form.options(), request.user))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Export",
            "form": form,
            "media": self.media + form.media,
        }
        return TemplateResponse(request, "admin/transfers/form.html", context)
