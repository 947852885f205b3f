"""Read FluentCRM's triggers and sequences as parts of documents. What ours cannot do is 422.

A part that FluentCRM's interface leaves empty is ignored. Whether the result is valid is left to
automations/documents.py, whose errors have the places of the document, such as `steps.0.tags`.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from automations.documents import MAX_DEPTH
from automations.funnels.names import (
    BRANCH_NAMES,
    STEP_NAMES,
    UNITS,
    step_settings,
    trigger_name,
)
from automations.kinds import HAPPENINGS, SETTABLE, TRIGGERS
from automations.waits import CUSTOM_PREFIX
from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import InvalidValue, is_empty, php_list, to_text

Part = dict[str, Any]
KINDS = {trigger_name(kind): kind for kind in TRIGGERS}
TYPES = {name: kind for kind, name in STEP_NAMES.items()}
AGE = re.compile(r"([0-9]{1,6})([hd])")
# What FluentCRM's interface sends of a trigger besides, which changes nothing here.
IGNORED = ("subscription_status", "__force_run_actions")
WEBHOOK = step_settings({"type": "webhook", "url": "", "data": {}})


class Unrepresentable(Exception):
    """FluentCRM can do this, and an automation cannot."""


def _only(settings: Mapping[str, Any], known: Collection[str]) -> None:
    """Check that settings have nothing that would be lost.

    Raises:
        Unrepresentable: a value that is not empty has another name.
    """
    if unknown := [name for name, value in settings.items() if name not in known and value]:
        raise Unrepresentable(f"An automation has no {', '.join(unknown)} here.")


def to_settings(value: Any, place: str) -> Part:
    """Return an object of settings, which PHP writes as [] if it is empty.

    Raises:
        InvalidFields: 422.
    """
    if value is None or value in ("", []):
        return {}
    if not isinstance(value, dict):
        raise InvalidFields({place: {"object": f"The {place} must be an object."}})
    return value


def parse_trigger(name: Any, settings: Part, conditions: Part) -> Part:
    """Return trigger, conditions and rules of a document.

    Raises:
        InvalidFields: 422, there is no such trigger, or an automation cannot do what it says.
    """
    if not isinstance(name, str) or name not in KINDS:
        message = f"The trigger_name must be one of: {', '.join(KINDS)}."
        raise InvalidFields({"trigger_name": {"in": message}})
    try:
        trigger = _happening(KINDS[name], settings, IGNORED)
    except Unrepresentable as error:
        raise InvalidFields({"settings": {"unsupported": str(error)}}) from None
    # [[]] is a filter without a condition.
    others = {n: v for n, v in conditions.items() if n != "value_conditions" or _is_filled(v)}
    try:
        _only(others, ("run_multiple", "dont_run_on_active", "conditions"))
    except Unrepresentable as error:
        raise InvalidFields({"conditions": {"unsupported": str(error)}}) from None
    is_multiple = conditions.get("run_multiple") == "yes"
    again = "every_time" if conditions.get("dont_run_on_active") == "no" else "after_end"
    return {
        "trigger": trigger,
        "conditions": conditions.get("conditions") or [],
        "only_subscribed": settings.get("__force_run_actions") != "yes",
        "reentry": again if is_multiple else "once",
    }


def _happening(kind: str, settings: Part, ignored: Collection[str] = ()) -> Part:
    """Return what happens, by the settings of a trigger, or of a wait for it."""
    labels = (TRIGGERS if ignored else HAPPENINGS)[kind].labels
    if kind == "event":
        names = {"event_key": "event_key", "title": "title"}
        if ignored:
            names |= {"minimum_event_count": "times", "count": "when"}
        found = {own: settings[name] for name, own in names.items() if name in settings}
        known = {*names, *ignored}
        if ignored and settings.get("max_age"):
            known.add("max_age")
            found["max_age_hours"] = _hours(settings["max_age"])
    elif labels:
        found = {labels: settings.get(labels)}
        if settings.get("select_type"):
            found["match"] = settings["select_type"]
        known = {labels, "select_type", *ignored}
    else:
        found = {name: value for name, value in settings.items() if name not in ignored}
        known = {*found, *ignored}
    _only(settings, known)
    return {"type": kind, **found}


def _hours(age: Any) -> int:
    match = AGE.fullmatch(age) if isinstance(age, str) else None
    if match is None:
        raise Unrepresentable("The max_age must be hours or days, such as 24h or 7d.")
    return int(match[1]) * (24 if match[2] == "d" else 1)


def _labels(kind: str) -> Callable[[Part], Part]:
    def parse(settings: Part) -> Part:
        _only(settings, (kind,))
        return {kind: settings.get(kind)}

    return parse


def _set_fields(settings: Part) -> Part:
    _only(settings, ("contact_properties",))
    pairs = _pairs(settings, "contact_properties")
    for row in php_list(settings["contact_properties"]) if pairs else []:
        if row.get("data_operation") not in (None, "", "replace"):
            raise Unrepresentable("An automation can set fields, and not calculate with them.")
    return {"fields": {_field_name(key): value for key, value in pairs.items()}}


def _field_name(key: str) -> str:
    is_own = key in SETTABLE or key.startswith(CUSTOM_PREFIX)
    return key if is_own else f"{CUSTOM_PREFIX}{key}"


def _track_event(settings: Part) -> Part:
    names = ("event_key", "title", "value")
    _only(settings, (*names, "is_unique"))
    if settings.get("is_unique") == "no":
        raise Unrepresentable("An automation counts an event, and makes no row for each time.")
    return {name: settings[name] for name in names if name in settings}


def _webhook(settings: Part) -> Part:
    _only(settings, WEBHOOK)
    for name in ("sending_method", "request_format", "header_type"):
        if settings.get(name, WEBHOOK[name]) != WEBHOOK[name]:
            raise Unrepresentable(f"The {name} of a webhook can be {WEBHOOK[name]} only.")
    if _is_filled(settings.get("header_data")):
        raise Unrepresentable("A webhook has no headers of your own.")
    step = {"url": settings.get("remote_url")}
    match settings.get("body_data_type", "subscriber_data"):
        case "subscriber_data":
            return step
        case "custom_data":
            return {**step, "data": _pairs(settings, "body_data_values")}
    raise Unrepresentable("The body_data_type must be subscriber_data or custom_data.")


def _pairs(settings: Part, name: str) -> Part:
    """Return the values of a list of data_key and data_value by their keys."""
    rows = php_list(settings.get(name)) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unrepresentable(f"The {name} must be a list of data_key and data_value.")
    keys = [row.get("data_key") for row in rows]
    if not all(isinstance(key, str) for key in keys) or len({*keys}) < len(keys):
        raise Unrepresentable(f"The {name} must have a data_key each, and each once.")
    return {row["data_key"]: row.get("data_value") for row in rows}


def _is_filled(rows: Any) -> bool:
    if not isinstance(rows, list):
        return not is_empty(rows)
    return any(any(row.values()) if isinstance(row, dict) else row for row in rows)


def _wait(settings: Part) -> Part:
    own = settings.get("tallybook_wait")
    if isinstance(own, dict) and _is_form_of(settings, own):
        return {"wait": own}
    is_timestamp = settings.get("is_timestamp_wait") == "yes"
    match settings.get("wait_type") or ("timestamp_wait" if is_timestamp else "unit_wait"):
        case "unit_wait":
            return {"wait": _unit(settings, "wait_time_amount", "wait_time_unit")}
        case "timestamp_wait":
            at = settings.get("wait_date_time")
            return {"wait": {"until": at.replace(" ", "T") if isinstance(at, str) else at}}
        case "to_day":
            days = php_list(settings.get("to_day"))
            return {"wait": {"weekdays": days, "at": settings.get("to_day_time")}}
        case "by_custom_field":
            key = to_text(settings.get("by_custom_field") or "")
            return {"wait": {"field": f"{CUSTOM_PREFIX}{key}"}}
    raise Unrepresentable("The wait_type is unknown, and the tallybook_wait does not belong to it.")


def _is_form_of(settings: Part, own: Part) -> bool:
    """Return whether FluentCRM's fields say what `tallybook_wait` says, and were not changed."""
    try:
        form = step_settings({"type": "wait", "wait": own})
    except InvalidFields:
        # Errors are reported by their places.
        return True
    return all(settings.get(name) == value for name, value in form.items())


