"""Custom fields: their definitions, and the values that each type has.

A definition belongs to a key of contacts' custom values. Values of other keys are stored as sent.
Deleting a definition keeps the values. See FluentCRM's app/Models/CustomContactField.php, and
`syncCustomFieldValues` of its app/Models/Subscriber.php, which stores scalars as text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from django.db import connection

from config.api.errors import FieldErrors, InvalidFields
from config.api.json_fields import MAX_OBJECT_BYTES
from config.api.serializers import format_datetime
from config.api.validation import (
    MAX_ITEMS,
    TOO_MANY_ITEMS,
    WHITESPACE,
    InvalidValue,
    is_zero_date,
    php_list,
    to_date,
    to_datetime,
    to_text,
)
from config.database import fetch_rows, in_transaction
from crm.filters.operators import to_number
from crm.labels import TRANSLITERATIONS, SlugTaken
from crm.models import LIST_TYPES, CustomField, CustomKey, FieldType, Subscriber
from crm.segments import segments_with_fields

# As many as a contact may have values.
MAX_FIELDS = 300
TOO_MANY_FIELDS = f"There may not be more than {MAX_FIELDS} custom fields."
IN_USE = "Segments use a field whose type would change: {}. Change them first."
# Of the options of a field as JSON, so that all definitions fit into a response.
MAX_OPTIONS_BYTES = 16 * 1024
# FluentCRM's, for slugs that it makes.
MAX_MADE_SLUG = 25
# The key of the advisory lock of definitions.
WRITE_LOCK = 0x7A11_F1E1
# What FluentCRM calls the types besides (`field_key`).
FIELD_KEYS = {
    **{kind: str(kind.value) for kind in FieldType},
    FieldType.SELECT_ONE: "single-select",
    FieldType.SELECT_MULTI: "multi-select",
}
# The names of columns, from which a slug that is made has to differ.
RESERVED_SLUGS = {field.name for field in Subscriber._meta.concrete_fields} | {"hash", "user_id"}

# Without those from before custom values were limited.
VALUES = """
SELECT key, value::text FROM crm_subscriber, jsonb_each(custom_values)
WHERE id = %(contact)s AND key = ANY(%(slugs)s::text[])
    AND octet_length(value::text) <= %(max_bytes)s
"""

Fields = Mapping[str, CustomField]


def declared_fields() -> dict[str, CustomField]:
    """Return the definitions by slug, in their order, by one statement."""
    return {field.slug: field for field in CustomField.objects.all()}


def defined_fields() -> list[CustomField]:
    """Return the definitions, and a text field for each other key that contacts have values of.

    The catalogue of keys has them, because a look at all contacts takes seconds. At most 1,000.
    """
    declared = declared_fields()
    # Without "", which no filter and no form could name.
    keys = CustomKey.objects.exclude(name__in=["", *declared]).order_by("name")[:MAX_ITEMS]
    return [*declared.values(), *(CustomField(label=key.name, slug=key.name) for key in keys)]


def values_of(contact_id: int, fields: Fields) -> dict[str, Any]:
    """Return the custom values that a contact has of these fields."""
    parameters = {"contact": contact_id, "slugs": list(fields), "max_bytes": MAX_OBJECT_BYTES}
    rows = fetch_rows(VALUES, parameters) if fields else []
    return {slug: orjson.loads(text) for slug, text in rows}


def text_of_value(value: Any) -> str:
    """Return a custom value for reading: a list with commas, any other value than text as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(text_of_value, value))
    return "" if value is None else orjson.dumps(value).decode()


def clean_values(values: Mapping[str, Any], fields: Fields) -> tuple[dict[str, Any], FieldErrors]:
    """Convert custom values to what their fields have; "" stays, which removes a value.

    Args:
        values: the values by key.
        fields: the definitions, as `declared_fields` returns them. Other keys keep any value.

    Returns:
        The converted values without the invalid ones, and the errors of those by their path, such
        as `custom_values.plan`.
    """
    cleaned: dict[str, Any] = {}
    errors: FieldErrors = {}
    for key, value in values.items():
        field = fields.get(key)
        if field is None or value is None or value == "":
            cleaned[key] = value
            continue
        try:
            cleaned[key] = to_field_value(field, value)
        except InvalidValue as error:
            errors[f"custom_values.{key}"] = error.for_field(f"custom_values.{key}")
    return cleaned, errors


def to_field_value(field: CustomField, value: Any) -> str | list[str] | None:
    """Convert a value to that of a field: a list of texts for checkboxes, else a text.

    An option need not be one of the field's, as in FluentCRM. None is a date without digits.

    Raises:
        InvalidValue: the field's type has no such value.
    """
    if field.type in LIST_TYPES:
        return to_choices(value, field.options)
    return CONVERSIONS.get(FieldType(field.type), to_text)(value)


def to_choices(value: Any, options: Sequence[str]) -> list[str]:
    """Convert to a list of texts. A text with commas is several, unless it is an option itself.

    See FluentCRM's app/Models/CustomContactField.php, formatCustomFieldValues.

    Raises:
        InvalidValue: an object, a list in the list, or more than 1,000 items.
    """
    value = php_list(value)
    if isinstance(value, dict):
        raise InvalidValue("array")
    if not isinstance(value, list):
        text = to_text(value)
        value = [text] if text in options else text.split(",")
    if len(value) > MAX_ITEMS:
        raise InvalidValue("max", TOO_MANY_ITEMS)
    return [text for item in value if (text := to_text(item).strip(WHITESPACE))]


def to_number_text(value: Any) -> str:
    """Convert a number to text as it was sent: "1.50" stays so.

    Raises:
        InvalidValue: no number.
    """
    text = value.strip(WHITESPACE) if isinstance(value, str) else value
    to_number(text)
    return to_text(text)


