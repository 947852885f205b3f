"""Admin pages of custom fields."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, long_text, single_line
from crm.admin.base import StrictModelAdmin
from crm.api.custom_fields import to_options
from crm.custom_fields import (
    MAX_FIELDS,
    TOO_MANY_FIELDS,
    add_field,
    check_types,
    slug_of_label,
    update_field,
)
from crm.models import CHOICE_TYPES, CustomField, CustomKey, FieldType
from crm.segments import segments_with_fields

# Keys without a definition, on the list.
SHOWN_KEYS = 100
TYPE_HELP = (
    "Contacts keep the values that they have. One that does not fit is shown as it is, and a "
    "filter that compares numbers or dates does not match it."
)
SLUG_HELP = "The key in custom values. It stays. If empty, it is made from the label."
OPTIONS_HELP = "One a line, for selects, radio buttons and checkboxes."


class CustomFieldForm(forms.ModelForm):
    """The form of a custom field, validated as the API validates it."""

    slug = forms.CharField(max_length=MAX_NAME_LENGTH, required=False, help_text=SLUG_HELP)
    options = forms.CharField(
        required=False, help_text=OPTIONS_HELP, widget=forms.Textarea(attrs={"rows": 8})
    )

    class Meta:
        model = CustomField
        fields = ("label", "slug", "type", "options", "group", "position")
        help_texts: ClassVar[dict[str, str]] = {
            "type": TYPE_HELP,
            "group": "The heading under which the form of a contact shows it.",
            "position": "Fields are shown in this order.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "options" in self.fields:  # not on the page of an admin user who may only see it
            self.initial["options"] = "\n".join(self.instance.options)

    def clean_label(self) -> str:
        """Fold the whitespace of the label, as the API does."""
        label: str = single_line(MAX_NAME_LENGTH)(self.cleaned_data["label"])
        return label

    def clean_group(self) -> str:
        """Fold the whitespace of the group, as the API does."""
        group: str = single_line(MAX_NAME_LENGTH)(self.cleaned_data["group"])
        return group

    def clean_options(self) -> list[str]:
        """Return the lines as options."""
        try:
            return to_options(self.cleaned_data["options"].splitlines())
        except InvalidValue as error:
            raise ValidationError(error.message.format(field="options")) from None

    @override
    def clean(self) -> dict[str, Any]:
        """Make a slug for a new field, and look whether the type has options."""
        super().clean()
        fields = self.cleaned_data
        kind, options = fields.get("type"), fields.get("options")
        if kind in CHOICE_TYPES and options == []:
            self.add_error("options", "This type needs options.")
        elif kind not in CHOICE_TYPES:
            fields["options"] = []
        if "slug" in self.fields and "label" in fields and "slug" in fields:
            slugs = CustomField.objects.values_list("slug", flat=True)
            slug = long_text(MAX_NAME_LENGTH)(fields["slug"])
            fields["slug"] = slug or slug_of_label(fields["label"], slugs)
        if kind:
            types = dict(CustomField.objects.values_list("slug", "type"))
            try:
                check_types(types, {**types, fields.get("slug", self.instance.slug): kind})
            except InvalidFields as error:
                self.add_error("type", [*error.detail["type"].values()])
        if not self.instance.pk and CustomField.objects.count() >= MAX_FIELDS:
            raise ValidationError(TOO_MANY_FIELDS)
        return fields


@admin.register(CustomField)
class CustomFieldAdmin(StrictModelAdmin):
    """Custom fields in their order, and the keys of contacts' values that have no definition."""

    form = CustomFieldForm
    list_display = ("label", "slug", "type", "group", "position")
    list_per_page = MAX_FIELDS
    sortable_by = ()
    change_list_template = "admin/crm/customfield/change_list.html"

    @override
    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # A new one comes last.
        fields = ("label", "slug", "type", "options", "group")
        return (*fields, "position") if obj else fields

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        declared = CustomField.objects.values("slug")
        keys = CustomKey.objects.exclude(name__in=declared).order_by("name")
        if not request.user.has_perm("crm.view_subscriber"):
            keys = keys.none()
        names = list(keys.values_list("name", flat=True)[: SHOWN_KEYS + 1])
        context = {
            **(extra_context or {}),
            "keys": names[:SHOWN_KEYS],
            "has_more_keys": len(names) > SHOWN_KEYS,
        }
        return super().changelist_view(request, context)

    @override
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save as the API does.

        Raises:
            SlugTaken: another field has the slug.
            InvalidFields: there are 300 already.
            Http404: the field was deleted meanwhile.
        """
        if not change:
            add_field(obj)
        elif not update_field(obj.pk, form.cleaned_data):
            raise Http404

    @override
    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        fields = list(objs)
        counts: dict[str, Any] = {
            str(self.opts.verbose_name_plural): len(fields),
            "values of contacts": "stay, and are text without a definition",
        }
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        # A segment would match other contacts, with values as text.
        typed = {field.slug for field in fields if field.type != FieldType.TEXT}
        segments = segments_with_fields(typed)
        protected = [f"segment “{segment.title}”: change it first" for segment in segments]
        return [str(field) for field in fields], counts, lacking, protected
