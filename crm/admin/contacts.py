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
from config.api.validation import MAX_ITEMS, InvalidValue, is_valid_id, to_email
from crm import contacts
from crm.admin.base import PagedModelAdmin, ValueFilter
from crm.admin.deletion import DeleteContactsMixin
from crm.admin.label_actions import LabelActionsMixin
from crm.filters import apply_filter, read_filters
from crm.labels import LABEL_MODELS, LabelKind, attach, detach
from crm.models import List, Segment, Status, Subscriber, Tag
from crm.segments import find_segment
from crm.selectors import page_ids_and_total


class StatusFilter(ValueFilter):
    """Contacts of one status."""

    title = parameter_name = "status"

    def options(self) -> list[tuple[str, str]]:
        """All there are."""
        return [(str(value), str(label)) for value, label in Status.choices]

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts. Raises ValueError."""
        return rows.filter(status=Status(value))


class TagFilter(ValueFilter):
    """Contacts with one tag."""

    title = parameter_name = "tag"
    model: type[Tag | List] = Tag

    def options(self) -> list[tuple[str, str]]:
        """The first of them by title."""
        titles = self.model.objects.values_list("id", "title")[:MAX_ITEMS]
        return [(str(tag_id), title) for tag_id, title in titles]

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts. Raises ValueError."""
        found = self.model.objects.filter(id=int(value)).first()
        if found is None:
            raise ValueError(value)
        through = self.model.subscribers.through.objects
        on_it = through.filter(**{f"{self.model._meta.model_name}_id": found.id})
        return rows.filter(id__in=on_it.values("subscriber_id"))


class ContactListFilter(TagFilter):
    """Contacts on one list."""

    title = parameter_name = "list"
    model = List


class SegmentFilter(ValueFilter):
    """Contacts that a saved segment means."""

    title = parameter_name = "segment"

    def options(self) -> list[tuple[str, str]]:
        """The first of them by title."""
        return list(Segment.objects.values_list("slug", "title")[:MAX_ITEMS])

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts. Raises ValueError."""
        found = find_segment(value)
        if found is None:
            raise ValueError(value)
        try:
            return apply_filter(rows, read_filters(found.filters, "segment"))
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
            return to_email(self.cleaned_data["email"])
        except InvalidValue as wrong:
            raise ValidationError(wrong.message.format(field="email")) from None

    def changed_columns(self) -> dict[str, Any]:
        """The columns that somebody changed on the page."""
        changed = set(self.changed_data) - set(LABEL_MODELS)
        return {name: self.cleaned_data[name] for name in changed}

    def label_changes(self, kind: LabelKind) -> tuple[set[int], set[int]]:
        """The ids of tags or lists that were ticked, and that were unticked."""
        chosen = {segment.pk for segment in self.cleaned_data[kind]}
        # What stood on the page; a form without it was made by a program, and says all it wants.
        shown = cast(QueryDict, self.data).getlist(self[kind].html_initial_name)
        seen = {int(one) for one in shown if is_valid_id(one)}
        return chosen - seen, seen - chosen


@admin.register(Subscriber)
class SubscriberAdmin(LabelActionsMixin, DeleteContactsMixin, PagedModelAdmin):
    """Contacts; deleted with all their events."""

    form = SubscriberForm
    actions = (*LabelActionsMixin.actions, *DeleteContactsMixin.actions)
    list_display: tuple[str, ...] = ("email", "name", "status", "created_at", "tagged")
    list_filter: ClassVar[tuple[type[ValueFilter], ...]] = (
        StatusFilter,
        TagFilter,
        ContactListFilter,
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

    def page_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """The ids of a page and the number of contacts; a filter is run once for both."""
        if rows.query.where:
            return *page_ids_and_total(rows, start, per_page), False
        return super().page_ids(rows, start, per_page)

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
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
        fields = form.changed_columns()
        if not change:
            obj.__dict__.update(contacts.create(fields).__dict__)
            return
        found = contacts.get_for_update(contact_id=obj.pk)
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
        for kind in LABEL_MODELS:
            on, off = form.label_changes(kind)
            attach(kind, [form.instance.pk], on)
            detach(kind, [form.instance.pk], off)
