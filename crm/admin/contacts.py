"""The base of the admin's contacts: list, filters and form.

events/admin/contacts.py puts the pages of contacts together from it.
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ManyToManyField, QuerySet
from django.db.models.lookups import Contains
from django.forms import CheckboxSelectMultiple
from django.http import Http404, HttpRequest, QueryDict
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.validation import MAX_ITEMS, InvalidValue, is_valid_id, to_email
from config.api.warnings import Warnings
from config.database import fetch_row, fetch_rows
from crm import contacts
from crm.admin.base import PagedModelAdmin, ValueFilter
from crm.admin.custom_values import CustomValuesForm, field_sets, name_of
from crm.admin.label_actions import offer_labels
from crm.aliases import has_alias
from crm.attachments import MAX_LABELS, attach, detach
from crm.custom_fields import Fields, declared_fields
from crm.emails import email_key
from crm.filters import apply_filter
from crm.labels import LABEL_MODELS, LabelKind, memberships
from crm.models import Segment, Status, Subscriber
from crm.segments import find_segment, read_segment
from crm.selectors import page_ids_and_total

# Of a contact, in the list.
SHOWN_TAGS = 20
FIRST_TITLES = """
SELECT subscriber_id, (array_agg(title ORDER BY lower(title), crm_tag.id))[:%(number)s]
FROM crm_subscriber_tags JOIN crm_tag ON crm_tag.id = tag_id
WHERE subscriber_id = ANY(%(contacts)s::bigint[]) GROUP BY subscriber_id
"""
# Of a contact's custom values, on its form.
SHOWN_CHARACTERS = 4000
CUSTOM_VALUES_START = """
SELECT left(text, %(length)s), length(text) - %(length)s
FROM (SELECT custom_values::text AS text FROM crm_subscriber
      WHERE id = %(contact)s OFFSET 0) contact
"""


# Returns a part of a contact's page as HTML, or "" if there is nothing to show to the admin user.
ContactSection = Callable[[HttpRequest, Subscriber], SafeString]
_sections: list[ContactSection] = []


def register_contact_section(section: ContactSection) -> None:
    """Add a part to the page of each contact."""
    _sections.append(section)


def contact_sections(request: HttpRequest, contact: Subscriber) -> list[SafeString]:
    """Return the parts of a contact's page that other apps add."""
    return [section(request, contact) for section in _sections]


class StatusFilter(ValueFilter):
    """Contacts of one status."""

    title = parameter_name = "status"

    @override
    def options(self) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Status.choices]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(status=Status(value))


class TagFilter(ValueFilter):
    """Contacts with one tag; the first 1,000 tags by title are offered."""

    title = parameter_name = "tag"
    kind: LabelKind = "tags"

    @override
    def options(self) -> list[tuple[str, str]]:
        titles = LABEL_MODELS[self.kind].objects.values_list("id", "title")[:MAX_ITEMS]
        return [(str(label_id), title) for label_id, title in titles]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not LABEL_MODELS[self.kind].objects.filter(id=int(value)).exists():
            raise ValueError(value)
        attached, column = memberships(self.kind)
        attached = attached.filter(**{column: int(value)})
        return rows.filter(id__in=attached.values("subscriber_id"))


class ContactListFilter(TagFilter):
    """Contacts on one list; the first 1,000 lists by title are offered."""

    title = parameter_name = "list"
    kind = "lists"


class SegmentFilter(ValueFilter):
    """Contacts of one segment; the first 1,000 segments by title are offered."""

    title = parameter_name = "segment"
    permissions = ("crm.view_segment",)

    @override
    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.has_perm = request.user.has_perm
        super().__init__(request, *args)

    @override
    def options(self) -> list[tuple[str, str]]:
        return list(Segment.objects.values_list("slug", "title")[:MAX_ITEMS])

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        segment = find_segment(value)
        if segment is None:
            raise ValueError(value)
        return apply_filter(rows, read_segment(segment), self.has_perm)


class SubscriberForm(CustomValuesForm):
    """A contact's form, which writes only the fields that the admin user changed.

    Every field carries its initial value along, so that what API clients change meanwhile stays.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind in LABEL_MODELS:
            if kind in self.fields:  # not on the page of an admin user who may only see it
                offer_labels(self.fields[kind], kind, self.instance)
        for field in self.fields.values():
            field.show_hidden_initial = True

    def clean_email(self) -> str:
        """Validate the e-mail as the API does, and link to another contact that has it."""
        try:
            email = to_email(self.cleaned_data["email"])
        except InvalidValue as error:
            raise ValidationError(error.message.format(field="email")) from None
        other = contacts.find_by_email(email)
        if other and other.pk != self.instance.pk:
            url = reverse("admin:crm_subscriber_contact", args=[other.pk])
            message = 'Another contact has this e-mail. See <a href="{}"><bdi>{}</bdi></a>.'
            raise ValidationError(format_html(message, url, other))
        return email

    @override
    def clean(self) -> dict[str, Any]:
        """Limit the contact's tags and lists, and convert its custom values, as the API does."""
        super().clean()
        self.custom_values = self.changed_values()
        for kind in LABEL_MODELS:
            if kind in self.cleaned_data:
                attached, detached = self.label_changes(kind)
                number = len(attached)
                if self.instance.pk:
                    rows, column = memberships(kind)
                    rows = rows.filter(subscriber_id=self.instance.pk)
                    kept = set(rows.values_list(column, flat=True)) - detached
                    number = len(kept | attached)
                if attached and number > MAX_LABELS:
                    message = f"A contact may have {MAX_LABELS} {kind} at most, not {number}."
                    self.add_error(kind, message)
        return self.cleaned_data

    def changed_columns(self) -> dict[str, Any]:
        """Return the columns that were changed in the form, with their new values."""
        names = set(self.changed_data) - set(LABEL_MODELS)
        names -= {name_of(field) for field in self.custom_fields.values()}
        return {name: self.cleaned_data[name] for name in names}

    def label_changes(self, kind: LabelKind) -> tuple[set[int], set[int]]:
        """Return the ids of the tags or lists that were ticked, and that were unticked."""
        chosen = {label.pk for label in self.cleaned_data[kind]}
        # The initial selection. A client that omits it sends the complete selection.
        initial = cast(QueryDict, self.data).getlist(self[kind].html_initial_name)
        initial_ids = {int(value) for value in initial if is_valid_id(value)}
        return chosen - initial_ids, initial_ids - chosen


