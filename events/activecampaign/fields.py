"""Validate the fields of ActiveCampaign's requests.

Sources: ActiveCampaign's page "Add event tracking event name and value", its API reference, and
what its PHP and Node.js wrappers send (tests/clients).
"""

from typing import Any

import orjson

from config.api.validation import (
    MAX_NAME_LENGTH,
    WHITESPACE,
    InvalidPart,
    InvalidValue,
    Validator,
    is_empty,
    nullable_line,
    single_line,
    to_email,
    to_strict_bool,
    to_text,
)
from crm.activecampaign.fields import decode_email
from events.tracking.fields import FOREIGN_FIELDS, VALIDATORS, to_object_text, to_value_text

CONTEXT_FIELDS = (
    *("url", "referrer", "ip4", "ip6", "ua", "browser", "platform", "device"),
    *("utm_source", "utm_campaign", "utm_medium", "utm_term", "utm_content"),
)
FOREIGN_IN_VISIT = FOREIGN_FIELDS | {
    "occurred_at": "The {field} is not read: send it beside visit."
}


def to_visit(value: Any) -> dict[str, str]:
    """Return e-mail and context of a visit, which is an object or its JSON text.

    Raises:
        InvalidValue: not JSON, not an object, a field that is no text, or no e-mail.
        InvalidPart: it has one of FOREIGN_IN_VISIT. It keeps the visit.
    """
    if isinstance(value, str) and value.strip():
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise InvalidValue("json", "The visit must be an object or its JSON.") from None
    if is_empty(value):
        return {}
    if not isinstance(value, dict):
        raise InvalidValue("object")
    visit = {}
    for field in ("email", *CONTEXT_FIELDS):
        try:
            visit[field] = to_text(value.get(field)).strip(WHITESPACE)
        except InvalidValue:
            raise InvalidValue("string", f"The {field} in visit must be a text.") from None
    to_object_text(visit)
    try:
        visit["email"] = visit["email"] and to_email(decode_email(visit["email"]))
    except InvalidValue:
        raise InvalidValue("email", "A valid email address must be provided.") from None
    foreign = [field for field in FOREIGN_IN_VISIT if not is_empty(value.get(field))]
    if foreign:
        messages = [FOREIGN_IN_VISIT[field].format(field=f"{field} in visit") for field in foreign]
        raise InvalidPart("unknown", " ".join(messages), kept=visit)
    return visit


ACCOUNT_FIELDS: dict[str, Validator] = {
    "actid": single_line(MAX_NAME_LENGTH),
    "key": single_line(MAX_NAME_LENGTH),
}
EVENT_FIELDS: dict[str, Validator] = {
    "event": nullable_line(MAX_NAME_LENGTH),
    "eventdata": to_value_text,
    "visit": to_visit,
}
# The fields of ours that the event call reads.
TRACKING_FIELDS: dict[str, Validator] = {
    field: VALIDATORS[field] for field in ("occurred_at", "idempotency_key")
}
SWITCH_FIELDS: dict[str, Validator] = {"enabled": to_strict_bool}
NAME_FIELDS: dict[str, Validator] = {"name": nullable_line(MAX_NAME_LENGTH)}
