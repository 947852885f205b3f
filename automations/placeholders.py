"""Placeholders in texts of automations, such as `{{contact.first_name|there}}`.

A text is parsed when an automation is saved, and rendered when a step runs. Nothing in a text is
evaluated: a placeholder names a value, and a value is not parsed again. See FluentCRM's
app/Services/Libs/Parser/ShortcodeParser.php.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.api.validation import MESSAGES, InvalidValue, to_text
from crm.selectors import CONTACT_COLUMNS
from events.tracking.fields import MAX_VALUE_LENGTH, to_value_text

OPEN, CLOSE = "{{", "}}"
MAX_PLACEHOLDERS = 100
# Nothing that steps write may be longer: neither the message of a webhook, nor a value.
MAX_RENDERED_LENGTH = 128 * 1024
# Characters of a name that an error repeats.
MAX_SHOWN = 60
# Names that have one value.
NAMES = {
    # Without what is an md5 or a picture.
    "contact": [name for name in CONTACT_COLUMNS if name not in ("hash", "avatar", "photo")],
    "event": ["event_key", "title", "value", "provider", "counter", "occurred_at"],
}
# Names that have values by key, at any depth.
OBJECTS = {"contact": ["custom_values"], "event": ["properties", "context"]}
# FluentCRM's names of them.
OTHER_NAMES: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("contact", "custom"): ("contact", "custom_values"),
}
ALL_NAMES = [
    *(f"{owner}.{name}" for owner, names in NAMES.items() for name in names),
    *(f"{owner}.{name}.…" for owner, names in OBJECTS.items() for name in names),
]


class InvalidTemplate(InvalidValue):
    """A text has an invalid placeholder at `position`, counted in characters from 1."""

    def __init__(self, rule: str, problem: str, position: int) -> None:
        # `for_field` formats the message, so that braces have to be doubled.
        problem = problem.replace("{", "{{").replace("}", "}}")
        super().__init__(rule, f"The {{field}} is invalid at character {position}: {problem}")
        self.position = position


@dataclass(frozen=True)
class Placeholder:
    """A name, such as `("event", "properties", "order", "total")`, and the text without a value."""

    name: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Template:
    """A parsed text: texts and placeholders in their order."""

    parts: tuple[str | Placeholder, ...]


def parse_text(text: str) -> Template:
    """Parse a text with placeholders. It is a validator as well: a number is its text.

    Raises:
        InvalidTemplate: a placeholder has no end, an unknown name, or a second `|`, or there are
            more than 100.
        InvalidValue: over 65,535 characters, or as `to_text`.
    """
    text = to_text(text)
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidValue("max", MESSAGES["max"].replace("{limit}", str(MAX_VALUE_LENGTH)))
    parts: list[str | Placeholder] = []
    end = 0
    while (start := text.find(OPEN, end)) >= 0:
        parts.append(text[end:start])
        inner, close, _ = text[start + len(OPEN) :].partition(CLOSE)
        if not close or OPEN in inner:
            raise InvalidTemplate("unclosed", f"{OPEN} without {CLOSE}.", start + 1)
        if len(parts) > 2 * MAX_PLACEHOLDERS:
            problem = f"a text may not have more than {MAX_PLACEHOLDERS} placeholders."
            raise InvalidTemplate("max", problem, start + 1)
        parts.append(_parse_placeholder(inner, start + 1))
        end = start + len(OPEN) + len(inner) + len(CLOSE)
    return Template((*parts, text[end:]))


def _parse_placeholder(inner: str, position: int) -> Placeholder:
    name, _, default = inner.partition("|")
    if "|" in default:
        problem = "a default may not have another |. FluentCRM's transformers do not exist here."
        raise InvalidTemplate("default", problem, position)
    keys = tuple(name.strip().split("."))
    keys = (*OTHER_NAMES.get(keys[:2], keys[:2]), *keys[2:])
    known = NAMES if len(keys) == 2 else OBJECTS
    if len(keys) < 2 or "" in keys or keys[1] not in known.get(keys[0], ()):
        shown = name.strip()[:MAX_SHOWN]
        problem = f'there is no "{shown}". The names are: {", ".join(ALL_NAMES)}.'
        raise InvalidTemplate("in", problem, position)
    return Placeholder(keys, default.strip())


def render(
    template: Template, contact_values: Mapping[str, Any], event: Mapping[str, Any] | None = None
) -> str:
    """Return the text with values in place of placeholders.

    A value is written as the value of an event is stored. A list of a contact has commas. A value
    that is missing, null, false or empty is the placeholder's default. A text that exceeds
    MAX_RENDERED_LENGTH ends behind the part that does, because it is too long for every use.

    Args:
        template: the parsed text.
        contact_values: the contact as the API shows it, with `custom_values`.
        event: the occurrence that started the automation as the API shows it, with `properties` and
            `context` as objects, or None.
    """
    values = {"contact": contact_values, "event": event}
    rendered: list[str] = []
    length = 0
    for part in template.parts:
        text = part if isinstance(part, str) else _value_text(values, part) or part.default
        rendered.append(text)
        length += len(text)
        if length > MAX_RENDERED_LENGTH:
            break
    return "".join(rendered)


def _value_text(values: Mapping[str, Any], placeholder: Placeholder) -> str:
    value: Any = values
    for key in placeholder.name:
        if isinstance(value, list):
            # By position, as in paths of filters.
            value = {str(number): item for number, item in enumerate(value)}
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, list) and placeholder.name[0] == "contact":
        return ", ".join(text for item in value if (text := _to_text(item)))
    return _to_text(value)


def _to_text(value: Any) -> str:
    try:
        return to_value_text(value)
    except InvalidValue:
        # Such as a text that is longer than values may be.
        return ""
