"""The table that the builder of automations is made from, and the check of what it builds."""

from collections.abc import Iterator, Mapping
from html import unescape
from itertools import pairwise
from typing import Any

import orjson
from django.db import transaction
from django.urls import reverse
from django.utils.html import strip_tags

from automations.documents import DocumentReader, places
from automations.kinds import (
    HAPPENINGS,
    MATCHES,
    REENTRIES,
    RULE_DEFAULTS,
    SETTABLE,
    SINCES,
    STEPS,
    TRIGGERS,
    WHENS,
    Kind,
)
from automations.sentences import Describer
from automations.waits import CUSTOM_PREFIX, DATE_COLUMNS, DAY_NAMES, WEEKDAYS, ZONES
from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import MAX_ITEMS
from crm.admin.labels import VIEW_CONTACTS
from crm.custom_fields import declared_fields
from crm.filters.options import builder_table
from crm.filters.types import HasPerm
from crm.models import Segment, Status

NOT_JSON: FieldErrors = {"document": {"json": "The document must be JSON."}}
PLACEHOLDERS = "Placeholders: {{contact.first_name|there}}, {{event.value}}"
# What the choices of a document are called.
WORDS = {
    **dict(zip(MATCHES, ("any of them", "all of them"), strict=True)),
    **dict(zip(WHENS, ("from the n-th on", "the n-th only", "every n-th"), strict=True)),
    **dict(
        zip(
            REENTRIES,
            ("once", "again after the end", "every time, and the open run ends"),
            strict=True,
        )
    ),
    **dict(zip(SINCES, ("since the start", "from this step on"), strict=True)),
    **dict(zip(ZONES, ("of the store", "of the contact"), strict=True)),
}
# The empty document of the page that adds one.
NEW: dict[str, Any] = {
    **RULE_DEFAULTS,
    "title": "",
    "trigger": {"type": "event", "event_key": "", **TRIGGERS["event"].defaults},
    "conditions": [],
    "steps": [],
}


def _field(name: str, label: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"name": name, "label": label, "type": kind, **more}


def _choice(name: str, label: str, values: tuple[str, ...]) -> dict[str, Any]:
    return _field(name, label, "choice", options=[(value, WORDS[value]) for value in values])


RULES = [
    _field("title", "Title"),
    _field("description", "Description", "long"),
    _choice("reentry", "A contact starts", REENTRIES),
    _field(
        "max_starts_per_hour",
        "Starts per hour at most",
        "number",
        hint="More starts pause the automation.",
    ),
    _field(
        "only_subscribed",
        "Only contacts that are subscribed",
        "boolean",
        hint="Who unsubscribes leaves.",
    ),
]
EVENT_KEY = _field("event_key", "Event key", choices="event_keys")
# By the kind and the name of a field, or by its name alone.
FIELDS: Mapping[str, dict[str, Any]] = {
    "event_key": EVENT_KEY,
    "title": _field("title", "Title", hint="Empty: any title."),
    "times": _field("times", "The n-th time", "number"),
    "when": _choice("when", "When", WHENS),
    "max_age_hours": _field(
        "max_age_hours", "Hours old at most", "number", hint="Older events start nothing."
    ),
    "match": _choice("match", "Of these", MATCHES),
    "statuses": _field("statuses", "Status", "boxes", options=Status.choices),
    "url": _field("url", "URL"),
    "data": _field(
        "data",
        "Data",
        "settings",
        hint=f"Sent in place of the contact and the event, if there are any. {PLACEHOLDERS}",
    ),
    "since": _choice("since", "What counts", SINCES),
    "same": _field(
        "same",
        "Same property",
        hint="Such as order.id: it has to be that of the event that started the run.",
    ),
    "track_event event_key": {**EVENT_KEY, "hint": PLACEHOLDERS},
    "track_event title": _field("title", "Title", hint=PLACEHOLDERS),
    "track_event value": _field("value", "Value", hint=PLACEHOLDERS),
}


def automation_table(has_perm: HasPerm) -> dict[str, Any]:
    """Return the table for the builder: kinds with their fields, and the choices for values.

    Args:
        has_perm: tells whether the admin user has a permission. Choices that need one they lack
            are empty.
    """
    filters = builder_table(has_perm)
    may_count = has_perm("crm.view_segment") and has_perm(VIEW_CONTACTS)
    filters["count"] = reverse("admin:crm_segment_count") if may_count else ""
    own_fields = [f"{CUSTOM_PREFIX}{slug}" for slug in declared_fields()]
    segments = Segment.objects.values_list("pk", "title") if has_perm("crm.view_segment") else ()
    options = {
        "tags": filters["choices"]["tags"]["items"],
        "lists": filters["choices"]["lists"]["items"],
        "segment": list(segments[:MAX_ITEMS]),
        "fields": [
            ("", "Choose…"),
            *((name, name.replace("_", " ")) for name in SETTABLE),
            *((name, name.removeprefix(CUSTOM_PREFIX)) for name in own_fields),
        ],
    }
    return {
        "check": reverse("admin:automations_automation_check"),
        "rules": RULES,
        "triggers": _kinds(TRIGGERS, options),
        "happenings": _kinds(HAPPENINGS, options),
        "steps": _kinds(STEPS, options),
        "waits": {
            "days": list(zip(WEEKDAYS, DAY_NAMES, strict=True)),
            "dates": [*DATE_COLUMNS, *own_fields],
            "zones": [(zone, WORDS[zone]) for zone in ZONES],
        },
        "filters": filters,
    }