class SubscriberAdmin(PagedModelAdmin):
    """The list and the form of contacts, without what other apps add."""

    form = SubscriberForm
    list_display: tuple[str, ...] = ("email", "name", "status", "created_at", "tag_titles")
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
            {
                "fields": (
                    *("email", ("prefix", "first_name", "last_name"), "status", "contact_type"),
                    "user_id",
                )
            },
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
                    *("custom_values_text", "created_at", "updated_at", "last_activity"),
                )
            },
        ),
    )
    readonly_fields = (
        *("user_id", "custom_values_text", "created_at", "updated_at", "last_activity"),
    )
    formfield_overrides: ClassVar[Any] = {ManyToManyField: {"widget": CheckboxSelectMultiple}}

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        first, labels, *others = super().get_fieldsets(request, obj)
        return [first, labels, *field_sets(self._custom_fields(request, obj)), *others]

    @override
    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        fields = self._custom_fields(request, obj)
        form = SubscriberForm.with_fields(fields, obj.pk if obj else None)
        return super().get_form(request, obj, change, form=form, **kwargs)

    def _custom_fields(self, request: HttpRequest, contact: Subscriber | None) -> Fields:
        """Return the custom fields of the form, which are read once a request."""
        may_write = (
            self.has_change_permission(request, contact)
            if contact
            else self.has_add_permission(request)
        )
        if not hasattr(request, "custom_fields"):
            request.custom_fields = declared_fields() if may_write else {}  # type: ignore[attr-defined]
        fields: Fields = request.custom_fields  # type: ignore[attr-defined]
        return fields

    @override
    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, has_duplicates = super().get_search_results(request, queryset, search_term)
        if "@" in search_term:
            key = email_key(search_term)
            found |= queryset.filter(has_alias(lambda alias: Contains(alias, key)))
        return found, has_duplicates

    @admin.display(description="name")
    def name(self, contact: Subscriber) -> str:
        """Return first and last name."""
        return contact.full_name or "-"

    @admin.display(description="user ID")
    def user_id(self, contact: Subscriber) -> str:
        """Return the ids that programs gave the contact, each with its source."""
        rows = contact.identities.filter(kind="user").order_by("source", "pk") if contact.pk else ()
        ids = (f"{row.source}: {row.value}" if row.source else row.value for row in rows)
        return ", ".join(ids) or "-"

    @admin.display(description="tags")
    def tag_titles(self, contact: Subscriber) -> SafeString | str:
        """Return the titles of the contact's tags."""
        titles: list[str] = contact.first_titles  # type: ignore[attr-defined]  # by page_rows
        pills = ((title,) for title in titles[:SHOWN_TAGS])
        shown = format_html_join(" ", '<span class="pill">{}</span>', pills)
        return format_html("{} and more", shown) if len(titles) > SHOWN_TAGS else shown

    @admin.display(description="custom values")
    def custom_values_text(self, contact: Subscriber) -> str:
        """Return the start of the contact's custom values as JSON."""
        parameters = {"contact": contact.pk, "length": SHOWN_CHARACTERS}
        row = fetch_row(CUSTOM_VALUES_START, parameters) if contact.pk else None
        if row is None:
            return "-"
        text, more = row
        return f"{text}… and {more:,} more characters" if more > 0 else text

    @override
    def page_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        if rows.query.where:
            return *page_ids_and_total(rows, start, per_page), False
        return super().page_ids(rows, start, per_page)

    @override
    def page_rows(self, rows: QuerySet[Any]) -> list[Any]:
        contacts = list(rows)
        parameters = {"contacts": [each.pk for each in contacts], "number": SHOWN_TAGS + 1}
        titles: dict[int, list[str]] = dict(fetch_rows(FIRST_TITLES, parameters))
        for contact in contacts:
            contact.first_titles = titles.get(contact.pk, [])
        return contacts

    @override
    def save_model(self, request: HttpRequest, obj: Subscriber, form: Any, change: bool) -> None:
        """Write what was changed, as the API does.

        Raises:
            EmailTaken: another contact has the e-mail.
            Http404: the contact was deleted meanwhile.
        """
        columns = form.changed_columns()
        warnings: Warnings = []
        if change:
            contact = contacts.get_for_update(contact_id=obj.pk)
            if contact is None:
                raise Http404
            contacts.update(contact, columns, warnings)
        else:
            contact = contacts.create(columns, warnings=warnings)
            obj.__dict__.update(contact.__dict__)
        try:
            with transaction.atomic():
                contacts.set_custom_values(contact, form.custom_values)
        except InvalidFields as error:
            for message in error.detail["custom_values"].values():
                messages.error(request, f"{message} They were not changed.")
        for warning in warnings:
            messages.warning(request, warning["message"])

    @override
    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        for kind in LABEL_MODELS:
            attached, detached = form.label_changes(kind)
            detach(kind, [form.instance.pk], detached)
            attach(kind, [form.instance.pk], attached)
