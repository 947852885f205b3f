"""Read the fields of ActiveCampaign's requests about contacts, of versions 3 and 1."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from config.api.errors import InvalidFields
from config.api.json_fields import json_text_or
from config.api.validation import (
    InvalidValue,
    Validator,
    is_empty,
    is_valid_id,
    php_list,
    to_list,
    to_text,
    validate,
)
from config.api.warnings import Warnings
from crm.api.fields import contact_fields, to_line
from crm.custom_fields import Fields, declared_fields
from crm.labels import LabelTitle
from crm.models import LIST_TYPES, CustomField

# ActiveCampaign's names of a contact's columns, version 3.
COLUMNS = {"email": "email", "firstName": "first_name", "lastName": "last_name", "phone": "phone"}
ACTIVE, UNSUBSCRIBED = 1, 2
# Around the choices of a list: ||red||blue||.
PIPES = "||"


def unwrap(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the object that ActiveCampaign wraps its fields in, empty if there is none."""
    wrapped = params.get(name)
    return wrapped if isinstance(wrapped, dict) else {}


def decode_email(value: Any) -> Any:
    """Decode an e-mail that was percent-encoded twice, as Pipedream sends it.

    Without an @ and with %40, a text can be nothing else.
    """
    if isinstance(value, str) and "@" not in value and "%40" in value:
        return unquote(value)
    return value


def to_object_id(value: Any) -> int:
    """Convert an id, as number or digits.

    Raises:
        InvalidValue: anything else, also 0.
    """
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not is_valid_id(text) or int(text) == 0:
        raise InvalidValue("numeric")
    return int(text)


def to_list_status(value: Any) -> int:
    """Convert the status of a contact on a list: 1 is active, 2 is unsubscribed.

    Raises:
        InvalidValue: any other value.
    """
    text = to_text(value).strip()
    if text not in ("1", "2"):
        raise InvalidValue("in", "The {field} must be 1 (active) or 2 (unsubscribed).")
    return int(text)


def read_contact(
    sent: Mapping[str, Any], warnings: Warnings, fields: Fields, *, is_new: bool = True
) -> dict[str, Any]:
    """Return the columns of a contact from the fields of version 3.

    Args:
        sent: the object `contact`.
        warnings: collects what is not stored as sent.
        fields: the custom fields by slug.
        is_new: whether the e-mail is required.

    Raises:
        InvalidFields: 422.
    """
    params = {column: sent[name] for name, column in COLUMNS.items() if name in sent}
    params["email"] = decode_email(params.get("email"))
    if not is_new and params["email"] is None:
        del params["email"]
    if values := read_field_values(sent.get("fieldValues"), fields):
        params["custom_values"] = values
    required = ("email",) if "email" in params else ()
    return contact_fields(params, warnings, required, declared=lambda: fields)


def read_field_values(value: Any, fields: Fields) -> dict[str, Any]:
    """Return custom values by slug from a list of `{"field": id, "value": …}`.

    Raises:
        InvalidFields: 422, an item is none, or there is no such field.
    """
    by_id = {field.pk: field for field in fields.values()}
    values: dict[str, Any] = {}
    for item in validate({"fieldValues": to_list}, {"fieldValues": value})["fieldValues"]:
        sent = item if isinstance(item, dict) else {}
        field_id = validate({"field": to_object_id}, sent, required=("field",))["field"]
        if field_id not in by_id:
            raise unknown_field(field_id)
        field = by_id[field_id]
        values[field.slug] = to_stored(field, sent.get("value"))
    return values


def unknown_field(name: Any) -> InvalidFields:
    """Return the error of a custom field that does not exist."""
    return InvalidFields({"fieldValues": {"exists": f"There is no custom field {name}."}})


def to_stored(field: CustomField, value: Any) -> Any:
    """Return a custom value for crm/custom_fields.py. Null is "", which removes the value."""
    if field.type in LIST_TYPES and isinstance(value, str) and PIPES in value:
        return [choice for choice in value.split(PIPES) if choice]
    return "" if value is None else value


def read_old_contact(
    params: Mapping[str, Any], warnings: Warnings, *, is_new: bool = True
) -> dict[str, Any]:
    """Return the columns of a contact from the fields of version 1.

    `field[7,0]` and `field[%PLAN%,0]` name custom fields by id and by their tag.

    Raises:
        InvalidFields: 422.
    """
    names = ("email", "first_name", "last_name", "phone")
    columns = {name: params[name] for name in names if name in params}
    if "ip4" in params:
        columns["ip"] = params["ip4"]
    if is_new or not is_empty(columns.get("email")):
        columns["email"] = decode_email(columns.get("email"))
    else:
        columns.pop("email", None)
    sent = validate({"field": to_keyed}, params).get("field")
    fields = declared_fields() if sent else {}
    if sent:
        columns["custom_values"] = read_old_values(sent, fields)
    required = ("email",) if "email" in columns else ()
    return contact_fields(columns, warnings, required, declared=lambda: fields)


def read_old_values(sent: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return custom values by slug, from values by `7,0`, `7` or `%PLAN%,0`.

    Raises:
        InvalidFields: 422, no field has the name, or more than one.
    """
    values = {}
    for key, value in sent.items():
        name = key.partition(",")[0].strip()
        tag = name.strip("%").upper() if name.startswith("%") else ""
        matches = [
            field
            for field in fields.values()
            if (field.slug.upper() == tag if tag else str(field.pk) == name)
        ]
        if len(matches) != 1:
            raise unknown_field(name)
        values[matches[0].slug] = to_stored(matches[0], value)
    return values


def to_keyed(value: Any) -> dict[str, Any]:
    """Convert an object, or its JSON text, by text keys. A list of PHP has its positions as keys.

    Raises:
        InvalidValue: a text or a number.
    """
    found = json_text_or(lambda each: each)(value)
    if is_empty(found):
        return {}
    if isinstance(found, list):
        return {str(position): item for position, item in enumerate(found)}
    if not isinstance(found, dict):
        raise InvalidValue("object")
    return found


def to_tag_names(value: Any) -> list[LabelTitle]:
    """Convert tags, a list or one text with commas, to titles."""
    value = php_list(value)
    names = value.split(",") if isinstance(value, str) else to_list(value)
    return [LabelTitle(line) for name in names if (line := to_line(name))]


OLD_LISTS: dict[str, Validator] = {"p": to_keyed, "status": to_keyed}


def read_old_lists(params: Mapping[str, Any]) -> dict[int, int]:
    """Return the status on each list by its id, from `p[7]=7` and `status[7]=1`.

    The key of a status may also be that of its list in `p`, such as `p[]=7` and `status[]=1`. A
    status 2 counts for a list that is not in `p` too, because an opt-out must not be lost.

    Raises:
        InvalidFields: 422, an id or a status is invalid.
    """
    sent = validate(OLD_LISTS, params)
    ids = {
        key: validate({"p": to_object_id}, {"p": value})["p"]
        for key, value in sent.get("p", {}).items()
        if not is_empty(value)
    }
    statuses = dict.fromkeys(ids.values(), ACTIVE)
    for key, value in sent.get("status", {}).items():
        if is_empty(value):
            continue
        status = validate({"status": to_list_status}, {"status": value})["status"]
        list_id = int(key) if is_valid_id(key) else None
        if list_id not in statuses and key in ids:
            list_id = ids[key]
        if list_id is None:
            raise InvalidFields({"status": {"numeric": "The keys of status must be ids of lists."}})
        if list_id in statuses or status == UNSUBSCRIBED:
            statuses[list_id] = status
    return statuses
