"""Validate the fields of requests about contacts."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson
from django.db.models import CharField

from config.api.errors import InvalidFields
from config.api.json_fields import json_text_or, to_json_object
from config.api.validation import (
    MAX_NAME_LENGTH,
    NUL_MESSAGE,
    WHITESPACE,
    InvalidPart,
    InvalidValue,
    Validator,
    is_empty,
    is_zero_date,
    nullable_line,
    single_line,
    to_coordinate,
    to_date,
    to_datetime,
    to_email,
    to_ids,
    to_list,
    to_rounded_bigint,
    to_strict_bool,
    to_url,
    to_user_id,
    validate,
)
from config.api.warnings import Warnings
from crm.aliases import current_ids
from crm.custom_fields import Fields, clean_values, declared_fields
from crm.labels import LabelName, LabelTitle
from crm.models import Subscriber

TEXT_COLUMNS = (
    *("prefix", "first_name", "last_name", "timezone", "address_line_1", "address_line_2"),
    *("postal_code", "city", "state", "country", "ip", "phone", "source"),
)
IGNORED = "The {field} was ignored. Send it to bulk-add-update, or with __force_update."
BESIDE = "The {field} beside subscriber was ignored. Send it inside subscriber."
to_line = nullable_line(MAX_NAME_LENGTH)


def max_length(column: str) -> int:
    """Return the length of a text column of contacts, in characters."""
    field = Subscriber._meta.get_field(column)
    assert isinstance(field, CharField)
    assert field.max_length
    return field.max_length


def ignored_if_invalid(validator: Validator) -> Validator:
    """Return a validator that ignores and reports an invalid value.

    Raises:
        InvalidValue: by the returned validator, for a NUL, as in every field.
    """

    def to_value(value: Any) -> Any:
        try:
            return validator(value)
        except InvalidValue as error:
            if error.message == NUL_MESSAGE:
                raise
            raise InvalidPart(error.rule, error.message) from None

    return to_value


def optional_date(validator: Validator) -> Validator:
    """Return a validator as `ignored_if_invalid` does, which reads zeros as null."""
    to_value = ignored_if_invalid(validator)

    def to_date_or_none(value: Any) -> Any:
        return None if is_zero_date(value) else to_value(value)

    return to_date_or_none


def to_contact_ids(value: Any) -> list[int]:
    """Convert as `to_ids` does. An id of a merged contact is that of its survivor."""
    return current_ids(to_ids(value))


def to_status(value: Any) -> str:
    """Convert a status to a line. False is a word, and an unknown one, because "" says nothing."""
    return single_line(max_length("status"))("false" if value is False else value)


def to_label_names(value: Any) -> list[LabelName]:
    """Convert a list of ids, titles or slugs to lines, and of labels to their titles.

    The list may be JSON text, as forms send it.

    Raises:
        InvalidValue: an item is a list, or an object without title and slug, or all is one text
            with a comma, because it may be one title or several. In a list, a title may have one.
        InvalidPart: a name is too long. It keeps the other names, and the start of this one.
    """
    if isinstance(value, str) and value.strip(WHITESPACE).startswith(("[", "{")):
        # A title may begin with a bracket, too.
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    if isinstance(value, str) and "," in value:
        message = "The {field} must be an array, because a title may have a comma."
        raise InvalidValue("array", message)
    names: list[LabelName] = []
    problem: InvalidPart | None = None
    for item in to_list(value):
        try:
            names.append(to_label_name(item))
        except InvalidPart as error:
            problem = error
            names.append(error.kept)
    if problem:
        raise InvalidPart(problem.rule, problem.message, kept=names)
    return names


def to_label_name(item: Any) -> LabelName:
    """Convert an id, title or slug to a line.

    A label as a response shows it, an object, is named by its title. Its id is ignored, because it
    may be that of another store's label.
    """
    if item is True:
        raise InvalidValue("string")
    if not isinstance(item, dict):
        return to_line(item) or ""
    try:
        if title := to_line(item.get("title")):
            return LabelTitle(title)
    except InvalidPart as error:
        raise InvalidPart(error.rule, error.message, kept=LabelTitle(error.kept)) from None
    slug = to_line(item.get("slug"))
    # Digits would be read as an id.
    if slug and not slug.isdecimal():
        return slug
    raise InvalidValue("string", "The {field} must be ids, titles or slugs.")


def to_keep_opt_outs(value: Any) -> bool:
    """Convert to whether contacts that opted out stay so: yes unless a word for false is sent."""
    return value is None or value == "" or to_strict_bool(value)


to_custom_values = json_text_or(to_json_object)


def to_custom_fields(value: Any) -> dict[str, Any]:
    """Convert an object or its JSON text as custom values.

    Any other value is empty, because `custom_fields=true` in a list asks for them.
    """
    is_text = isinstance(value, str) and value.lstrip().startswith("{")
    values: dict[str, Any] = to_custom_values(value) if is_text or isinstance(value, dict) else {}
    return values


# What an API client may set. Other fields are ignored, as in FluentCRM.
CONTACT_FIELDS: dict[str, Validator] = {
    "email": to_email,
    "status": to_status,
    "user_id": ignored_if_invalid(lambda value: to_user_id(value) or None),
    "contact_type": nullable_line(max_length("contact_type")),
    "date_of_birth": optional_date(to_date),
    "latitude": to_coordinate,
    "longitude": to_coordinate,
    "total_points": to_rounded_bigint,
    "life_time_value": to_rounded_bigint,
    "created_at": optional_date(to_datetime),
    "last_activity": optional_date(to_datetime),
    "custom_values": to_custom_values,
    **{column: nullable_line(max_length(column)) for column in TEXT_COLUMNS},
    "avatar": to_url(max_length("avatar")),
}
# What a request may send in place of some of them. The full name is longer than both names
# together, so that a name that is cut is reported.
OTHER_NAMES: dict[str, Validator] = {
    "full_name": single_line(2 * MAX_NAME_LENGTH + 2),
    "custom_fields": to_custom_fields,
}
LABEL_FIELDS: dict[str, Validator] = {"tags": to_label_names, "lists": to_label_names}
# The other fields of a request about a contact, which are no custom values.
NO_SLUGS = {*LABEL_FIELDS, "__force_update", "double_optin"}


def contact_fields(
    params: Mapping[str, Any],
    warnings: Warnings,
    required: Iterable[str] = (),
    ignored: Iterable[str] = (),
    declared: Callable[[], Fields] = declared_fields,
) -> dict[str, Any]:
    """Return the columns of a contact that a request sets.

    `custom_fields`, as the list of contacts shows the custom values, is read where the
    `custom_values` are missing or empty. An unknown status is left to crm/contacts.py.

    Args:
        params: the fields of the request, as `lower_names` returns them.
        warnings: collects what is not stored as sent.
        required: fields that must not be empty.
        ignored: fields that this request must not set.
        declared: returns the definitions of custom fields. It is called if there are custom values.

    Raises:
        InvalidFields: 422.
    """
    validators = {**CONTACT_FIELDS, **OTHER_NAMES}
    for field in ignored:
        del validators[field]
        if not is_empty(params.get(field)):
            message = IGNORED.format(field=field)
            warnings.append({"field": field, "rule": "ignored", "message": message})
    fields = validate(validators, params, required, warnings)
    custom_fields = fields.pop("custom_fields", None)
    if custom_fields and not fields.get("custom_values"):
        fields["custom_values"] = custom_fields
    if custom_values := fields.get("custom_values"):
        fields["custom_values"], errors = clean_values(custom_values, declared())
        if errors:
            raise InvalidFields(errors)
    names = split_full_name(fields, fields.pop("full_name", None))
    fields |= validate({name: CONTACT_FIELDS[name] for name in names}, names, warnings=warnings)
    for column in ("status", "contact_type", "created_at"):
        if not fields.get(column):
            fields.pop(column, None)
    return fields


def with_values_of_slugs(
    params: Mapping[str, Any], declared: Callable[[], Fields] = declared_fields
) -> Mapping[str, Any]:
    """Return the fields of a request with custom values, if it has none, from its other fields.

    They are those that are called as the slug of a custom field. See FluentCRM's
    app/Api/Classes/Contacts.php, createOrUpdate.
    """
    names = params.keys() - CONTACT_FIELDS.keys() - OTHER_NAMES.keys() - NO_SLUGS
    if not names or params.get("custom_values") is not None:
        return params
    slugs = names & declared().keys()
    values = {slug: params[slug] for slug in slugs if not is_empty(params[slug])}
    return {**params, "custom_values": values} if values else params


def beside_warnings(beside: Mapping[str, Any], inside: Mapping[str, Any]) -> Warnings:
    """Return a warning for each field of a contact that stands only beside `subscriber`.

    FluentCRM ignores such a field (SubscriberController.php, updateSubscriber).
    """
    return [
        {"field": field, "rule": "ignored", "message": BESIDE.format(field=field)}
        for field in (*CONTACT_FIELDS, *OTHER_NAMES)
        if not is_empty(beside.get(field)) and beside[field] != inside.get(field)
    ]


def split_full_name(fields: Mapping[str, Any], full_name: str | None) -> dict[str, str]:
    """Split `full_name` at its first space, where the request has no other name.

    "Ada King Lovelace" is first name "Ada", last name "King Lovelace", as in FluentCRM.

    Returns:
        Both names, or nothing.
    """
    if not full_name or fields.get("first_name") or fields.get("last_name"):
        return {}
    first, _, last = full_name.partition(" ")
    return {"first_name": first, "last_name": last}
