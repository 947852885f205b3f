"""Custom fields: the definitions of keys of contacts' custom values."""

from django.db import models


class FieldType(models.TextChoices):
    """FluentCRM's types of custom fields: app/Models/CustomContactField.php, getFieldTypes."""

    TEXT = "text", "Single Line Text"
    TEXTAREA = "textarea", "Multi Line Text"
    NUMBER = "number", "Numeric Field"
    SELECT_ONE = "select-one", "Select choice"
    SELECT_MULTI = "select-multi", "Multiple Select choice"
    RADIO = "radio", "Radio Choice"
    CHECKBOX = "checkbox", "Checkboxes"
    DATE = "date", "Date"
    DATE_TIME = "date_time", "Date and Time"


# The types that have options, and those of them whose values are lists.
CHOICE_TYPES = (FieldType.SELECT_ONE, FieldType.SELECT_MULTI, FieldType.RADIO, FieldType.CHECKBOX)
LIST_TYPES = (FieldType.SELECT_MULTI, FieldType.CHECKBOX)


class CustomField(models.Model):
    """The definition of a custom field: the type of a key of contacts' custom values.

    Written by crm/custom_fields.py. Without a definition, a key may have any value.
    """

    label = models.CharField(max_length=192)
    # The key, compared exactly.
    slug = models.CharField(max_length=192)
    type = models.CharField(max_length=20, choices=FieldType, default=FieldType.TEXT)
    # Texts, in the order in which forms show them.
    options = models.JSONField(default=list, blank=True)
    # The heading under which forms show the field.
    group = models.CharField(max_length=192, blank=True)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("position", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("slug",),
                name="crm_customfield_slug",
                violation_error_message="Another one has this slug.",
            ),
        )

    def __str__(self) -> str:
        return self.label


class CustomKey(models.Model):
    """The catalogue of keys that custom values of contacts ever had, written with the values."""

    # The primary key, because a sequence would count up with each key that is there already.
    name = models.CharField(max_length=192, primary_key=True)

    class Meta:
        # No page shows it.
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
