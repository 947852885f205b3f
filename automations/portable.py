"""Move automations between stores: documents with titles of labels and slugs of segments.

Ids differ from store to store, so that a document with ids would name other labels elsewhere.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from django.contrib.auth.models import User
from typing_extensions import override

from automations.documents import DocumentReader, places, walk
from automations.models import Automation
from automations.writing import create_automation, document_of
from config.api.errors import InvalidFields
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, is_empty, single_line, to_list
from config.database import in_transaction
from crm.filters import FilterTable, providers
from crm.filters.types import HasPerm
from crm.labels import LABEL_MODELS, LabelKind, LabelTitle, resolve_labels
from crm.models import Segment
from crm.segments import find_segment

# Returns what a document has in place of labels. The arguments are their kind, what stands there,
# and the place.
ReplaceLabels = Callable[[LabelKind, list[Any], str], list[Any]]
KINDS: tuple[LabelKind, ...] = ("tags", "lists")
NO_SLUG = "The {field} must be the slug of a segment."
to_title = single_line(MAX_NAME_LENGTH)


def export_document(automation: Automation) -> dict[str, Any]:
    """Return the current document of an automation as `import_automation` reads it.

    Raises:
        InvalidFields: 422, a label or segment that the document names was deleted.
    """
    document = deepcopy(document_of(automation))
    titles = {kind: dict[int, str]() for kind in KINDS}
    found = {kind: set[int]() for kind in KINDS}

    def collect(kind: LabelKind, ids: list[Any], _: str) -> list[Any]:
        found[kind].update(map(int, ids))
        return ids

    _replace_labels(document, collect)
    for kind in KINDS:
        rows = LABEL_MODELS[kind].objects.filter(pk__in=found[kind])
        titles[kind] = dict(rows.values_list("pk", "title"))
    errors = {}

    def name(kind: LabelKind, ids: list[Any], place: str) -> list[Any]:
        if missing := [str(each) for each in ids if int(each) not in titles[kind]]:
            message = f"The {place} names {kind} that do not exist: {', '.join(missing)}."
            errors[place] = {"exists": message}
        return [titles[kind].get(int(each), "") for each in ids]

    _replace_labels(document, name)
    if "segment" in document["trigger"]:
        segment = Segment.objects.filter(pk=document["trigger"]["segment"]).first()
        if segment is None:
            message = "The trigger.segment does not exist."
            errors["trigger.segment"] = {"exists": message}
        else:
            document["trigger"]["segment"] = segment.slug
    if errors:
        raise InvalidFields(errors)
    for step in walk(document["steps"]):
        del step["id"]
    return document


def _replace_labels(document: dict[str, Any], replace: ReplaceLabels) -> None:
    """Replace the labels of a valid document in place."""
    table = FilterTable()
    parts = [("", document), ("trigger", document["trigger"])]
    for place, step in places(document["steps"]):
        parts.append((place, step))
        if "happens" in step:
            parts.append((f"{place}.happens", step["happens"]))
    for place, part in parts:
        prefix = f"{place}." if place else ""
        for kind in KINDS:
            if kind in part:
                part[kind] = replace(kind, part[kind], f"{prefix}{kind}")
        if "conditions" in part:
            path = f"{prefix}conditions"
            part["conditions"] = _with_labels(part["conditions"], path, table, replace)


def _with_labels(filters: Any, path: str, table: FilterTable, replace: ReplaceLabels) -> Any:
    """Return a filter with other labels. What is no filter stays."""
    if not isinstance(filters, list):
        return filters
    return [
        [
            _with_labels_of(item, f"{path}.{number}.{index}.value", table, replace)
            for index, item in enumerate(group)
        ]
        if isinstance(group, list)
        else group
        for number, group in enumerate(filters)
    ]


def _with_labels_of(item: Any, place: str, table: FilterTable, replace: ReplaceLabels) -> Any:
    source = item.get("source") if isinstance(item, dict) else None
    match source:
        case [str() as provider, str() as name] if provider in providers():
            prop = table.properties(provider).get(name)
            if prop and prop.label_kind and not is_empty(item.get("value")):
                value = to_list(item["value"])
                return {**item, "value": replace(prop.label_kind, value, place)}
    return item


class TitleReader(DocumentReader):
    """Reads a document that names labels by their titles, and a segment by its slug."""

    def __init__(self, has_perm: HasPerm) -> None:
        super().__init__()
        self._has_perm = has_perm
        self._table = FilterTable()
        # The titles of labels that were created.
        self.created: dict[LabelKind, list[str]] = {kind: [] for kind in KINDS}

    @override
    def label_ids(self, data: Mapping[str, Any], kind: LabelKind, path: str) -> list[int]:
        place = f"{path}.{kind}"
        try:
            titles = to_list(data.get(kind))
            ids = self._ids_of(kind, titles, place)
        except InvalidValue as error:
            self.errors[place] = error.for_field(place)
            return []
        if not ids and place not in self.errors:
            self.add(place, "required")
        return ids

    def _ids_of(self, kind: LabelKind, titles: list[Any], place: str) -> list[int]:
        names = [LabelTitle(to_title(title)) for title in titles if not is_empty(title)]
        found = resolve_labels(kind, names, create=False)
        if found.missing and self._has_perm(f"crm.add_{kind[:-1]}"):
            self.created[kind] += found.missing
            found = resolve_labels(kind, names, create=True)
        if found.missing:
            missing = ", ".join(found.missing)
            message = f"The {{field}} names {kind} that do not exist: {missing}."
            self.add(place, "exists", message)
        return found.ids

    @override
    def conditions(self, data: Any, path: str) -> list[Any]:
        try:
            data = _with_labels(data, path, self._table, self._ids_of)
        except InvalidValue as error:
            self.errors[path] = error.for_field(path)
            return []
        return super().conditions(data, path)

    @override
    def one(self, data: Any, kinds: Mapping[str, Any], path: str) -> dict[str, Any]:
        if not (isinstance(data, dict) and data.get("type") == "segment_entered"):
            return super().one(data, kinds, path)
        slug = data.get("segment")
        title = to_title(slug) if isinstance(slug, str) else ""
        segment = find_segment(title) if title else None
        # Of an unknown one the id 0, which no segment has.
        one = super().one({**data, "segment": segment.pk if segment else 0}, kinds, path)
        place = f"{path}.segment"
        if segment is None and place in self.errors:
            message = f"No segment has the slug “{title}”." if title else NO_SLUG
            self.add(place, "exists", message)
        return one


@in_transaction
def import_automation(
    data: Any, user: User | None, has_perm: HasPerm
) -> tuple[Automation, dict[LabelKind, list[str]]]:
    """Create a draft from a document of `export_document`, perhaps of another store.

    Args:
        data: the document as sent.
        user: the user.
        has_perm: tells whether the user may create labels that do not exist.

    Returns:
        The automation, and the titles of the labels that were created.

    Raises:
        InvalidFields: 422 with every error by its place. Nothing is stored.
    """
    reader = TitleReader(has_perm)
    document = reader.read(data)
    return create_automation(document, user), reader.created
