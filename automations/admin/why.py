"""The page that tells why a contact starts or does not, and what would happen to it."""

from typing import Any

from django.http import HttpRequest

from automations.explaining import DryRun, dry_run, explain
from automations.models import Automation
from automations.programs import program
from automations.rights import DRY_RUN, require_writing, without_url
from automations.sentences import REASONS, Describer, outcome_words, step_numbers
from automations.writing import document_of
from config.api.errors import Forbidden
from crm.contacts import find_contact
from crm.labels import LABEL_MODELS

MAX_LENGTH = 254


def why_context(request: HttpRequest, automation: Automation) -> dict[str, Any]:
    """Return the context of the page, for the contact that the URL names by id or e-mail.

    The dry run is for those who may start contacts, because it plays what a start does.
    """
    text = request.GET.get("contact", "").strip()[:MAX_LENGTH]
    context: dict[str, Any] = {"text": text, "happens": request.GET.get("happens", "yes")}
    contact = find_contact(text) if text and "\0" not in text else None
    if contact is None:
        return context | {"is_unknown": bool(text)}
    describer = Describer(request.user.has_perm)
    explanation = explain(automation.pk, contact.pk)
    if _may_try(request, automation):
        tried = dry_run(automation.pk, contact.pk, happens=context["happens"] == "yes")
        context |= {"tried": tried, "path": _path(automation, tried, describer)}
    return context | {
        "contact": contact,
        "explanation": explanation,
        "conditions": [
            (describer.conditions([[each.item]]), each) for each in explanation.conditions
        ],
        "refusals": [
            (REASONS.get(each.reason, each.reason), each) for each in explanation.refusals
        ],
    }


def _may_try(request: HttpRequest, automation: Automation) -> bool:
    """Return whether the admin user may have a dry run done."""
    try:
        require_writing(document_of(automation), request.user.has_perm)
    except Forbidden:
        return False
    return bool(request.user.has_perms(DRY_RUN))


def _path(automation: Automation, tried: DryRun, describer: Describer) -> list[dict[str, Any]]:
    """Return the steps of a dry run."""
    return [path_step(each, automation.version_id or 0, describer) for each in tried.steps]


def path_step(done: Any, version_id: int, describer: Describer) -> dict[str, Any]:
    """Return a step that a run or a dry run has done, with its number, sentence and effects."""
    way = program(version_id)
    step = way.steps.get(done.step_id)
    return {
        "number": step_numbers(way.document).get(done.step_id, ""),
        "sentence": describer.step(step) if step else "A step that was removed",
        "outcome": outcome_words(step, done.outcome),
        "detail": details(done.detail, describer),
        "at": done.at,
    }


def details(detail: dict[str, Any], describer: Describer) -> list[tuple[str, str]]:
    """Return what a step noted, as names and texts for a page."""
    return [
        (
            name.replace("_", " "),
            describer.titles(name, value) or "none new" if name in LABEL_MODELS else _text(value),
        )
        for name, value in without_url(detail, describer.has_perm).items()
        if value != ""
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text}" for name, text in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
