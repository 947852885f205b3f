"""Admin pages of the notes of contacts. A contact's page shows its newest notes."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, long_text, single_line
from crm import notes
from crm.admin.base import ContactFilter, PagedModelAdmin
from crm.contacts import find_contact
from crm.models import Subscriber, SubscriberNote

# On a contact's page.
SHOWN_NOTES = 10
SHOWN_CHARACTERS = 1000


def notes_context(contact_id: int) -> dict[str, Any]:
    """Return the newest notes of a contact for its page, and whether there are more."""
    rows = SubscriberNote.objects.filter(subscriber_id=contact_id).order_by("-id")
    rows = rows.defer("description").select_related("created_by")
    found = list(rows.annotate(start=Left("description", SHOWN_CHARACTERS + 1))[: SHOWN_NOTES + 1])
    for note in found:
        note.is_cut = len(note.start) > SHOWN_CHARACTERS  # type: ignore[attr-defined]
        note.start = note.start[:SHOWN_CHARACTERS]
    return {"notes": found[:SHOWN_NOTES], "more_notes": len(found) > SHOWN_NOTES}


class NoteForm(forms.ModelForm):
    """The form of a note."""

    contact = forms.CharField(max_length=254, help_text="Id or e-mail.")
    type = forms.ChoiceField()

    class Meta:
        model = SubscriberNote
        fields = ("title", "description", "created_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            # A note stays with its contact.
            self.fields.pop("contact", None)
        if "type" in self.fields:  # not on the page of an admin user who may only see the note
            # An API client may have sent another type.
            types = {self.instance.type: self.instance.type} | notes.TYPES
            self.fields["type"].choices = list(types.items())  # type: ignore[attr-defined]
            self.initial.setdefault("type", self.instance.type)

    def clean_contact(self) -> Subscriber:
        """Return the contact."""
        text = self.cleaned_data["contact"].strip()
        contact = None if "\0" in text else find_contact(text)
        if contact is None:
            raise ValidationError("There is no such contact.")
        return contact

    def clean_title(self) -> str:
        """Fold the whitespace of the title, as the API does."""
        return single_line(MAX_NAME_LENGTH)(self.cleaned_data["title"])

    def clean_description(self) -> str:
        """Validate the description as the API does."""
        validator = long_text(notes.MAX_DESCRIPTION_LENGTH)
        try:
            description: str = validator(self.cleaned_data["description"])
        except InvalidValue as error:
            raise ValidationError(error.message.format(field="description")) from None
        return description


@admin.register(SubscriberNote)
class NoteAdmin(PagedModelAdmin):
    """Notes, the newest first, by the permissions of their contacts."""

    form = NoteForm
    list_display = ("title", "contact_link", "type", "created_by", "created_at")
    list_filter = (ContactFilter,)
    search_fields = ("title",)
    search_help_text = "Title"
    sortable_by = ()
    ordering = ("-id",)
    actions = None
    readonly_fields = ("contact_link", "created_by", "updated_at")

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("crm.view_subscriber")

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms(("crm.view_subscriber", "crm.change_subscriber"))

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_add_permission(request)

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perms(("crm.view_subscriber", "crm.delete_subscriber"))

    @override
    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @override
    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = ("type", "title", "description", "created_at")
        if obj is None:
            return ("contact", *fields)
        return ("contact_link", *fields, "created_by", "updated_at")

    @override
    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        page = rows.select_related("subscriber", "created_by")
        return page.defer("description", "subscriber__custom_values")

    @admin.display(description="contact")
    def contact_link(self, note: SubscriberNote) -> SafeString:
        """Return a link to the contact's page."""
        url = reverse("admin:crm_subscriber_contact", args=[note.subscriber_id])
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, note.subscriber)

    @override
    def save_model(
        self, request: HttpRequest, obj: SubscriberNote, form: NoteForm, change: bool
    ) -> None:
        """Write as the API does.

        Raises:
            Http404: the note or its contact was deleted meanwhile.
        """
        fields = dict(form.cleaned_data)
        try:
            if change:
                # What API clients change meanwhile stays.
                changed = {name: fields[name] for name in form.changed_data}
                notes.change_note(obj.subscriber_id, obj.pk, changed)
            else:
                assert request.user.pk  # logged in
                contact: Subscriber = fields.pop("contact")
                note = notes.add_note(contact.pk, fields, request.user.pk)
                obj.__dict__.update(note.__dict__)
        except ObjectNotFound:
            raise Http404 from None

    @override
    def delete_model(self, request: HttpRequest, obj: SubscriberNote) -> None:
        notes.delete_note(obj.subscriber_id, obj.pk)

    @override
    def response_post_save_add(
        self, request: HttpRequest, obj: SubscriberNote
    ) -> HttpResponseRedirect:
        return HttpResponseRedirect(
            reverse("admin:crm_subscriber_contact", args=[obj.subscriber_id])
        )

    response_post_save_change = response_post_save_add
