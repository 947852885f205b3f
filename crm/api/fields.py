"""Validate the fields of requests about contacts."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import CharField

from config.api.json_fields import to_json_object
from config.api.validation import (
    MAX_NAME_LENGTH,
    InvalidValue,
    Validator,
    nullable_line,
    single_line,
    to_coordinate,
    to_date,
    to_datetime,
    to_email,
    to_rounded_bigint,
    to_strings,
    to_url,
    to_user_id,
    validate,
)
from crm.models import Status, Subscriber

TEXT_COLUMNS = (
    *("prefix", "first_name", "last_name", "timezone", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "ip", "phone", "source"),
)


def max_length(column: str) -> int:
    """Return the length of a text column of contacts, in characters."""
    field = Subscriber._meta.get_field(column)
    assert isinstance(field, CharField)
    assert field.max_length
    return field.max_length


def to_label_names(value: Any) -> list[str]:
    """Convert to ids, titles or slugs of tags or lists: a list of up to 1,000, or one.

    Raises:
        InvalidValue: a text with a comma, because it may be one title or several. In a list, a
            title may have commas.
    """
    if isinstance(value, str) and "," in value:
        raise InvalidValue(
            "array", "The {field} must be an array, because a title may have a comma."
        )
    return to_strings(value)


# What an API client may set. Other fields are ignored, as in FluentCRM.
CONTACT_FIELDS: dict[str, Validator] = {
    "email": to_email,
    "status": single_line(max_length("status")),
    "user_id": lambda value: to_user_id(value) or None,
    "contact_type": single_line(max_length("contact_type")),
    "date_of_birth": to_date,
    "latitude": to_coordinate,
    "longitude": to_coordinate,
    "total_points": to_rounded_bigint,
    "life_time_value": to_rounded_bigint,
    "last_activity": to_datetime,
    "custom_values": to_json_object,
    **{column: nullable_line(max_length(column)) for column in TEXT_COLUMNS},
    "avatar": to_url(max_length("avatar")),
}
FULL_NAME: dict[str, Validator] = {"full_name": single_line(2 * MAX_NAME_LENGTH + 1)}
IMPORT_FIELDS: dict[str, Validator] = {"created_at": to_datetime}
LABEL_FIELDS: dict[str, Validator] = {"tags": to_label_names, "lists": to_label_names}


def contact_fields(
    params: Mapping[str, Any], required: Iterable[str] = (), is_import: bool = False
) -> dict[str, Any]:
    """Return the columns of a contact that a request sets.

    An unknown status is ignored, as in FluentCRM. See tests/conformance/subscribers.json.

    Args:
        params: the fields of the request.
        required: fields that must not be empty.
        is_import: whether the request may set created_at.

    Raises:
        InvalidFields: 422.
    """
    validators = {**CONTACT_FIELDS, **FULL_NAME, **(IMPORT_FIELDS if is_import else {})}
    fields = validate(validators, params, required)
    fields = split_full_name(fields, fields.pop("full_name", None))
    if fields.get("status") not in Status.values:
        fields.pop("status", None)
    for column in ("contact_type", "created_at"):
        if not fields.get(column):
            fields.pop(column, None)
    return fields


def split_full_name(fields: Mapping[str, Any], full_name: str | None) -> dict[str, Any]:
    """Split `full_name` at its first space, where the request has no other name.

    "Ada King Lovelace" is first name "Ada", last name "King Lovelace", as in FluentCRM.
    """
    if not full_name or fields.get("first_name") or fields.get("last_name"):
        return dict(fields)
    first, _, last = full_name.partition(" ")
    names = {"first_name": first[:MAX_NAME_LENGTH], "last_name": last[:MAX_NAME_LENGTH]}
    return {**fields, **names}
