"""Write the custom fields, tags and lists of a source, before the contacts that have them."""

from collections.abc import Mapping, Sequence
from typing import Any

from config.api.errors import InvalidFields
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, single_line, to_text
from config.api.warnings import Warnings
from crm.api.custom_fields import read_definitions
from crm.custom_fields import add_field, declared_fields
from crm.labels import (
    LABEL_MODELS,
    MAX_DESCRIPTION_LENGTH,
    LabelKind,
    create_label,
    find_labels,
    is_slug_taken,
    lock_labels,
    update_label,
)
from crm.models import CustomField
from transfers.imports.reports import sentences
from transfers.sources import SourceLabel

# Of each kind, the id at the source -> the id here.
LabelIds = dict[str, dict[str, int]]
to_line = single_line(MAX_NAME_LENGTH)


def write_fields(definitions: Sequence[Any]) -> tuple[int, list[str]]:
    """Add definitions of custom fields whose slugs are new. Others stay as they are here.

    Args:
        definitions: as FluentCRM's API has them.

    Returns:
        The number of new ones, and sentences about those that differ or are invalid.
    """
    number, remarks = 0, []
    for definition in definitions:
        warnings: Warnings = []
        try:
            [field] = read_definitions([definition], warnings)
            declared = declared_fields().get(field.slug)
            if declared is None:
                add_field(field)
                number += 1
            elif declared.type != field.type:
                remarks.append(_other_type(declared, field))
        except InvalidFields as error:
            remarks.append(f"A custom field was left out. {sentences(error.detail, warnings)}")
    return number, remarks


def _other_type(here: CustomField, there: CustomField) -> str:
    return (
        f'The custom field "{here.slug}" has the type {here.type} here and {there.type} at the '
        "source. Values that do not fit are left out."
    )


def write_labels(
    kind: LabelKind, labels: Sequence[SourceLabel], known: Mapping[str, int]
) -> tuple[int, dict[str, int], list[str]]:
    """Create the tags or lists that are new, in the caller's transaction.

    A label is the one that it became in an earlier import, which gets a title that was changed
    later at the source, or the one that has its title here. A new one keeps its slug, unless
    another label has it.

    Args:
        kind: tags or lists.
        labels: those of the source.
        known: the ids here of an earlier import, by the ids at the source.

    Returns:
        The number of new ones, the ids here by the ids at the source, and sentences about labels
        that were left out or got another slug.
    """
    lock_labels(kind)
    model = LABEL_MODELS[kind]
    here = {each.pk: each for each in model.objects.filter(pk__in=known.values())}
    ids: dict[str, int] = {}
    number, remarks = 0, []
    for label in labels:
        try:
            title = to_line(label.fields.get("title")) or to_line(label.fields.get("slug"))
            slug = to_line(label.fields.get("slug"))
        except InvalidValue:
            title = slug = ""
        if not title:
            remarks.append(f"A label of the source without a title was left out: {label.id}.")
            continue
        found = find_labels(kind, [title], ("title",)).get(title)
        if row := here.get(known.get(label.id, 0)):
            ids[label.id] = row.pk
            if found is None and label.updated_at and label.updated_at > row.updated_at:
                update_label(kind, row.pk, {"title": title, "slug": row.slug})
        elif found:
            ids[label.id] = found
        else:
            if is_taken := bool(slug) and is_slug_taken(model, slug, 0):
                remarks.append(f'The slug "{slug}" is that of another label, so "{title}" has one.')
            fields = {**_others(label), "title": title, "slug": "" if is_taken else slug}
            ids[label.id] = create_label(kind, fields).pk
            number += 1
    return number, ids, remarks


def _others(label: SourceLabel) -> dict[str, Any]:
    """Return the columns of a new label besides title and slug."""
    others = {name: value for name, value in label.fields.items() if name not in ("title", "slug")}
    try:
        description = to_text(others.pop("description", None))[:MAX_DESCRIPTION_LENGTH]
    except InvalidValue:
        description = ""
    return {**others, "description": description or None}
