"""FluentCRM's names of triggers and steps, and their settings, for parts of documents.

What FluentCRM has no name for is called `tallybook/` and our own name.

See FluentCRM's app/Services/Funnel/Triggers, app/Services/Funnel/Actions, and
app/Hooks/Handlers/FunnelHandler.php.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from automations.kinds import STEPS, TRIGGERS
from automations.waits import CUSTOM_PREFIX, WEEKDAYS, parse_wait
from crm.labels import LabelKind

Settings = dict[str, Any]
OWN = "tallybook/"
TRIGGER_NAMES: Mapping[str, str] = {
    "event": "fluent_crm/event_tracked",
    "tag_added": "fluentcrm_contact_added_to_tags",
    "tag_removed": "fluentcrm_contact_removed_from_tags",
    "list_added": "fluentcrm_contact_added_to_lists",
    "list_removed": "fluentcrm_contact_removed_from_lists",
    "contact_created": "fluent_crm/contact_created",
}
STEP_NAMES: Mapping[str, str] = {
    "add_tags": "add_contact_to_tag",
    "remove_tags": "detach_contact_from_tag",
    "add_lists": "add_contact_to_list",
    "remove_lists": "detach_contact_from_list",
    "set_fields": "update_contact_property",
    "track_event": "add_contact_event_tracker",
    "webhook": "http_send_data",
    "wait": "fluentcrm_wait_times",
    "if": "funnel_condition",
    "wait_until": "tallybook_wait_for",
    "stop": "end_this_funnel",
}
# FluentCRM's names of branches.
BRANCH_NAMES = {"then": "yes", "else": "no"}
DAY = timedelta(days=1)
UNITS = {"days": DAY, "hours": timedelta(hours=1), "minutes": timedelta(minutes=1)}


def yes_or_no(value: object) -> str:
    """Return FluentCRM's word for true or false."""
    return "yes" if value else "no"


def trigger_name(kind: str) -> str:
    """Return FluentCRM's name of a type of triggers."""
    return TRIGGER_NAMES.get(kind, f"{OWN}{kind}")


def triggers() -> dict[str, dict[str, Any]]:
    """Return what FluentCRM shows of each trigger, by its name."""
    return {
        trigger_name(kind): {
            "category": "CRM",
            "label": each.verbose_name,
            "description": each.verbose_name,
            "icon": "",
        }
        for kind, each in TRIGGERS.items()
    }


def blocks() -> dict[str, dict[str, Any]]:
    """Return what FluentCRM shows of each step, by its name."""
    return {
        STEP_NAMES[kind]: {
            "category": "CRM",
            "title": each.verbose_name,
            "description": each.verbose_name,
            "icon": "",
            "type": "conditional" if each.branches else "action",
            "settings": {},
        }
        for kind, each in STEPS.items()
    }


def _texts(ids: list[int]) -> list[str]:
    return [str(each) for each in ids]


def _happening(happening: Mapping[str, Any]) -> Settings:
    """Return the settings of what happens, for a trigger or a wait."""
    if happening["type"] == "event":
        title = {"title": happening["title"]} if happening["title"] else {}
        return {"event_key": happening["event_key"], **title}
    kinds: tuple[LabelKind, LabelKind] = ("tags", "lists")
    for kind in kinds:
        if kind in happening:
            return {kind: _texts(happening[kind]), "select_type": happening["match"]}
    return {name: value for name, value in happening.items() if name != "type"}


def trigger_settings(document: Mapping[str, Any]) -> Settings:
    """Return the settings of a document's trigger."""
    trigger = document["trigger"]
    settings = _happening(trigger)
    if trigger["type"] == "event":
        settings |= {
            "minimum_event_count": str(trigger["times"]),
            "subscription_status": "subscribed",
            "count": trigger["when"],
            "max_age": f"{trigger['max_age_hours']}h",
        }
    if not document["only_subscribed"]:
        settings["__force_run_actions"] = "yes"
    return settings


def trigger_conditions(document: Mapping[str, Any]) -> Settings:
    """Return the conditions of a document's trigger: the rule of re-entry, and the filter."""
    conditions: Settings = {
        "run_multiple": yes_or_no(document["reentry"] != "once"),
        "dont_run_on_active": yes_or_no(document["reentry"] != "every_time"),
    }
    if document["conditions"]:
        conditions["conditions"] = document["conditions"]
    return conditions


