"""Validate the document of an automation: what starts it, whom it lets in, and its steps.

It is one JSON object, which the API, the builder of the admin, and exports share:
docs/reference/automations.md describes every field. Errors are by place, such as
`steps.2.then.0.tags`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from automations.kinds import (
    BRANCHES,
    HAPPENINGS,
    RULE_DEFAULTS,
    RULES,
    STEPS,
    TRIGGERS,
    Kind,
)
from automations.waits import parse_wait, whole_number
from config.api.errors import FieldErrors, InvalidFields
from config.api.validation import (
    MAX_ID,
    MAX_NAME_LENGTH,
    MESSAGES,
    InvalidValue,
    is_empty,
    php_list,
    single_line,
    to_list,
)
from crm.filters import compile_filters, labels_of, read_filters
from crm.labels import LabelKind, LabelName, resolve_labels

MAX_STEPS = 100
MAX_DEPTH = 5
MAX_DOCUMENT_BYTES = 64 * 1024
to_name = single_line(MAX_NAME_LENGTH)
PARTS = ("trigger", "conditions", "steps")
# What our own responses have besides, so that a document can be sent back as it was received.
IGNORED = (
    *("id", "status", "paused_reason", "version", "created_at", "updated_at", "armed_at"),
    *("created_by", "counts", "last_started_at", "overdue"),
)


def read_document(data: Any, *, create_labels: bool = False) -> dict[str, Any]:
    """Validate a document, with its labels by their ids.

    Args:
        data: the document as sent.
        create_labels: whether labels that do not exist are created.

    Returns:
        The document with every field. Steps that were sent without an id have None.

    Raises:
        InvalidFields: 422 with every error by its place.
    """
    return DocumentReader(create_labels).read(data)


class DocumentReader:
    """Reads the parts of a document, and collects the errors."""

    def __init__(self, create_labels: bool = False) -> None:
        self.errors: FieldErrors = {}
        self._create_labels = create_labels
        self._number = 0
        self._ids: list[tuple[int, str]] = []

    def read(self, data: Any) -> dict[str, Any]:
        """Return the document as `read_document` does.

        Raises:
            InvalidFields: 422 with every error by its place.
        """
        document = self.check(data)
        if self.errors:
            raise InvalidFields(self.errors)
        # With the defaults.
        self._check_size(document)
        return document

    def check(self, data: Any) -> dict[str, Any]:
        """Return the document, in which parts that are in `errors` are incomplete.

        Raises:
            InvalidFields: 422, the document is no object or too large.
        """
        if not isinstance(data, dict):
            message = MESSAGES["object"].format(field="document")
            raise InvalidFields({"document": {"object": message}})
        self._check_size(data)
        sent = {name: value for name, value in data.items() if name not in (*PARTS, *IGNORED)}
        document = self.fields(sent, Kind("", RULES, ("title",), RULE_DEFAULTS), "")
        document["trigger"] = self.one(data.get("trigger"), TRIGGERS, "trigger")
        document["conditions"] = self.conditions(data.get("conditions") or [], "conditions")
        document["steps"] = self.steps(data.get("steps") or [], "steps", 1)
        self.check_ids()
        return document

    def _check_size(self, data: Any) -> None:
        """Check the size before anything is looked up, so that a document takes a bounded time."""
        try:
            size = len(orjson.dumps(data))
        except orjson.JSONEncodeError:  # over 254 levels deep
            size = MAX_DOCUMENT_BYTES + 1
        if size > MAX_DOCUMENT_BYTES:
            self.add("document", "max", "The {field} may not be greater than 64 KB.")
            raise InvalidFields(self.errors)

    def add(self, path: str, rule: str, message: str = "") -> None:
        """Add an error. `{field}` in the message is the path."""
        self.errors[path] = {rule: (message or MESSAGES[rule]).replace("{field}", path)}

    def fields(self, data: Mapping[str, Any], kind: Kind, path: str) -> dict[str, Any]:
        """Return the validated fields of a kind, with defaults."""
        prefix = f"{path}." if path else ""
        values: dict[str, Any] = dict(kind.defaults)
        for name in kind.required:
            if is_empty(data.get(name)):
                self.add(f"{prefix}{name}", "required")
        for name, value in data.items():
            place = f"{prefix}{name}"
            if name not in kind.fields:
                known = ", ".join(kind.fields) or "no fields"
                self.add(place, "unknown", f"The {{field}} is unknown here. There are: {known}.")
            elif place not in self.errors and value is not None:
                try:
                    values[name] = kind.fields[name](value)
                except InvalidValue as error:
                    self.errors[place] = error.for_field(place)
        return values

    def one(self, data: Any, kinds: Mapping[str, Kind], path: str) -> dict[str, Any]:
        """Return a trigger, or what a step waits for."""
        kind = self._kind(data, kinds, path)
        if kind is None:
            return {}
        own = {name: value for name, value in data.items() if name not in ("type", kind.labels)}
        values = {"type": data["type"], **self.fields(own, kind, path)}
        if kind.labels:
            values[kind.labels] = self.label_ids(data, kind.labels, path)
        return values

    def steps(self, data: Any, path: str, depth: int) -> list[dict[str, Any]]:
        """Return a list of steps, with those of their branches."""
        items = php_list(data)
        if not isinstance(items, list):
            self.add(path, "array")
            return []
        if depth > MAX_DEPTH and items:
            self.add(path, "depth", f"The {{field}} is nested deeper than {MAX_DEPTH} levels.")
            return []
        self._number += len(items)
        if self._number > MAX_STEPS:
            self.add("steps", "max", f"The {{field}} may not be more than {MAX_STEPS} together.")
            return []
        return [self._step(item, f"{path}.{number}", depth) for number, item in enumerate(items)]

    def _step(self, data: Any, path: str, depth: int) -> dict[str, Any]:
        kind = self._kind(data, STEPS, path)
        if kind is None:
            return {}
        special = {"type", "id", kind.labels, kind.wait}
        if kind.branches:
            special.update(BRANCHES)
        if kind.conditions:
            special.add("conditions")
        if kind.happens:
            special.add("happens")
        own = {name: value for name, value in data.items() if name not in special}
        step = {"id": self._id(data, path), "type": data["type"], **self.fields(own, kind, path)}
        if kind.labels:
            step[kind.labels] = self.label_ids(data, kind.labels, path)
        if kind.happens:
            step["happens"] = self.one(data.get("happens"), HAPPENINGS, f"{path}.happens")
        if kind.wait and not (kind.happens and data.get(kind.wait) is None):
            step[kind.wait] = self._wait(data.get(kind.wait), f"{path}.{kind.wait}")
        if kind.conditions:
            step["conditions"] = self.conditions(data.get("conditions"), f"{path}.conditions")
            place = f"{path}.conditions"
            if not step["conditions"] and not any(e.startswith(place) for e in self.errors):
                self.add(place, "required")
        if kind.branches:
            for name in BRANCHES:
                step[name] = self.steps(data.get(name) or [], f"{path}.{name}", depth + 1)
        return step

    def _kind(self, data: Any, kinds: Mapping[str, Kind], path: str) -> Kind | None:
        if not isinstance(data, dict):
            self.add(path, "required" if data is None else "object")
            return None
        kind = kinds.get(data["type"]) if isinstance(data.get("type"), str) else None
        if kind is None:
            names = ", ".join(kinds)
            self.add(f"{path}.type", "in", f"The {{field}} must be one of: {names}.")
        return kind

    def _id(self, data: Mapping[str, Any], path: str) -> int | None:
        if is_empty(data.get("id")):
            return None
        try:
            step_id: int = whole_number(1, MAX_ID)(data["id"])
        except InvalidValue as error:
            self.errors[f"{path}.id"] = error.for_field(f"{path}.id")
            return None
        self._ids.append((step_id, f"{path}.id"))
        return step_id

    def check_ids(self) -> None:
        """Add an error for each id that two steps have."""
        seen: set[int] = set()
        for step_id, path in self._ids:
            if step_id in seen:
                self.add(path, "unique", "The {field} is that of another step.")
            seen.add(step_id)

    def label_ids(self, data: Mapping[str, Any], kind: LabelKind, path: str) -> list[int]:
        """Return the ids of the labels that a trigger or a step names."""
        place = f"{path}.{kind}"
        try:
            names: list[LabelName] = [to_name(each) for each in to_list(data.get(kind))]
        except InvalidValue as error:
            self.errors[place] = error.for_field(place)
            return []
        found = resolve_labels(kind, names, self._create_labels)
        if found.missing:
            missing = ", ".join(found.missing)
            self.add(place, "exists", f"The {{field}} name no {kind}: {missing}.")
        elif not found.ids:
            self.add(place, "required")
        return found.ids

    def _wait(self, data: Any, path: str) -> Any:
        try:
            parse_wait(data, path)
        except InvalidFields as error:
            self.errors |= error.detail
        return data

    def conditions(self, data: Any, path: str) -> list[Any]:
        """Return a filter as it is stored."""
        if is_empty(data):
            return []
        try:
            groups = read_filters(data, path, lock_labels=True)
        except InvalidFields as error:
            self.errors |= error.detail
            return []
        return [[condition.item for condition in group] for group in groups]


def walk(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return all steps of a document in their order, with those of branches."""
    return (step for _, step in places(steps))


def places(
    steps: list[dict[str, Any]], path: str = "steps"
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all steps of a document as `walk` does, each behind its place, such as `steps.0`."""
    for number, step in enumerate(steps):
        place = f"{path}.{number}"
        yield place, step
        for name in BRANCHES:
            yield from places(step.get(name, []), f"{place}.{name}")


def labels_in(document: Mapping[str, Any], kind: LabelKind) -> set[int]:
    """Return the ids of the labels that a document names, in steps, triggers and conditions."""
    steps = [*walk(document["steps"])]
    found = {
        label_id for each in (*steps, *happenings(document)) for label_id in each.get(kind, ())
    }
    groups = (
        group for place, each in filters_in(document) for group in compile_filters(each, place)
    )
    return found | {label_id for each, label_id in labels_of(groups) if each == kind}


def filters_in(
    document: Mapping[str, Any],
) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    """Yield the filters of a document, each behind its place, such as `steps.0.conditions`."""
    yield "conditions", document["conditions"]
    for place, step in places(document["steps"]):
        if "conditions" in step:
            yield f"{place}.conditions", step["conditions"]


def happenings(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield what an automation starts by and waits for."""
    yield document["trigger"]
    yield from (step["happens"] for step in walk(document["steps"]) if "happens" in step)