def _unit(settings: Part, amount: str, unit: str) -> Part:
    name = settings.get(unit)
    if not isinstance(name, str) or name not in UNITS:
        raise Unrepresentable(f"The {unit} must be one of: {', '.join(UNITS)}.")
    return {name: settings.get(amount)}


def _wait_until(settings: Part) -> Part:
    kind = KINDS.get(str(settings.get("trigger_name")), "")
    if kind not in HAPPENINGS:
        raise Unrepresentable("The trigger_name is nothing that an automation can wait for.")
    timeout = settings.get("tallybook_timeout")
    more: Part = {name: settings[name] for name in ("since", "same") if settings.get(name)}
    if not is_empty(settings.get("timeout_amount")):
        sent = _unit(settings, "timeout_amount", "timeout_unit")
        form = {"wait_type": "unit_wait", "tallybook_wait": timeout}
        form |= {
            "wait_time_amount": settings["timeout_amount"],
            "wait_time_unit": settings["timeout_unit"],
        }
        is_own = isinstance(timeout, dict) and _is_form_of(form, timeout)
        more["timeout"] = timeout if is_own else sent
    elif timeout:
        more["timeout"] = timeout
    names = ("trigger_name", "since", "same", "timeout_amount", "timeout_unit", "tallybook_timeout")
    happening = {name: value for name, value in settings.items() if name not in names}
    return {"happens": _happening(kind, happening), **more}


