"""Read and show definitions of custom fields as FluentCRM's.

See its app/Models/CustomContactField.php and resources/admin/Modules/Settings/parts/
_CustomFieldForm.vue.
"""

from typing import Any

import orjson

from config.api.errors import FieldErrors, InvalidFields
from config.api.json_fields import json_text_or
from config.api.validation import (
    MAX_NAME_LENGTH,
    InvalidValue,
    Validator,
    long_text,
    nullable_line,
    single_line,
    to_list,
    to_text,
    validate,
)
from config.api.warnings import Warnings
from crm.custom_fields import FIELD_KEYS, MAX_FIELDS, MAX_OPTIONS_BYTES, slug_of_label
from crm.models import CHOICE_TYPES, LIST_TYPES, CustomField, FieldType

VALUE_TYPES = {
    **dict.fromkeys(FieldType, "string"),
    **dict.fromkeys(LIST_TYPES, "array"),
    FieldType.NUMBER: "numeric",
    FieldType.DATE: "date",
    FieldType.DATE_TIME: "datetime",
}
FIELD_TYPES = {
    FIELD_KEYS[kind]: {"type": kind.value, "label": kind.label, "value_type": VALUE_TYPES[kind]}
    for kind in FieldType
}
FIELD_GROUPS = [{"slug": "default", "title": "Custom Profile Data"}]
TYPES = {key: kind for kind, key in FIELD_KEYS.items()} | {
    str(kind.value): kind for kind in FieldType
}
DUPLICATE = "The field was ignored, because an earlier one has the slug."


def to_field_type(value: Any) -> FieldType:
    """Convert FluentCRM's `type` or `field_key` to a type."""
    try:
        return TYPES[to_text(value).strip()]
    except KeyError:
        message = f"The {{field}} must be one of: {', '.join(FieldType.values)}."
        raise InvalidValue("in", message) from None


def to_options(value: Any) -> list[str]:
    """Convert a list of texts, without empty and repeated ones.

    Raises:
        InvalidValue: an item is no text, or they have more than 16 KB together as JSON.
    """
    to_line = single_line(MAX_OPTIONS_BYTES)
    options = [*dict.fromkeys(text for item in to_list(value) if (text := to_line(item)))]
    if len(orjson.dumps(options)) > MAX_OPTIONS_BYTES:
        raise InvalidValue("max", "The {field} may not be greater than 16 KB together.")
    return options


def to_definitions(value: Any) -> list[Any]:
    """Convert to a list of up to 300 definitions, which `read_definitions` validates."""
    items = to_list(value)
    if len(items) > MAX_FIELDS:
        raise InvalidValue("max", f"The {{field}} may not have more than {MAX_FIELDS} items.")
    return items


FIELDS: dict[str, Validator] = {"fields": json_text_or(to_definitions)}
DEFINITION: dict[str, Validator] = {
    "type": to_field_type,
    "label": nullable_line(MAX_NAME_LENGTH),
    "slug": long_text(MAX_NAME_LENGTH),
    "options": to_options,
    "group": nullable_line(MAX_NAME_LENGTH),
}


def read_definitions(items: list[Any], warnings: Warnings) -> list[CustomField]:
    """Validate the definitions of a request, and make a slug for each that has none.

    A definition with the slug of an earlier one is ignored, as in FluentCRM.

    Args:
        items: the definitions as sent.
        warnings: collects what is not stored as sent.

    Raises:
        InvalidFields: 422 with the errors of all definitions, by path such as `fields.0.label`.
    """
    errors: FieldErrors = {}
    found: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            found.append(_read_definition(item, f"fields.{index}", warnings))
        except InvalidFields as error:
            errors |= error.detail
    if errors:
        raise InvalidFields(errors)
    fields: dict[str, CustomField] = {}
    sent_slugs = {columns["slug"] for columns in found}
    for index, columns in enumerate(found):
        columns["slug"] = columns["slug"] or slug_of_label(columns["label"], sent_slugs)
        if columns["slug"] in fields:
            path = f"fields.{index}.slug"
            warnings.append({"field": path, "rule": "unique", "message": DUPLICATE})
            continue
        sent_slugs.add(columns["slug"])
        fields[columns["slug"]] = CustomField(**columns)
    return [*fields.values()]


def _read_definition(item: Any, path: str, warnings: Warnings) -> dict[str, Any]:
    """Validate a definition, whose label may be missing if there is a slug."""
    if not isinstance(item, dict):
        raise InvalidFields({path: {"object": f"The {path} must be an object."}})
    sent = {
        **item,
        "type": item.get("type") or item.get("field_key"),
        "label": item.get("label") or item.get("slug"),
    }
    validators = {f"{path}.{name}": validator for name, validator in DEFINITION.items()}
    values = {f"{path}.{name}": sent[name] for name in DEFINITION if sent.get(name) is not None}
    found = validate(validators, values, (f"{path}.type", f"{path}.label"), warnings)
    columns = {name: found.get(f"{path}.{name}") or "" for name in DEFINITION}
    columns["options"] = columns["options"] or []
    if columns["type"] not in CHOICE_TYPES:
        columns["options"] = []
    return columns


def serialize_field(field: CustomField) -> dict[str, Any]:
    """Return a definition as FluentCRM stores and shows it, without keys that are empty."""
    shown: dict[str, Any] = {
        "field_key": FIELD_KEYS[FieldType(field.type)],
        "type": str(field.type),
        "label": field.label,
        "slug": field.slug,
    }
    if field.type in CHOICE_TYPES:
        shown["options"] = field.options
    return shown | ({"group": field.group} if field.group else {})