def _kinds(kinds: Mapping[str, Kind], options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "label": kind.verbose_name,
            "fields": list(_fields(name, kind, options)),
            "branches": kind.branches,
            "conditions": kind.conditions,
            "wait": kind.wait,
            "happens": kind.happens,
            "new": _new(name, kind),
        }
        for name, kind in kinds.items()
    }


def _fields(kind_name: str, kind: Kind, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if kind.labels:
        hint = f"The page {kind.labels.capitalize()} adds others."
        label = kind.labels.capitalize()
        yield _field(kind.labels, label, "boxes", options=options[kind.labels], hint=hint)
    for name in kind.fields:
        if name == "segment":
            yield _field(name, "Segment", "choice", options=options[name])
        elif name == "fields":
            yield _field(name, "Fields", "settings", options=options[name], hint=PLACEHOLDERS)
        else:
            known = FIELDS.get(f"{kind_name} {name}") or FIELDS.get(name)
            yield known or _field(name, name.replace("_", " ").capitalize())


def _new(name: str, kind: Kind) -> dict[str, Any]:
    """Return a step or trigger that was just added."""
    new: dict[str, Any] = {"type": name, **kind.defaults}
    if kind.labels:
        new[kind.labels] = []
    if kind.conditions:
        new["conditions"] = []
    if kind.happens:
        new["happens"] = {"type": "event", "event_key": "", "title": ""}
        new[kind.wait] = {"hours": 1}
    elif kind.wait:
        new[kind.wait] = {"days": 1}
    return new


def document_from_json(text: str | bytes) -> Any:
    """Parse a document.

    Raises:
        InvalidFields: 422, not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidFields(NOT_JSON) from None


def document_as_json(document: Any) -> str:
    """Return a document as JSON for reading."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


@transaction.atomic
def check(text: bytes, has_perm: HasPerm) -> dict[str, dict[str, str]]:
    """Return the errors of a document by place, and the sentences of its valid parts."""
    reader = DocumentReader()
    try:
        document, errors = reader.check(document_from_json(text)), reader.errors
    except InvalidFields as error:
        document, errors = {}, error.detail
    describer = Describer(has_perm)
    describer.learn([document])
    sentences = dict(_sentences(document, errors, describer))
    return {"errors": error_messages(errors), "sentences": sentences}


def _sentences(
    document: Mapping[str, Any], errors: FieldErrors, describer: Describer
) -> Iterator[tuple[str, str]]:
    """Yield the place and the sentence of each part that has no errors."""
    wrong = [f"{path}." for path in errors]
    if document and not any(path.startswith("trigger.") for path in wrong):
        yield "trigger", _text(describer.trigger(document["trigger"]))
    for place, step in places(document.get("steps", ())):
        own = [path.removeprefix(f"{place}.") for path in wrong if path.startswith(f"{place}.")]
        # Errors of the steps in its branches are not its own.
        if all(path.startswith(("then.", "else.")) for path in own):
            yield place, _text(describer.step(step))


def _text(sentence: str) -> str:
    return unescape(strip_tags(sentence))


def error_messages(errors: FieldErrors) -> dict[str, str]:
    """Return the messages of errors by place, with a word instead of the place in the text."""
    messages = {}
    for path, rules in errors.items():
        *_, noun = [part for part in path.split(".") if not part.isdecimal()] or [path]
        noun = {"steps": "step", "then": "step", "else": "step"}.get(noun, noun).replace("_", " ")
        messages[path] = next(iter(rules.values())).replace(path, noun)
    return messages


def place_name(path: str) -> str:
    """Return a place for people, such as "Step 2 then 1" for "steps.1.then.0.tags"."""
    names = {"steps": "Step", "then": " then", "else": " else"}
    words = []
    parts = path.split(".")
    for name, number in pairwise(parts):
        if name in names and number.isdecimal():
            words.append(f"{names[name]} {int(number) + 1}")
    return "".join(words) or parts[0].replace("_", " ").capitalize()