def to_date_text(value: Any) -> str | None:
    """Convert a date to `YYYY-MM-DD`, zeros to None.

    Raises:
        InvalidValue: no date.
    """
    parsed = None if is_zero_date(value) else to_date(value)
    return parsed.isoformat() if parsed else None


def to_datetime_text(value: Any) -> str | None:
    """Convert a datetime to `YYYY-MM-DD HH:MM:SS` in TIME_ZONE, zeros to None.

    Raises:
        InvalidValue: no datetime.
    """
    parsed = None if is_zero_date(value) else to_datetime(value)
    return format_datetime(parsed) if parsed else None


def to_any_text(value: Any) -> str:
    """Convert to text, an object or a list to JSON text, because programs send such data as text.

    An empty one is "", as in PHP.
    """
    if isinstance(value, (dict, list)):
        return orjson.dumps(value).decode() if value else ""
    return to_text(value)


CONVERSIONS: Mapping[FieldType, Callable[[Any], str | None]] = {
    FieldType.TEXT: to_any_text,
    FieldType.TEXTAREA: to_any_text,
    FieldType.NUMBER: to_number_text,
    FieldType.DATE: to_date_text,
    FieldType.DATE_TIME: to_datetime_text,
}


@in_transaction
def replace_fields(fields: Sequence[CustomField]) -> None:
    """Replace all definitions by these, whose slugs differ. Values of contacts stay.

    A field whose slug had a definition keeps its id. Concurrent calls replace one after the other.

    Raises:
        InvalidFields: 422, a field that a segment uses would have another type.
    """
    lock_fields()
    check_types(_types(declared_fields().values()), _types(fields), "fields")
    CustomField.objects.exclude(slug__in=[field.slug for field in fields]).delete()
    for position, field in enumerate(fields):
        field.position = position
    columns = ("label", "type", "options", "group", "position")
    CustomField.objects.bulk_create(
        fields, update_conflicts=True, unique_fields=("slug",), update_fields=columns
    )


@in_transaction
def add_field(field: CustomField) -> None:
    """Store a new definition after the others.

    Raises:
        SlugTaken: another one has the slug.
        InvalidFields: 422, there are 300 already, or a segment uses the values as text.
    """
    lock_fields()
    declared = declared_fields()
    if field.slug in declared:
        raise SlugTaken
    before = _types(declared.values())
    check_types(before, {**before, field.slug: field.type})
    if len(declared) >= MAX_FIELDS:
        raise InvalidFields({"fields": {"max": TOO_MANY_FIELDS}})
    field.position = max((each.position for each in declared.values()), default=-1) + 1
    field.save()


@in_transaction
def update_field(field_id: int, columns: Mapping[str, Any]) -> bool:
    """Change a definition. Returns whether it exists. Values of contacts stay as they are.

    Raises:
        InvalidFields: 422, a segment uses the field, which would have another type.
    """
    lock_fields()
    declared = declared_fields().values()
    before = _types(declared)
    changed = {each.slug: columns["type"] for each in declared if each.pk == field_id}
    check_types(before, {**before, **changed})
    return bool(CustomField.objects.filter(pk=field_id).update(**columns))


@in_transaction
def delete_field(field_id: int) -> None:
    """Delete a definition. Values of contacts stay as they are.

    Raises:
        InvalidFields: 422, a segment uses the field, whose values would be text.
    """
    lock_fields()
    declared = declared_fields().values()
    check_types(_types(declared), _types(each for each in declared if each.pk != field_id))
    CustomField.objects.filter(pk=field_id).delete()


def check_types(before: Mapping[str, str], after: Mapping[str, str], field: str = "type") -> None:
    """Check that no segment uses a custom field whose type would change.

    The segment would match other contacts. A key without a definition has the type text.

    Args:
        before: the types of all definitions, by slug.
        after: the same after a change.
        field: what the error is about.

    Raises:
        InvalidFields: 422, with the titles of the segments.
    """
    slugs = [
        slug
        for slug in {*before, *after}
        if before.get(slug, FieldType.TEXT) != after.get(slug, FieldType.TEXT)
    ]
    if slugs and (segments := segments_with_fields(slugs)):
        titles = ", ".join(f'"{segment.title}"' for segment in segments)
        raise InvalidFields({field: {"in_use": IN_USE.format(titles)}})


def _types(fields: Iterable[CustomField]) -> dict[str, str]:
    return {field.slug: field.type for field in fields}


def lock_fields() -> None:
    """Wait for other transactions that write definitions, until this one ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITE_LOCK])


def slug_of_label(label: str, taken: Iterable[str]) -> str:
    """Return a free slug for a label, as FluentCRM makes it: "Plan (new)" is "plan_new".

    See FluentCRM's app/Models/CustomContactField.php, generateSlug. Letters that are not ASCII are
    transliterated, where FluentCRM percent-encodes them.
    """
    text = label.lower().translate(TRANSLITERATIONS).replace(" ", "_").replace(".", "-")
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    base = re.sub(r"-+", "-", re.sub(r"[^a-z0-9_-]", "", plain)).strip("-") or "custom_field"
    base = base[:MAX_MADE_SLUG]
    is_reserved = base.isdigit() or base in RESERVED_SLUGS
    slug, number, used = f"cf_{base}" if is_reserved else base, 1, set(taken)
    while slug in used:
        slug, number = f"{base}_{number}", number + 1
    return slug


@in_transaction
def rename_group(old_name: str, new_name: str) -> int:
    """Give the fields of a group another group. Returns how many there were."""
    lock_fields()
    return CustomField.objects.filter(group=old_name).update(group=new_name)