def _labels(kind: LabelKind) -> Callable[[Mapping[str, Any]], Settings]:
    return lambda step: {kind: _texts(step[kind])}


def _set_fields(step: Mapping[str, Any]) -> Settings:
    return {
        "contact_properties": [
            {"data_key": name.removeprefix(CUSTOM_PREFIX), "data_value": text}
            for name, text in step["fields"].items()
        ]
    }


def _track_event(step: Mapping[str, Any]) -> Settings:
    return {**{name: step[name] for name in ("event_key", "title", "value")}, "is_unique": "yes"}


def _webhook(step: Mapping[str, Any]) -> Settings:
    # A user who may not see webhooks sees a step without them.
    data: Mapping[str, str] = step.get("data", {})
    return {
        "sending_method": "POST",
        "run_on_background": "yes",
        "remote_url": step.get("url", ""),
        "request_format": "json",
        "body_data_type": "custom_data" if data else "subscriber_data",
        "body_data_values": [{"data_key": name, "data_value": text} for name, text in data.items()],
        "header_type": "no_headers",
        "header_data": [],
    }


def span_of(step: Mapping[str, Any]) -> timedelta:
    """Return how long a step waits, as far as that is known before."""
    if step["type"] != "wait":
        return timedelta()
    wait = parse_wait(step["wait"])
    return timedelta() if wait.field or wait.until else wait.span + wait.days * DAY


def _unit_of(span: timedelta) -> Settings:
    unit = next(name for name, length in UNITS.items() if not span % length)
    return {"wait_time_amount": str(span // UNITS[unit]), "wait_time_unit": unit}


def _wait(step: Mapping[str, Any]) -> Settings:
    """Return FluentCRM's form of a wait. `tallybook_wait` has all of it, also where there is none.

    The type is "tallybook" where FluentCRM's would end at another time.
    """
    wait = parse_wait(step["wait"])
    settings: Settings = {"wait_type": "tallybook"}
    is_of_store = wait.zone == "store"
    if wait.field:
        key = wait.field.removeprefix(CUSTOM_PREFIX)
        if key != wait.field and not (wait.days or wait.at or wait.yearly) and is_of_store:
            settings = {"wait_type": "by_custom_field", "by_custom_field": key}
    elif wait.until:
        if is_of_store:
            settings = {
                "wait_type": "timestamp_wait",
                "is_timestamp_wait": "yes",
                "wait_date_time": wait.until.isoformat(" ")[:19],
            }
    elif wait.at and wait.weekdays and not wait.span:
        if is_of_store:
            days = [WEEKDAYS[number].capitalize() for number in sorted(wait.weekdays)]
            at = f"{wait.at:%H:%M}"
            settings = {"wait_type": "to_day", "to_day": days, "to_day_time": at}
    elif not (wait.at or wait.weekdays or wait.between):
        settings = {"wait_type": "unit_wait", **_unit_of(span_of(step))}
    return {**settings, "tallybook_wait": step["wait"]}


def _wait_until(step: Mapping[str, Any]) -> Settings:
    happening = step["happens"]
    settings = {"trigger_name": trigger_name(happening["type"]), **_happening(happening)}
    settings |= {name: step[name] for name in ("since", "same") if step[name]}
    if "timeout" in step:
        wait = {"type": "wait", "wait": step["timeout"]}
        own = _wait(wait)
        if own["wait_type"] == "unit_wait":
            settings["timeout_amount"] = own["wait_time_amount"]
            settings["timeout_unit"] = own["wait_time_unit"]
        settings["tallybook_timeout"] = step["timeout"]
    return settings


SETTINGS: Mapping[str, Callable[[Mapping[str, Any]], Settings]] = {
    "add_tags": _labels("tags"),
    "remove_tags": _labels("tags"),
    "add_lists": _labels("lists"),
    "remove_lists": _labels("lists"),
    "set_fields": _set_fields,
    "track_event": _track_event,
    "webhook": _webhook,
    "wait": _wait,
    "wait_until": _wait_until,
    "if": lambda step: {"conditions": step["conditions"]},
    "stop": lambda _: {},
}


def step_settings(step: Mapping[str, Any]) -> Settings:
    """Return the settings of a step."""
    return SETTINGS[step["type"]](step)
