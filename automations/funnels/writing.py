"""Create and change automations as FluentCRM's programs send them."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from automations.funnels.names import triggers
from automations.funnels.parsing import parse_sequences, parse_trigger, to_settings
from automations.funnels.rows import funnel_row
from automations.models import Automation
from automations.writing import create_automation, document_of, update_automation
from config.api.errors import InvalidFields, Unprocessable
from config.api.json_fields import json_text_or
from config.api.validation import MAX_NAME_LENGTH, long_text, single_line, validate

TEXTS = {"title": single_line(MAX_NAME_LENGTH), "description": long_text(4096)}
SAVED = {
    "funnel_settings": json_text_or(lambda value: to_settings(value, "funnel_settings")),
    "conditions": json_text_or(lambda value: to_settings(value, "conditions")),
    "sequences": json_text_or(parse_sequences),
    "funnel_title": single_line(MAX_NAME_LENGTH),
    "funnel_description": long_text(4096),
}


def create_funnel(data: Mapping[str, Any], user: User) -> Automation:
    """Create a draft from `funnel` of a request: trigger_name, title, settings and conditions.

    Raises:
        InvalidFields: 422.
    """
    sent = data.get("funnel")
    funnel = sent if isinstance(sent, dict) else {}
    texts = validate({**TEXTS, "trigger_name": lambda name: name}, funnel, ("trigger_name",))
    parts = parse_trigger(
        funnel["trigger_name"],
        to_settings(funnel.get("settings"), "settings"),
        to_settings(funnel.get("conditions"), "conditions"),
    )
    label = triggers()[funnel["trigger_name"]]["label"]
    today = timezone.localdate().isoformat()
    title = texts.get("title") or f"{label} (Created at {today})"
    description = texts.get("description", "")
    return create_automation({"title": title, "description": description, **parts}, user)


def change_trigger(automation: Automation, data: Mapping[str, Any], user: User) -> Automation:
    """Change trigger and title of an automation. Conditions and rules are those that are sent.

    Raises:
        InvalidFields: 422.
        Unprocessable: 422, it has this trigger.
    """
    texts = validate(
        {"title": TEXTS["title"], "trigger_name": lambda name: name},
        data,
        ("trigger_name", "title"),
    )
    parts = parse_trigger(
        texts["trigger_name"],
        to_settings(data.get("settings"), "settings"),
        to_settings(data.get("conditions"), "conditions"),
    )
    document = document_of(automation)
    if parts["trigger"]["type"] == document["trigger"]["type"]:
        raise Unprocessable("Trigger name is same")
    changed = {**document, **parts, "title": texts["title"]}
    return update_automation(automation.pk, changed, user)


def save_sequences(automation: Automation, data: Mapping[str, Any], user: User) -> Automation:
    """Replace the steps of an automation, and settings and conditions where they are sent.

    Raises:
        InvalidFields: 422, by places of the request or of the document.
    """
    if data.get("sequences") in (None, ""):
        # Without them, all steps would be removed.
        message = "The sequences field is required."
        raise InvalidFields({"sequences": {"required": message}})
    sent = validate(SAVED, data)
    document = document_of(automation)
    if "funnel_settings" in sent or "conditions" in sent:
        row = funnel_row(automation, document)
        document |= parse_trigger(
            row["trigger_name"],
            sent["funnel_settings"] if "funnel_settings" in sent else row["settings"],
            sent["conditions"] if "conditions" in sent else row["conditions"],
        )
    if sent.get("funnel_title"):
        document["title"] = sent["funnel_title"]
    if "funnel_description" in sent:
        document["description"] = sent["funnel_description"]
    return update_automation(automation.pk, {**document, "steps": sent["sequences"]}, user)
