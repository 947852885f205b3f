"""Contacts for people."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import ManyToManyField, QuerySet
from django.forms import CheckboxSelectMultiple
from django.http import Http404, HttpRequest, QueryDict
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from config.api.errors import InvalidFields
from config.api.validation import MOST_ITEMS, Wrong, email_address, is_row_id
from crm import contacts
from crm.admin.base import Filter, Listed
from crm.admin.deletion import CountedDeletion
from crm.admin.label_actions import SegmentActions
from crm.filters import narrowed, read_filters
from crm.labels import SEGMENTS, SegmentType, attach, detach
from crm.models import List, SavedSegment, Status, Subscriber, Tag
from crm.segments import find_saved_segment
from crm.selectors import ids_and_total


class StatusFilter(Filter):
    """Contacts of one status."""

    title = parameter_name = "status"

    def options(self) -> list[tuple[str, str]]:
        """All there are."""
        return [(str(value), str(label)) for value, label in Status.choices]

    def matching(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts. Raises ValueError."""
        return rows.filter(status=Status(value))


class TagFilter(Filter):
    """Contacts with one tag."""

    title = parameter_name = "tag"
    model: type[Tag | List] = Tag

    def options(self) -> list[tuple[str, str]]:
        """The first of them by title."""
        titles = self.model.objects.values_list("id", "title")[:MOST_ITEMS]
        return [(str(tag_id), title) for tag_id, title in titles]

    def matching(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts. Raises ValueError."""
        found = self.model.objects.filter(id=int(value)).first()
        if found is None:
            raise ValueError(value)
        through = self.model.subscribers.through.objects
        on_it = through.filter(**{f"{self.model._meta.model_name}_id": found.id})
        return rows.filter(id__in=on_it.values("subscriber_id"))


class ListFilter(TagFilter):
    """Contacts on one list."""

    title = parameter_name = "list"
    model = List


class SegmentFilter(Filter):
    """Contacts that a saved segment means."""

    title = parameter_name = "segment"

    def options(self) -> list[tuple[str, str]]:
        """The first of them by title."""
        return list(SavedSegment.objects.values_list("slug", "title")[:MOST_ITEMS])

    def matching(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts. Raises ValueError."""
        found = find_saved_segment(value)
        if found is None:
            raise ValueError(value)
        try:
            return narrowed(rows, read_filters(found.filters, "segment"))
        except InvalidFields:
            raise ValueError(value) from None


class SubscriberForm(forms.ModelForm):
    """A contact's form: the e-mail is checked as the API checks it.

    It carries along what each field was when the page was made. So what was not touched is not
    written, and what programs changed meanwhile stays.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = True

    def clean_email(self) -> str:
        """The e-mail as typed. Raises ValidationError."""
        try:
            return email_address(self.cleaned_data["email"])
        except Wrong as wrong:
            raise ValidationError(wrong.text.format(field="email")) from None

    def touched(self) -> dict[str, Any]:
        """The columns that somebody changed on the page."""
        changed = set(self.changed_data) - set(SEGMENTS)
        return {name: self.cleaned_data[name] for name in changed}

    def moved(self, kind: SegmentType) -> tuple[set[int], set[int]]:
        """The ids of tags or lists that were ticked, and that were unticked."""
        chosen = {segment.pk for segment in self.cleaned_data[kind]}
        # What stood on the page; a form without it was made by a program, and says all it wants.
        shown = cast(QueryDict, self.data).getlist(self[kind].html_initial_name)
        seen = {int(one) for one in shown if is_row_id(one)}
        return chosen - seen, seen - chosen


@admin.register(Subscriber)
class SubscriberAdmin(SegmentActions, CountedDeletion, Listed):
    """Contacts; deleted with all their events."""

    form = SubscriberForm
    actions = (*SegmentActions.actions, *CountedDeletion.actions)
    list_display: tuple[str, ...] = ("email", "name", "status", "created_at", "tagged")
    list_filter: ClassVar[tuple[type[Filter], ...]] = (
        StatusFilter,
        TagFilter,
        ListFilter,
        SegmentFilter,
    )
    search_fields = ("email", "first_name", "last_name")
    search_help_text = "E-mail or name"
    sortable_by = ("email", "created_at")
    ordering = ("-id",)
    fieldsets = (
        (
            None,
            {"fields": ("email", ("prefix", "first_name", "last_name"), "status", "contact_type")},
        ),
        ("Tags and lists", {"fields": ("tags", "lists")}),
        (
            "Address",
            {
                "fields": (
                    *("address_line_1", "address_line_2", ("postal_code", "city"), "state"),
                    *("country", "phone", "timezone", ("latitude", "longitude"), "ip"),
                )
            },
        ),
        (
            "More",
            {
                "fields": (
                    *("date_of_birth", "source", "avatar", "total_points", "life_time_value"),
                    *("custom_values", "created_at", "updated_at", "last_activity"),
                )
            },
        ),
    )
    readonly_fields = ("custom_values", "created_at", "updated_at", "last_activity")
    formfield_overrides: ClassVar[Any] = {ManyToManyField: {"widget": CheckboxSelectMultiple}}

    @admin.display(description="name")
    def name(self, contact: Subscriber) -> str:
        """First and last."""
        return contact.full_name or "-"

    @admin.display(description="tags")
    def tagged(self, contact: Subscriber) -> SafeString | str:
        """The titles of its tags."""
        return format_html_join(
            " ", '<span class="pill">{}</span>', ((t,) for t in contact.tags.all())
        )

    def find_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """The ids of a page and the number of contacts; a filter is run once for both."""
        if rows.query.where:
            return *ids_and_total(rows, start, per_page), False
        return super().find_ids(rows, start, per_page)

    def rows_of(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """With their tags."""
        return rows.prefetch_related("tags")

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Subscriber,
        form: Any,
        change: bool,
    ) -> None:
        """Write what was changed, as the API does.

        Raises EmailTaken, and Http404 for a contact that was just deleted.
        """
        fields = form.touched()
        if not change:
            obj.__dict__.update(contacts.create(fields).__dict__)
            return
        found = contacts.locked(contact_id=obj.pk)
        if found is None:
            raise Http404
        contacts.update(found, fields)

    def save_related(
        self,
        request: HttpRequest,  # noqa: ARG002
        form: Any,
        formsets: Any,  # noqa: ARG002
        change: bool,  # noqa: ARG002
    ) -> None:
        """Put the contact on what was ticked, and take it off what was unticked."""
        for kind in SEGMENTS:
            on, off = form.moved(kind)
            attach(kind, [form.instance.pk], on)
            detach(kind, [form.instance.pk], off)
