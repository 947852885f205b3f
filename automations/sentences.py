"""Describe triggers, steps and runs in sentences for admin users."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from automations.documents import places, walk
from automations.kinds import STEPS, TRIGGERS
from automations.rights import VIEW_ENDPOINTS
from automations.waits import CUSTOM_PREFIX, describe_wait, parse_wait
from config.api.errors import ApiError
from crm.filters.describe import FilterDescriber
from crm.filters.types import HasPerm
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import Segment

# Characters of a text that a sentence has at most.
MAX_LENGTH = 60
LABEL_WORDS: dict[str, tuple[LabelKind, str, str]] = {
    "tag_added": ("tags", "is added", "are all there"),
    "tag_removed": ("tags", "is removed", "are all gone"),
    "list_added": ("lists", "is added", "are all there"),
    "list_removed": ("lists", "is removed", "are all gone"),
}
LABEL_STEPS: dict[str, tuple[LabelKind, str]] = {
    "add_tags": ("tags", "Add the"),
    "remove_tags": ("tags", "Remove the"),
    "add_lists": ("lists", "Add to the"),
    "remove_lists": ("lists", "Remove from the"),
}
REENTRIES = {
    "once": "A contact starts once.",
    "after_end": "A contact may start again after its run has ended.",
    "every_time": "A contact starts every time, and its run that is not finished ends.",
}
OUTCOMES = {
    "done": "done",
    "skipped": "skipped",
    "yes": "yes",
    "no": "no",
    "removed": "the step was removed meanwhile",
}
# Those of a wait for something.
WAIT_OUTCOMES = {"yes": "it happened", "no": "the time ended"}
# Why contacts do not start.
REASONS = {
    "conditions": "They do not match the conditions.",
    "status": "They are not subscribed.",
    "too_old": "The event had happened too long before it was tracked.",
    "loop": "Automations led to each other.",
    "error": "The conditions are invalid.",
    "inside": "They are inside already.",
    "before": "They were inside before.",
    "started": "Started.",
}


class Describer:
    """Describe the parts of documents.

    A part has no errors. `has_perm(permission)` tells whether the admin user may see the titles of
    tags, lists and segments, and the URLs of webhooks. Without the permission a sentence has ids,
    and no URL.
    """

    def __init__(self, has_perm: HasPerm) -> None:
        self.has_perm = has_perm
        self._filters = FilterDescriber(has_perm)
        self._titles: dict[str, dict[int, str]] = {}

    def learn(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Read the titles that valid parts of documents name, by one statement for each kind."""
        ids: dict[str, set[int]] = {"tags": set(), "lists": set(), "segments": set()}
        for document in documents:
            parts = [document.get("trigger", {}), *walk(document.get("steps", []))]
            parts += [part["happens"] for part in parts if "happens" in part]
            for part in parts:
                for kind in LABEL_MODELS:
                    ids[kind].update(part.get(kind, ()))
                if "segment" in part:
                    ids["segments"].add(part["segment"])
        for name, found in ids.items():
            self._read(name, found)

    def trigger(self, trigger: Mapping[str, Any]) -> SafeString:
        """Return what an automation starts by, such as "When “checkout” is tracked"."""
        match trigger["type"]:
            case "contact_created":
                return SafeString("When a contact is created")
            case "segment_entered":
                title = self.titles("segments", [trigger["segment"]])
                words = "When a contact enters the segment {}, which is looked up every 5 minutes"
                return format_html(words, title)
            case "manual":
                return SafeString("When a person or a program starts it for a contact")
        return format_html("When {}", self.happening(trigger))

    def happening(self, happening: Mapping[str, Any]) -> SafeString:
        """Return what happens, such as "“checkout” is tracked"."""
        kind = happening["type"]
        if kind in LABEL_WORDS:
            labels, is_any, are_all = LABEL_WORDS[kind]
            titles = self._labels(labels, happening[labels])
            is_one = len(happening[labels]) == 1
            if happening.get("match") == "all" and not is_one:
                return format_html("the {} {}", titles, are_all)
            return format_html("{} {} {}", "the" if is_one else "one of the", titles, is_any)
        if kind == "status_changed":
            return format_html("the status becomes {}", " or ".join(happening["statuses"]))
        title = happening.get("title")
        what = format_html(" with the title {}", _quote(title)) if title else ""
        key = _quote(happening["event_key"])
        return format_html("{}{} is tracked{}", key, what, _times(happening))

    def conditions(self, filters: Any) -> SafeString:
        """Return a filter as a sentence."""
        return self._filters.describe(filters)

    def step(self, step: Mapping[str, Any]) -> SafeString:
        """Return what a step does, such as "Add the tag “VIP”"."""
        kind = step["type"]
        if kind in LABEL_STEPS:
            labels, verb = LABEL_STEPS[kind]
            return format_html("{} {}", verb, self._labels(labels, step[labels]))
        match kind:
            case "set_fields":
                return format_html("Set {}", _join(" and ", map(_setting, step["fields"].items())))
            case "track_event":
                words = "Track the event {} with the title {}"
                text = format_html(words, _quote(step["event_key"]), _quote(step["title"]))
                if not step.get("value"):
                    return text
                return format_html("{} and the value {}", text, _quote(step["value"]))
            case "webhook" if self.has_perm(VIEW_ENDPOINTS):
                return format_html("Send a webhook to {}", _quote(step["url"]))
            case "wait":
                return format_html("Wait {}", _wait(step["wait"]))
            case "wait_until":
                return self._wait_until(step)
            case "if":
                return format_html("If {}", self.conditions(step["conditions"]))
        return SafeString(STEPS[kind].verbose_name)

    def _wait_until(self, step: Mapping[str, Any]) -> SafeString:
        text = format_html("Wait until {}", self.happening(step["happens"]))
        if step.get("same"):
            text = format_html("{} with the same {}", text, _quote(step["same"]))
        if step.get("since", "start") == "start":
            text = format_html("{}, since the start", text)
        if not step.get("timeout"):
            return text
        limit = _wait(step["timeout"])
        return format_html(
            "{}, {} {}", text, "or" if limit.startswith("until") else "at most", limit
        )

    def _labels(self, kind: LabelKind, ids: list[int]) -> SafeString:
        noun = kind[:-1] if len(ids) == 1 else kind
        return format_html("{} {}", noun, self.titles(kind, ids))

    def titles(self, kind: str, ids: list[int]) -> SafeString:
        """Return the titles of tags, lists or segments, or their ids."""
        self._read(kind, ids)
        known = self._titles[kind]
        return _join(", ", (_quote(known.get(each, f"id {each}")) for each in ids))

    def _read(self, kind: str, ids: Iterable[int]) -> None:
        known = self._titles.setdefault(kind, {})
        missing = [each for each in ids if each not in known]
        if missing and self.has_perm(f"crm.view_{kind[:-1]}"):
            model = Segment if kind == "segments" else LABEL_MODELS[kind]  # type: ignore[index]
            known |= dict(model._default_manager.filter(pk__in=missing).values_list("pk", "title"))