def _conditions(settings: Part) -> Part:
    _only(settings, ("conditions",))
    return {"conditions": settings.get("conditions")}


PARSERS: Mapping[str, Callable[[Part], Part]] = {
    "add_tags": _labels("tags"),
    "remove_tags": _labels("tags"),
    "add_lists": _labels("lists"),
    "remove_lists": _labels("lists"),
    "set_fields": _set_fields,
    "track_event": _track_event,
    "webhook": _webhook,
    "wait": _wait,
    "wait_until": _wait_until,
    "if": _conditions,
    "stop": lambda _: {},
}


def parse_sequences(data: Any) -> list[Part]:
    """Return the steps of a document, with the ids that were sent.

    Raises:
        InvalidFields: 422 with every error by its place, such as `sequences.0.action_name`.
    """
    errors: FieldErrors = {}
    steps = _steps(data, "sequences", errors, 1)
    if errors:
        raise InvalidFields(errors)
    return steps


def _steps(data: Any, place: str, errors: FieldErrors, depth: int) -> list[Part]:
    items = php_list(data)
    if items is None or items == "":
        return []
    if not isinstance(items, list) or depth > MAX_DEPTH:
        message = f"The {place} must be a list, at most {MAX_DEPTH} levels deep."
        errors[place] = {"array": message}
        return []
    return [_step(item, f"{place}.{n}", errors, depth) for n, item in enumerate(items)]


def _step(data: Any, place: str, errors: FieldErrors, depth: int) -> Part:
    if not isinstance(data, dict):
        errors[place] = {"object": f"The {place} must be an object."}
        return {}
    name = data.get("action_name")
    kind = TYPES.get(name, "") if isinstance(name, str) else ""
    is_benchmark = data.get("type") == "benchmark"
    if not kind or is_benchmark:
        what = "a benchmark" if is_benchmark else f"the step {str(name)[:100]}"
        known = ", ".join(TYPES)
        message = f"An automation cannot do {what}. It can do: {known}."
        errors[f"{place}.action_name"] = {"unsupported": message}
        return {}
    step: Part = {"id": data.get("id") or None, "type": kind}
    try:
        step |= PARSERS[kind](to_settings(data.get("settings"), f"{place}.settings"))
    except Unrepresentable as error:
        errors[f"{place}.settings"] = {"unsupported": str(error)}
    except InvalidValue as error:
        errors[f"{place}.settings"] = error.for_field(f"{place}.settings")
    except InvalidFields as error:
        errors |= error.detail
    children = data.get("children") or {}
    if kind in ("if", "wait_until"):
        if not isinstance(children, dict):
            errors[f"{place}.children"] = {"object": f"The {place}.children must be an object."}
            return step
        for own, branch in BRANCH_NAMES.items():
            path = f"{place}.children.{branch}"
            step[own] = _steps(children.get(branch), path, errors, depth + 1)
    return step
