"""The custom fields on a contact's form."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.contrib.admin.widgets import AdminDateWidget, AdminTextareaWidget, AdminTextInputWidget

from config.api.validation import InvalidValue
from crm.custom_fields import Fields, text_of_value, to_field_value, values_of
from crm.models import LIST_TYPES, CustomField, FieldType

# The widgets of fields that are typed. They show any stored text as it is, because an input that
# shows only what fits would send an empty value in place of it.
WIDGETS: Mapping[str, forms.Widget] = {
    FieldType.TEXT: AdminTextInputWidget(),
    FieldType.TEXTAREA: AdminTextareaWidget(),
    FieldType.NUMBER: AdminTextInputWidget(attrs={"inputmode": "decimal"}),
    FieldType.DATE: AdminDateWidget(),
    FieldType.DATE_TIME: AdminTextInputWidget(attrs={"placeholder": "YYYY-MM-DD HH:MM:SS"}),
}
NO_CHOICE = ("", "none")


def name_of(field: CustomField) -> str:
    """Return the name of a custom field in the form."""
    return f"custom_field_{field.pk}"


def field_sets(fields: Fields) -> list[tuple[str, dict[str, Any]]]:
    """Return the sections of the form, one for each group, in the order of their first fields."""
    groups: dict[str, list[str]] = {}
    for field in fields.values():
        groups.setdefault(field.group or "Custom fields", []).append(name_of(field))
    return [(group, {"fields": names}) for group, names in groups.items()]


def form_field(field: CustomField, value: Any) -> forms.Field:
    """Return the field of the form, whose choices have the stored value too."""
    if field.type in WIDGETS:
        widget = WIDGETS[field.type]
        return forms.CharField(label=field.label, required=False, widget=widget, strip=False)
    chosen = chosen_texts(value)
    choices = [(option, option) for option in dict.fromkeys([*field.options, *chosen])]
    if field.type in LIST_TYPES:
        is_box = field.type == FieldType.CHECKBOX
        boxes = forms.CheckboxSelectMultiple() if is_box else forms.SelectMultiple()
        return forms.MultipleChoiceField(
            label=field.label, required=False, choices=choices, widget=boxes
        )
    select = forms.RadioSelect() if field.type == FieldType.RADIO else forms.Select()
    return forms.ChoiceField(
        label=field.label, required=False, choices=[NO_CHOICE, *choices], widget=select
    )


def chosen_texts(value: Any) -> list[str]:
    """Return the options that a stored value chooses, also one from before the definition."""
    values = value if isinstance(value, list) else [value]
    return [text for each in values if (text := text_of_value(each))]


class CustomValuesForm(forms.ModelForm):
    """A form of a contact with its custom fields. `with_fields` makes a class that has some."""

    custom_fields: ClassVar[Fields] = {}
    stored_values: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for slug, field in self.custom_fields.items():
            value = self.stored_values.get(slug)
            is_list = field.type in LIST_TYPES
            self.initial[name_of(field)] = chosen_texts(value) if is_list else text_of_value(value)

    @classmethod
    def with_fields(cls, fields: Fields, contact_id: int | None) -> "type[CustomValuesForm]":
        """Return a class with custom fields, for a contact or for a new one."""
        values = values_of(contact_id, fields) if contact_id else {}
        own: dict[str, Any] = {"custom_fields": fields, "stored_values": values}
        for slug, field in fields.items():
            own[name_of(field)] = form_field(field, values.get(slug))
        return type(cls.__name__, (cls,), own)

    def changed_values(self) -> dict[str, Any]:
        """Return the values that were changed in the form, by slug. "" removes one.

        A value that its field cannot have adds an error.
        """
        values: dict[str, Any] = {}
        for slug, field in self.custom_fields.items():
            name = name_of(field)
            if name in self.changed_data and name in self.cleaned_data:
                value = self.cleaned_data[name] or ""
                try:
                    values[slug] = value and to_field_value(field, _with_line_feeds(value))
                except InvalidValue as error:
                    self.add_error(name, error.message.format(field=field.label))
        return values


def _with_line_feeds(value: Any) -> Any:
    """Return a text without the carriage returns that browsers send."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value