def outcome_words(step: Mapping[str, Any] | None, outcome: str) -> str:
    """Return how a step ended.

    Args:
        step: the step, or None if its version has it no more.
        outcome: as the step of a run stores it.
    """
    if step and step["type"] == "wait_until" and outcome in WAIT_OUTCOMES:
        return WAIT_OUTCOMES[outcome]
    return OUTCOMES.get(outcome, outcome)


def step_number(place: str) -> str:
    """Return the number of a step on pages, such as "2 then 1" for "steps.1.then.0"."""
    _, *parts = place.split(".")
    return " ".join(str(int(part) + 1) if part.isdecimal() else part for part in parts)


def step_numbers(document: Mapping[str, Any]) -> dict[int, str]:
    """Return the numbers of the steps of a document by their ids."""
    return {step["id"]: step_number(place) for place, step in places(document["steps"])}


def _times(happening: Mapping[str, Any]) -> str:
    times, when = happening.get("times", 1), happening.get("when", "from")
    if times == 1:
        return ", the first time" if when == "at" else ""
    nth = ordinal(times)
    words = {"from": f", from the {nth} time on", "at": f", the {nth} time"}
    return words.get(when, f", every {nth} time")


def ordinal(number: int) -> str:
    """Return a number as "1st", "2nd", "3rd" or "4th"."""
    suffixes = {1: "st", 2: "nd", 3: "rd"}  # codespell:ignore nd
    suffix = "th" if number % 100 in (11, 12, 13) else suffixes.get(number % 10, "th")
    return f"{number:,}{suffix}"


def _setting(pair: tuple[str, str]) -> SafeString:
    name, text = pair
    shown = name.removeprefix(CUSTOM_PREFIX).replace("_", " ")
    return format_html("<bdi>{}</bdi> to {}", shown, _quote(text))


def _wait(data: Any) -> str:
    try:
        return describe_wait(parse_wait(data))
    except ApiError:
        # A datetime may be too far ahead only when it was saved, and never afterwards.
        return "for an invalid time"


def _join(separator: str, parts: Iterable[SafeString]) -> SafeString:
    return format_html_join(separator, "{}", ((part,) for part in parts))


def _quote(value: object) -> SafeString:
    text = str(value)
    return format_html(
        "“<bdi>{}</bdi>”", f"{text[:MAX_LENGTH]}…" if len(text) > MAX_LENGTH else text
    )


def started_by(kind: str, key: str) -> str:
    """Return what a run started by, for pages.

    Args:
        kind: a kind of the outbox, "segment" or "manual", as runs store it.
        key: its key.
    """
    words = {
        "event": f"the event {key}",
        "manual": "hand",
        "segment": "entering the segment",
        "created": "the contact's creation",
        "status": f"the status {key}",
    }
    return words.get(kind) or TRIGGERS[kind].verbose_name.lower()
